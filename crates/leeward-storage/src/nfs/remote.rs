//! Runs scripts at a file server.
//!
//! Laws: a script is never waited for longer than the site gives signs of life; what was started locally is gone when the
//! future is dropped; nothing of a script's text or arguments appears in an error, except what the script itself says.

use super::{
    config::{NfsSite, Timeouts},
    shell::compose,
};
use crate::StorageError;
use leeward_model::name::SiteName;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::{Instant, timeout_at},
};

/// Sign of life on stderr: once when the script starts, then every two seconds.
const ALIVE: &[u8] = b"@alive\n";
/// Before the words of an error that a script reports by `fail`.
const FAIL: &[u8] = b"@fail\0";
/// Longest tail of stderr that is kept.
const TALK: usize = 16 * 1024;

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The site may be lost, and the answer is short: probe time-out for the first word, three times that and a second in all.
    Probe,
    /// The site may be lost, and what it is told takes its time: probe time-out for the first word, then as long as it gives
    /// signs of life.
    Fence,
    /// The site is needed: connect time-out for the first word, then as long as it gives signs of life.
    Work,
}

/// A script that did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The site did not answer, or fell silent.
    Unreachable(StorageError),
    /// The script said why.
    Said(Vec<String>),
    /// A command in it failed.
    Died {
        /// What it wrote on stdout before.
        out: Vec<u8>,
        /// Exit code; none if it was killed.
        code: Option<i32>,
        /// The end of what it wrote on stderr.
        talk: String,
    },
}

/// One site's file server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote<'a> {
    pub(super) site: &'a SiteName,
    pub(super) nfs: &'a NfsSite,
    pub(super) timeouts: Timeouts,
}

impl Remote<'_> {
    /// The export's directory on the file server.
    pub(super) fn top(&self) -> &str {
        // Checked when the configuration was.
        self.nfs.path.to_str().unwrap_or_default()
    }

    fn unreachable(&self, doing: &'static str, reason: impl Into<String>) -> Failure {
        Failure::Unreachable(StorageError::Unreachable { site: self.site.clone(), doing, reason: reason.into() })
    }

    /// Runs `script` with `words` as `$1` … and returns its stdout.
    pub(super) async fn run(
        &self,
        doing: &'static str,
        pace: Pace,
        script: &str,
        words: &[&str],
    ) -> Result<Vec<u8>, Failure> {
        let text = compose(script, words).map_err(|_| Failure::Said(vec!["nul".to_owned()]))?;
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let probe = seconds(self.timeouts.probe_seconds);
        let (first, whole) = match pace {
            Pace::Probe => (probe, Some(Instant::now() + probe * 3 + Duration::from_secs(1))),
            Pace::Fence => (probe, None),
            Pace::Work => (seconds(self.timeouts.connect_seconds), None),
        };
        let (program, prefix) = self.nfs.control.split_first().ok_or_else(|| self.unreachable(doing, "no command"))?;
        let mut child = Command::new(program)
            .args(prefix)
            .args(["sh", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The script may end its whole group; that must not be ours.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.unreachable(doing, format!("{program}: {error}")))?;
        let no_pipe = || self.unreachable(doing, "no pipe to the control command");
        let mut stdin = child.stdin.take().ok_or_else(no_pipe)?;
        let mut stdout = child.stdout.take().ok_or_else(no_pipe)?;
        let mut stderr = child.stderr.take().ok_or_else(no_pipe)?;

        // stdin must stay open until the script has ended, and a script may answer before it is sent completely.
        let send = async {
            // A command that ends early breaks the pipe; its exit says more than that.
            let _ = stdin.write_all(text.as_bytes()).await;
            let _ = stdin.flush().await;
            std::future::pending::<()>().await;
        };
        let mut talk = Talk::default();
        let mut out = Vec::new();
        let receive = async {
            let (mut out_buffer, mut talk_buffer) = (vec![0; 64 * 1024], [0; 4096]);
            let (mut out_open, mut talk_open) = (true, true);
            let mut patience = Instant::now() + first;
            while out_open || talk_open {
                let until = whole.map_or(patience, |whole| whole.min(patience));
                let read = timeout_at(until, async {
                    tokio::select! {
                        n = stdout.read(&mut out_buffer), if out_open => (true, n.unwrap_or(0)),
                        n = stderr.read(&mut talk_buffer), if talk_open => (false, n.unwrap_or(0)),
                    }
                });
                match read.await {
                    Ok((true, 0)) => out_open = false,
                    Ok((false, 0)) => talk_open = false,
                    Ok((true, n)) => out.extend_from_slice(&out_buffer[..n]),
                    Ok((false, n)) => talk.hear(&talk_buffer[..n]),
                    Err(_) if talk.alive => return Err(format!("it started and did not end in time {}", talk.text())),
                    Err(_) => return Err(format!("no answer within {} s {}", first.as_secs(), talk.text())),
                }
                if talk.alive {
                    patience = Instant::now() + seconds(self.timeouts.stall_seconds);
                }
            }
            Ok(())
        };
        let received = tokio::select! {
            received = receive => received,
            () = send => Ok(()),
        };
        if let Err(reason) = received {
            return Err(self.unreachable(doing, reason.trim_end()));
        }
        let status = child.wait().await.map_err(|error| self.unreachable(doing, error.to_string()))?;
        drop(stdin);
        if status.success() && talk.alive {
            return Ok(out);
        }
        if let Some(words) = talk.failure() {
            return Err(Failure::Said(words));
        }
        // ssh ends with 255 when the connection breaks, or is not made at all.
        if !talk.alive || status.code() == Some(255) {
            return Err(self.unreachable(doing, format!("{status} {}", talk.text()).trim_end()));
        }
        Err(Failure::Died { out, code: status.code(), talk: talk.text() })
    }
}

