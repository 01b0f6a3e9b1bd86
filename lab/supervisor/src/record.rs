//! [`Record`]: which process was started, in a way that can never be mistaken for another.
//!
//! Laws:
//! - A pid alone names nothing: it is used again. A record holds the pid, the moment the process started (field 22 of
//!   `/proc/PID/stat`, clock ticks since boot, which no exec changes) and the machine's boot. A record is alive only if
//!   all three agree.
//! - A signal goes through a pidfd that was opened before the record was compared, so it reaches that process or none.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use serde::{Deserialize, Serialize};

/// A process that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its pid.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// The boot it started in.
    pub boot: String,
}

impl Record {
    /// Describes the process that has `pid` now; `None` when there is none, or only its remains.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = parse_stat(&stat)?;
        // A zombie has ended; only its parent has not looked yet.
        if state == 'Z' || state == 'X' {
            return None;
        }
        Some(Self { pid, start, boot: boot()? })
    }

    /// Reads a record; `None` when there is none. One that is broken counts as none: its writer was killed.
    pub fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(file).ok()?).ok()
    }

    /// Writes the record.
    pub fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        fs_err::write(&new, serde_json::to_vec(self)?)?;
        fs_err::rename(new, file)?;
        Ok(())
    }

    /// Whether exactly this process still runs.
    pub fn alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// A handle on exactly this process, or `None` when it has ended.
    fn handle(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // In this order: the handle is of whoever has the pid now, and only then is it found to be the right one.
        self.alive().then_some(handle)
    }

    /// Sends a signal; `false` when the process has already ended.
    pub fn signal(&self, signal: Signal) -> Result<bool> {
        let Some(handle) = self.handle() else { return Ok(false) };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("sending a signal to pid {}", self.pid)),
        }
    }

    /// Waits until the process has ended; `false` when it still runs after `limit`.
    pub async fn ended(&self, limit: Duration) -> Result<bool> {
        let record = self.clone();
        tokio::task::spawn_blocking(move || record.ended_blocking(limit)).await?
    }

    fn ended_blocking(&self, limit: Duration) -> Result<bool> {
        if let Some(handle) = self.handle() {
            let timeout = Timespec::try_from(limit).context("time limit")?;
            // A pidfd becomes readable when its process ends.
            if poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout))? == 0 {
                return Ok(false);
            }
        }
        // Take the remains away if it was our own child; it is somebody else's if another command started it.
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _not_our_child = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        Ok(true)
    }

    /// Asks the process to end with `signal`, and ends it after `grace`.
    pub async fn stop(&self, signal: Signal, grace: Duration) -> Result<()> {
        self.signal(signal)?;
        if !self.ended(grace).await? {
            self.signal(Signal::KILL)?;
            self.ended(Duration::from_secs(10)).await?;
        }
        Ok(())
    }
}

/// State and start of a process, from `/proc/PID/stat`. The name in it may hold blanks and brackets.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22; the state was field 3.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

fn boot() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, Record) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let record = Record::of(child.id().cast_signed()).unwrap();
        (child, record)
    }

    #[test]
    fn a_name_with_brackets_and_blanks_is_read_past() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";
        assert_eq!(parse_stat(stat), Some(('S', 4711)));
    }

    #[tokio::test]
    async fn a_process_that_took_over_the_pid_is_never_touched() {
        let (mut child, record) = sleeper();
        for stale in [
            Record { start: record.start - 1, ..record.clone() },
            Record { boot: "another boot".into(), ..record.clone() },
        ] {
            assert!(!stale.alive());
            assert!(!stale.signal(Signal::KILL).unwrap());
            stale.stop(Signal::TERM, Duration::from_millis(10)).await.unwrap();
        }
        assert!(record.alive(), "the process that has the pid now still runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn stopping_ends_the_process_and_leaves_no_remains() {
        let (_child, record) = sleeper();
        assert!(!record.ended(Duration::from_millis(10)).await.unwrap());
        record.stop(Signal::TERM, Duration::from_secs(5)).await.unwrap();
        assert!(!record.alive());
        assert!(!Path::new(&format!("/proc/{}", record.pid)).exists(), "no zombie");
        assert!(record.ended(Duration::ZERO).await.unwrap(), "asking again is fine");
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let record = Record::of(child.id().cast_signed()).unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut ready).unwrap();
        record.stop(Signal::TERM, Duration::from_millis(50)).await.unwrap();
        assert!(!record.alive());
        assert!(child.wait().is_err(), "its remains are gone already");
    }
}
