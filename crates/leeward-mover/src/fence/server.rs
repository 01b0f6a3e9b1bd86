//! The NFS server of this machine: its configuration is changed, and it is told.
//!
//! Law: the server is told also when its configuration already said so: whoever wrote that may have died before telling it.

use super::file::{Unchanged, change};
use super::{FenceError, exports, ganesha};
use crate::config::{Ganesha, Kernel, Server};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Seconds that exportfs may take: it looks up the names of clients.
const TELLING: &str = "60";

/// What the export is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Only to be read, by every client.
    ReadOnly,
    /// As it was before it was made read-only.
    ReadWrite,
}

impl Server {
    /// What a fence, or its end, makes of `text`, the server's configuration. Nothing is written and nobody is told.
    ///
    /// # Errors
    /// Why it cannot be changed, and what to do.
    pub fn edited(&self, text: &str, to: To) -> Result<String, String> {
        match self {
            Self::Ganesha(ganesha) => ganesha.edited(text, to),
            Self::Kernel(kernel) => kernel.edited(text, to),
        }
    }

    /// Changes the configuration and makes the server read it. What it has to say, if it does not say no.
    pub(super) fn set(&self, to: To) -> Result<Option<String>, FenceError> {
        match self {
            Self::Ganesha(ganesha) => ganesha.set(to).map(|()| None),
            Self::Kernel(kernel) => kernel.set(to),
        }
    }
}

impl Ganesha {
    fn edited(&self, text: &str, to: To) -> Result<String, String> {
        let edited = match to {
            To::ReadOnly => ganesha::read_only(text, self.export_id),
            To::ReadWrite => ganesha::read_write(text, self.export_id),
        };
        edited.map_err(|error| error.to_string())
    }

    fn set(&self, to: To) -> Result<(), FenceError> {
        changed(&self.config, "nfs.ganesha.config", &|text| self.edited(text, to))?;
        hang_up(&self.pid_file).map_err(|why| FenceError::NotTold { path: self.config.clone(), why })
    }
}

/// Sends SIGHUP to the ganesha whose process id is in the file.
fn hang_up(pid_file: &Path) -> Result<(), String> {
    let no = |what: &str| format!("{what} {}", pid_file.display());
    let text = fs::read_to_string(pid_file).map_err(|_| no("there is no pid file"))?;
    let pid: Option<i32> = text.trim().parse().ok().filter(|&pid| pid > 0);
    let pid = pid.and_then(Pid::from_raw).ok_or_else(|| no("no process id is in"))?;
    let stranger = || no("no ganesha runs with the pid in");
    // Who is looked at is who gets the signal, whatever becomes of the number meanwhile.
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| stranger())?;
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).map_err(|_| stranger())?;
    // A pid file may have outlived its server, and the signal would end most others.
    if !name.contains("ganesha") {
        return Err(stranger());
    }
    pidfd_send_signal(process, Signal::HUP).map_err(|error| format!("{error}"))
}

/// The folder that a path in a table leads to.
fn real(path: &str) -> String {
    fs::canonicalize(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into())
}

impl Kernel {
    fn edited(&self, text: &str, to: To) -> Result<String, String> {
        let path = self.path.to_string_lossy();
        let exported = exports::Exported { path: &path, real: &real };
        let edited = match to {
            To::ReadOnly => exports::read_only(text, exported),
            To::ReadWrite => exports::read_write(text, exported),
        };
        edited.map_err(|error| error.to_string())
    }

    fn set(&self, to: To) -> Result<Option<String>, FenceError> {
        if to == To::ReadOnly {
            let path = self.path.to_string_lossy();
            let exported = exports::Exported { path: &path, real: &real };
            for other in self.other_tables() {
                let Ok(text) = fs::read_to_string(&other) else { continue };
                exports::elsewhere(&text, exported)
                    .map_err(|error| FenceError::Config { path: other, why: error.to_string() })?;
            }
        }
        changed(&self.exports, "nfs.kernel.exports", &|text| self.edited(text, to))?;
        self.export_again().map_err(|why| FenceError::NotTold { path: self.exports.clone(), why })
    }

    /// The tables that exportfs reads beside the one that is edited: `exports`, and in `exports.d` those that end with
    /// `.exports` and do not begin with a dot.
    fn other_tables(&self) -> Vec<PathBuf> {
        let folder = self.exports.parent().unwrap_or(Path::new("/"));
        let (main, more) = match folder.file_name() {
            Some(name) if name == "exports.d" => (folder.with_file_name("exports"), folder.to_owned()),
            _ => (folder.join("exports"), folder.join("exports.d")),
        };
        let more = fs::read_dir(more).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".exports") && !name.starts_with('.')
        });
        more.chain([main]).filter(|path| *path != self.exports).collect()
    }

    fn export_again(&self) -> Result<Option<String>, String> {
        let mut command = Command::new("timeout");
        command.arg(TELLING).arg(&self.exportfs).arg("-ra").env("LC_ALL", "C").stdin(Stdio::null());
        let Output { status, stderr, .. } = command.output().map_err(|error| format!("timeout: {error}"))?;
        let said = super::one_line(&stderr);
        let exportfs = self.exportfs.display();
        // exportfs also ends with an error because of entries that are not ours, and does the rest. timeout(1) says by its own codes
        // that it did not run, or not to its end.
        match status.code() {
            Some(0) => Ok(None),
            Some(124..=127) | None => Err(format!("{exportfs} -ra: {status} {said}")),
            Some(_) => Ok(Some(format!("{exportfs} -ra: {status} {said}"))),
        }
    }
}

fn changed(path: &Path, field: &'static str, edit: &dyn Fn(&str) -> Result<String, String>) -> Result<(), FenceError> {
    let wrong = |why: String| FenceError::Config { path: path.to_owned(), why };
    change(path, edit).map_err(|unchanged| match unchanged {
        Unchanged::Refused(why) => wrong(why),
        Unchanged::Files(error) if error.kind() == std::io::ErrorKind::NotFound => {
            wrong(format!("it is not there; correct {field} in the mover's configuration"))
        }
        Unchanged::Files(error) => wrong(error.to_string()),
        Unchanged::Restless => wrong("somebody else keeps changing it".to_owned()),
        Unchanged::Busy => FenceError::Busy { path: path.to_owned() },
    })
}
