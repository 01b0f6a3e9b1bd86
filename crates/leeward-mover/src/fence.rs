//! The verbs `fence` and `unfence`: the export is made read-only for its clients, and proved to be so, or made writable again.
//!
//! Laws: a proof is a write that the NFS server refused because the file system is read-only, in the server's words; see
//! [`probe`](self::probe). The configuration is on stable storage before the server is told, so that a server that starts again
//! stays fenced. A fence is repeated, and taken away where there is none, without harm.

use crate::config::{Config, Nfs, Server};
use crate::disk::Disk;
use crate::place::Place;
use jiff::Timestamp;
use leeward_model::mover::{Access, Fenced, Patience};
use probe::{Probed, probe};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod exports;
mod file;
mod ganesha;
mod probe;
mod server;
mod tools;

pub use probe::Client;
pub use server::To;
pub use tools::NfsTools;

/// Between two probes while waiting for the server to follow its configuration. It tells nobody when it has.
const BETWEEN_PROBES: Duration = Duration::from_millis(200);
/// Letters of the longest tail of what a tool said that is told.
const LONGEST: usize = 2000;

/// A fence that was not made, or not taken away.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The configuration does not say which server it is.
    #[error(
        "this mover does not know its NFS server; add the section `nfs` to its configuration: `url`, and `ganesha` or \
         `kernel` [LW-0766]"
    )]
    NoServer,
    /// The server's configuration is not as it must be.
    #[error("the NFS server's configuration {path:?} cannot be changed: {why} [LW-0767]")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The server does not know of the change.
    #[error(
        "the change is written to {path:?}, but the NFS server was not told ({why}); start it, then repeat [LW-0768]"
    )]
    NotTold {
        /// The server's configuration.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// It could not be shown that writes are refused.
    #[error(
        "no write was refused as read-only within {seconds} s: {last}; the NFS server's configuration stays read-only, check that \
         it is the one that is used [LW-0769]"
    )]
    Unproven {
        /// How long it was tried.
        seconds: u32,
        /// The last answer.
        last: String,
    },
    /// It could not be shown that writes are accepted.
    #[error("no write succeeded within {seconds} s: {last}; check the NFS server's configuration and log [LW-0770]")]
    NotLifted {
        /// How long it was tried.
        seconds: u32,
        /// The last answer.
        last: String,
    },
    /// The folder for probes.
    #[error("{doing} {place} in the export, for a write over NFS [LW-0771]")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// With what.
        place: Place,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The export itself.
    #[error("the export {path:?} cannot be {doing} [LW-0772]")]
    Export {
        /// What was being done.
        doing: &'static str,
        /// Its folder on this machine.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process changes the server's configuration.
    #[error("another process is changing {path:?}; wait until it has ended, then repeat [LW-0773]")]
    Busy {
        /// The server's configuration.
        path: PathBuf,
    },
}

/// The export of this machine's site and its NFS server.
pub struct Gate<'a> {
    site: &'a str,
    nfs: &'a Nfs,
    path: &'a Path,
    export: Disk,
    client: &'a dyn Client,
}

impl<'a> Gate<'a> {
    /// Opens the export's folder. Nothing is done yet.
    ///
    /// # Errors
    /// [`FenceError::NoServer`], or there is no such folder.
    pub fn new(config: &'a Config, client: &'a dyn Client) -> Result<Self, FenceError> {
        let path = config.export.as_path();
        let nfs = config.nfs.as_ref().ok_or(FenceError::NoServer)?;
        let open = |source| FenceError::Export { doing: "opened", path: path.to_owned(), source };
        let export = Disk::open_folder(path).map_err(open)?;
        Ok(Self { site: config.site.as_str(), nfs, path, export, client })
    }

    fn probe(&self) -> Result<Probed, FenceError> {
        probe(&self.export, self.site, self.nfs.url.as_str(), self.client)
    }

    /// Whether clients can write, and what the server said to one that tried.
    ///
    /// # Errors
    /// The export's folder cannot be used.
    pub fn access(&self) -> Result<(Access, String), FenceError> {
        let Probed { access, answer } = self.probe()?;
        Ok((access, answer))
    }

    /// Makes the export read-only, and proves it.
    ///
    /// # Errors
    /// [`FenceError`]. If it is [`FenceError::Unproven`], the server's configuration is read-only nevertheless.
    pub fn fence(&self, patience: Patience) -> Result<Fenced, FenceError> {
        // Whatever is wrong with the export, it is made read-only.
        let before = self.probe();
        let told = self.nfs.server.set(To::ReadOnly)?;
        let seconds = patience.seconds;
        match self.wait_for(Access::Ro, seconds)? {
            Ok((refused_by, at)) => {
                self.settle()?;
                Ok(Fenced { refused_by, at })
            }
            Err(mut last) => {
                if let Ok(Probed { access: Access::Unknown, answer }) = before {
                    last = format!("{last} (and before the fence: {answer})");
                }
                Err(FenceError::Unproven { seconds, last: with(last, told) })
            }
        }
    }

    /// Makes the export writable again, and proves it.
    ///
    /// # Errors
    /// [`FenceError`].
    pub fn unfence(&self, patience: Patience) -> Result<(), FenceError> {
        let told = self.nfs.server.set(To::ReadWrite)?;
        let seconds = patience.seconds;
        match self.wait_for(Access::Rw, seconds)? {
            Ok(_) => Ok(()),
            Err(last) => Err(FenceError::NotLifted { seconds, last: with(last, told) }),
        }
    }

    /// Probes until the answer is `wanted`, with its moment, or the time is over, with the last answer.
    fn wait_for(&self, wanted: Access, seconds: u32) -> Result<Result<(String, Timestamp), String>, FenceError> {
        let deadline = Instant::now() + Duration::from_secs(u64::from(seconds));
        loop {
            let Probed { access, answer } = self.probe()?;
            if access == wanted {
                return Ok(Ok((answer, Timestamp::now())));
            }
            if Instant::now() >= deadline {
                return Ok(Err(answer));
            }
            std::thread::sleep(BETWEEN_PROBES);
        }
    }

    /// Puts on stable storage what clients of the kernel's server were told is there: with `async` that is before it is.
    fn settle(&self) -> Result<(), FenceError> {
        if let Server::Kernel(_) = self.nfs.server {
            let failed =
                |source| FenceError::Export { doing: "put on stable storage", path: self.path.to_owned(), source };
            let folder = std::fs::File::open(self.path).map_err(failed)?;
            rustix::fs::syncfs(folder).map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }
}

/// The last answer, and what telling the server brought, if anything.
fn with(last: String, told: Option<String>) -> String {
    match told {
        Some(told) => format!("{last} ({told})"),
        None => last,
    }
}

/// The end of what a tool said, as one line.
fn one_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line: Vec<char> = lines.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line[line.len().saturating_sub(LONGEST)..].iter().collect()
}

#[cfg(test)]
mod tests;
