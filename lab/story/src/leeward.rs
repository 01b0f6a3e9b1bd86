//! Calls `leeward` as a user would: the binary, with a configuration file.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

/// The binary and its configuration.
#[derive(Debug, Clone)]
pub struct Leeward {
    /// The binary.
    pub program: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
}

/// What a call came to.
#[derive(Debug)]
pub struct Called {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// stdout as JSON, `Null` if there was none.
    pub data: Value,
    /// stderr.
    pub talk: String,
    /// How long it took.
    pub took: Duration,
}

/// Hears each line on stderr as it comes.
pub type Hear<'a> = &'a (dyn Fn(&str) + Send + Sync);

impl Leeward {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["-o", "json"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Calls it and waits for its end, whatever that is.
    ///
    /// # Errors
    /// It cannot be started, or prints something else than JSON.
    pub async fn call(&self, args: &[&str], hear: Hear<'_>) -> Result<Called> {
        self.call_until(args, hear, |_| false).await
    }

    /// Calls it and expects it to succeed.
    ///
    /// # Errors
    /// It ends with another exit code than 0.
    pub async fn done(&self, args: &[&str], hear: Hear<'_>) -> Result<Called> {
        let called = self.call(args, hear).await?;
        if called.code != Some(0) {
            bail!("`leeward {}` ended with {:?}:\n{}", args.join(" "), called.code, called.talk);
        }
        Ok(called)
    }

    /// Calls it and kills it (SIGKILL) at the first line on stderr for which `kill` holds.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_until(&self, args: &[&str], hear: Hear<'_>, kill: impl Fn(&str) -> bool) -> Result<Called> {
        let began = Instant::now();
        let mut child =
            self.command(args).spawn().with_context(|| format!("{} cannot be started", self.program.display()))?;
        let (mut stdout, talk) = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
        let data = tokio::spawn(async move {
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.map(|_| text)
        });
        let mut lines = BufReader::new(talk).lines();
        let mut talk = String::new();
        while let Some(line) = lines.next_line().await? {
            hear(&line);
            talk.push_str(&line);
            talk.push('\n');
            if kill(&line) {
                signal_kill(&mut child)?;
            }
        }
        let code = child.wait().await?.code();
        let text = data.await??;
        let data = if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).context("stdout is no JSON")?
        };
        Ok(Called { code, data, talk, took: began.elapsed() })
    }
}

fn signal_kill(child: &mut Child) -> Result<()> {
    child.start_kill().context("the process could not be killed")
}