/// What came on stderr, without the signs of life.
#[derive(Debug, Default)]
struct Talk {
    alive: bool,
    heard: Vec<u8>,
}

impl Talk {
    fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        while let Some(at) = find(&self.heard, ALIVE) {
            self.alive = true;
            self.heard.drain(at..at + ALIVE.len());
        }
        if self.heard.len() > TALK {
            self.heard.drain(..self.heard.len() - TALK);
        }
    }

    /// The words given to `fail`.
    fn failure(&self) -> Option<Vec<String>> {
        let start = self.heard.windows(FAIL.len()).rposition(|window| window == FAIL)? + FAIL.len();
        let end = start + self.heard[start..].windows(2).rposition(|window| window == b"\0\n")?;
        let words = self.heard[start..end].split(|&byte| byte == 0);
        Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    /// The last lines, as one.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.heard);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(4)..].join("; ");
        last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nfs(control: &[&str]) -> NfsSite {
        NfsSite {
            server: "127.0.0.1".into(),
            export: "/export".into(),
            path: "/".into(),
            control: control.iter().map(|&word| word.to_owned()).collect(),
            mover: vec!["false".into()],
        }
    }

    async fn run(control: &[&str], pace: Pace, script: &str, words: &[&str]) -> Result<Vec<u8>, Failure> {
        let site = SiteName::parse("east").unwrap();
        let timeouts = Timeouts { probe_seconds: 1, connect_seconds: 1, stall_seconds: 5, fence_seconds: 1 };
        Remote { site: &site, nfs: &nfs(control), timeouts }.run("testing", pace, script, words).await
    }

    fn why(result: Result<Vec<u8>, Failure>) -> String {
        match result {
            Err(Failure::Unreachable(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn output_comes_back_whole() {
        let script = r#"head -c 3000000 /dev/zero; printf '%s' "$1""#;
        let out = run(&["env"], Pace::Work, script, &["'$(x)\n"]).await.unwrap();
        assert_eq!(out.len(), 3_000_006);
        assert!(out.ends_with(b"'$(x)\n"));
    }

    #[tokio::test]
    async fn what_a_script_says_is_understood() {
        let said = run(&["env"], Pace::Work, r#"fail kind "a b" "$1" """#, &["c\nd"]).await;
        assert!(matches!(&said, Err(Failure::Said(words)) if *words == ["kind", "a b", "c\nd", ""]), "{said:?}");
        let died = run(&["env"], Pace::Work, "printf said; ls /does/not/exist", &[]).await;
        assert!(
            matches!(&died, Err(Failure::Died { out, code: Some(2), talk }) if out == b"said" && talk.contains("/does/not/exist")),
            "{died:?}"
        );
        let nul = run(&["env"], Pace::Work, ":", &["a\0"]).await;
        assert!(matches!(nul, Err(Failure::Said(_))));
    }

    #[tokio::test]
    async fn a_site_that_does_not_answer_is_unreachable_in_time() {
        let began = Instant::now();
        assert!(why(run(&["sh", "-c", "exec sleep 60"], Pace::Probe, ":", &[]).await).contains("within 1 s"));
        assert!(why(run(&["sh", "-c", "exec sleep 60"], Pace::Fence, ":", &[]).await).contains("within 1 s"));
        assert!(why(run(&["/does/not/exist"], Pace::Probe, ":", &[]).await).contains("No such file"));
        let refused = ["env", "sh", "-c", "echo refused >&2; exit 255", "x"];
        assert!(why(run(&refused, Pace::Probe, ":", &[]).await).contains("refused"));
        // It starts and never ends: a probe does not wait for that.
        assert!(why(run(&["env"], Pace::Probe, "sleep 60", &[]).await).contains("did not end"));
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_script_at_work_is_waited_for_while_it_lives() {
        // Longer than the connect and stall time-outs would allow without signs of life.
        let script = "sleep 7; printf done";
        let (work, fence) =
            tokio::join!(run(&["env"], Pace::Work, script, &[]), run(&["env"], Pace::Fence, script, &[]));
        assert_eq!((work.unwrap(), fence.unwrap()), (b"done".to_vec(), b"done".to_vec()));
    }

    #[tokio::test]
    async fn a_script_ends_when_it_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let script = r#"cd "$1"; echo > started; sleep 3; echo > ended"#;
        let cut = tokio::time::timeout(Duration::from_secs(1), run(&["env"], Pace::Work, script, &[folder])).await;
        assert!(cut.is_err());
        tokio::time::sleep(Duration::from_secs(4)).await;
        let there = |name: &str| std::path::Path::new(folder).join(name).exists();
        assert!(there("started") && !there("ended"));
    }
}
