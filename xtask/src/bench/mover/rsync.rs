//! rsync, through a daemon on loopback, as it is set up between two file servers.

use super::process::{Cost, run};
use super::{free_port, wait_for_port};
use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A daemon that serves one folder, until it is dropped.
pub(super) struct Rsync {
    daemon: Child,
    port: u16,
    folder: std::path::PathBuf,
    /// Its configuration.
    _files: tempfile::TempDir,
}

impl Rsync {
    /// Serves `folder`.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let Ok(version) = Command::new("rsync").arg("--version").output() else {
            bail!("rsync is not there, and is what the mover is compared with: install the package rsync");
        };
        let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
        eprintln!("{version}");
        let files = tempfile::tempdir()?;
        let config = files.path().join("rsyncd.conf");
        let port = free_port()?;
        let text = format!(
            "use chroot = no\nuid = 0\ngid = 0\naddress = 127.0.0.1\npid file = {}/pid\n[west]\npath = {}\nread only = no\n",
            files.path().display(),
            folder.display()
        );
        fs_err::write(&config, text)?;
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", &format!("--port={port}"), "--config"]).arg(&config);
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("rsync --daemon")?;
        let rsync = Self { daemon, port, folder: folder.to_owned(), _files: files };
        wait_for_port(port)?;
        Ok(rsync)
    }

    /// Brings `file` into a folder below the one that is served. Gives the bytes that went over the link, too.
    pub(super) fn copy(&self, options: &[&str], file: &Path, to: &str) -> Result<(Cost, u64)> {
        let mut command = Command::new("rsync");
        command.args(["-a", "--stats", "--no-human-readable"]).args(options).arg(file);
        command.arg(format!("rsync://127.0.0.1:{}/west/{to}/", self.port));
        let (said, cost) = run(&mut command, Some(Pid::from_child(&self.daemon)), &self.folder)?;
        let number = |key: &str| -> Result<u64> {
            let line = said.lines().find_map(|line| line.strip_prefix(key));
            line.with_context(|| format!("rsync does not say {key:?}"))?.trim().parse().context("rsync --stats")
        };
        Ok((cost, number("Total bytes sent:")? + number("Total bytes received:")?))
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}
