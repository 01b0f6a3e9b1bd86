//! Commands of the system, run to their end.
//!
//! They carry the lab's mark like its processes: a `mount` that outlives a killed supervisor by a few milliseconds would
//! otherwise mount after `down` has looked.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::Result;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::LabError;
use crate::inputs::{PATH, system};
use crate::process::OWNER;
use crate::root::Root;

impl Root {
    /// Runs a command and gives what it wrote; what it says when it fails becomes the error.
    pub(crate) async fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        self.run_with(program, args, "").await
    }

    /// [`Root::run`] with something on the command's standard input.
    pub(crate) async fn run_with<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<String> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let line = || {
            let words = args.iter().map(|arg| arg.to_string_lossy().into_owned());
            std::iter::once(program.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
        };
        let failed = |output: String| LabError::Command { command: line(), output };
        let mut child = Command::new(system(program))
            .args(&args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env(OWNER, self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input closes it; its exit code tells what it thinks.
            let _closed = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(failed(format!("{} {said}", output.status)).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
