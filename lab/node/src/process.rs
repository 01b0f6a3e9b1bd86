//! Which process is meant: a number alone is not enough, the kernel gives it away again.
//!
//! A process is its number and the moment it started (clock ticks since the machine did, field 22 of
//! `/proc/<pid>/stat`). A zombie counts as gone: it holds no disk any more.

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use std::{fs, io, os::fd::OwnedFd, sync::Arc, thread};
use tokio::sync::watch;

/// One process for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) started: u64,
}

impl Identity {
    /// The process that has this number now, unless there is none or it is a zombie.
    pub(crate) fn of(pid: i32) -> Option<Identity> {
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|started| Identity { pid, started })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Identity::of(self.pid) == Some(self)
    }
}

/// A running process that can be waited for though it is nobody's child.
pub(crate) struct Handle {
    fd: Arc<OwnedFd>,
    ended: watch::Receiver<bool>,
}

impl Handle {
    /// `None` if it no longer runs.
    pub(crate) fn open(identity: Identity) -> io::Result<Option<Handle>> {
        let Some(pid) = Pid::from_raw(identity.pid) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Arc::new(fd),
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Looked at after opening: from here on the descriptor cannot come to mean another process.
        if !identity.is_alive() {
            return Ok(None);
        }
        let (sender, ended) = watch::channel(false);
        let waited = Arc::clone(&fd);
        // A thread, because there is no safe way to hand tokio a descriptor that is not a socket. It ends with the
        // process.
        thread::Builder::new().name("process".to_owned()).spawn(move || {
            while let Err(Errno::INTR) = poll(&mut [PollFd::new(&*waited, PollFlags::IN)], None) {}
            let _ = sender.send(true);
        })?;
        Ok(Some(Handle { fd, ended }))
    }

    /// Waits until the process has ended. May be cancelled.
    pub(crate) async fn ended(&self) {
        // The sender is gone only after it has said so.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Ends it without asking.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&*self.fd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Start time, unless the process is a zombie or dead. The name in parentheses may hold anything, also parentheses.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2 3";
        assert_eq!(parse_stat(stat), Some(98765));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), None);
    }

    #[tokio::test]
    async fn a_process_is_waited_for_and_then_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let handle = Handle::open(identity).unwrap().unwrap();
        handle.kill().unwrap();
        handle.ended().await;
        // Not reaped yet, so its number is still taken; it is gone all the same.
        assert!(!identity.is_alive());
        child.wait().unwrap();
        assert!(Handle::open(identity).unwrap().is_none());
    }

    #[tokio::test]
    async fn another_process_with_the_same_number_is_not_it() {
        let me = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive());
        let before = Identity { started: me.started - 1, ..me };
        assert!(!before.is_alive());
        assert!(Handle::open(before).unwrap().is_none());
    }
}
