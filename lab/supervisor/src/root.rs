//! [`Root`]: the folder that holds the whole state of a lab, and what lies where in it.
//!
//! Laws:
//! - `lab.json` is the first file written and the last removed. A non-empty folder without it is not a lab's, and is
//!   never written to nor emptied.
//! - Whoever changes the lab holds the lock on `lock`; the kernel lets it go when its holder dies.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::inputs::Inputs;
use crate::place::{Place, Site};

/// The folder of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

/// What `lab.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Whether `up` ran to its end.
    pub complete: bool,
    /// The programs the lab was started with.
    pub inputs: Inputs,
    /// What Velero loads at each site, as last set.
    pub plugins: std::collections::BTreeMap<Site, crate::velero::PluginSet>,
}

/// The lock of a lab; let go when dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the kernel's lock lives as long as the file is open")] File);

impl Root {
    /// `$LEEWARD_LAB`, or `/var/lib/leeward-lab`.
    pub fn from_env() -> Self {
        Self(std::env::var_os("LEEWARD_LAB").map_or_else(|| PathBuf::from("/var/lib/leeward-lab"), PathBuf::from))
    }

    /// A lab in another folder, which must be an absolute path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of a place.
    pub fn place(&self, place: impl Into<Place>) -> PathBuf {
        self.0.join(place.into().name())
    }

    /// The kubeconfig of a site, with all rights.
    pub fn kubeconfig(&self, site: Site) -> PathBuf {
        self.place(site).join("kubeconfig")
    }

    /// The folder a site's NFS server exports, as the host sees it.
    pub fn export(&self, site: Site) -> PathBuf {
        self.place(site).join("export")
    }

    /// The log of a process.
    pub fn log(&self, place: impl Into<Place>, process: &str) -> PathBuf {
        self.place(place).join("logs").join(format!("{process}.log"))
    }

    /// The record of a running process.
    pub fn pid(&self, place: impl Into<Place>, process: &str) -> PathBuf {
        self.place(place).join("pids").join(format!("{process}.json"))
    }

    fn state_file(&self) -> PathBuf {
        self.0.join("lab.json")
    }

    /// Reads `lab.json`; `None` when there is no lab here.
    pub fn state(&self) -> Result<Option<State>> {
        let text = match fs_err::read(self.state_file()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A state of another version still says whose folder this is; only then may it be swept.
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| LabError::StateUnreadable { file: self.state_file(), source }.into())
    }

    /// Whether the folder is a lab's.
    pub fn is_lab(&self) -> bool {
        self.state_file().exists()
    }

    /// Writes `lab.json` whole.
    pub fn write_state(&self, state: &State) -> Result<()> {
        let file = self.state_file();
        write_private(&file.with_extension("new"), &serde_json::to_vec_pretty(state)?)?;
        fs_err::rename(file.with_extension("new"), file)?;
        Ok(())
    }

    /// Makes the folder, or refuses one that holds somebody else's files.
    pub fn claim(&self) -> Result<()> {
        if !self.0.is_absolute() {
            return Err(LabError::RootNotAbsolute { root: self.0.clone() }.into());
        }
        fs_err::create_dir_all(&self.0)?;
        if !self.is_lab() {
            for entry in fs_err::read_dir(&self.0)? {
                let name = entry?.file_name();
                if name != "lock" && name != "lab.new" {
                    return Err(LabError::RootInUse { root: self.0.clone() }.into());
                }
            }
        }
        Ok(())
    }

    /// Takes the lab's lock, or says who holds it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.0.join("lock");
        let mut file = fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        if rustix::fs::flock(file.file(), FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).context("reading the lock's holder")?;
            return Err(LabError::Locked { root: self.0.clone(), holder: holder.trim().to_owned() }.into());
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Lock(file.into_parts().0))
    }

    /// Removes all files of the lab, `lab.json` last.
    pub fn erase(&self) -> Result<()> {
        for entry in fs_err::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == "lock" || name == "lab.json" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs_err::remove_dir_all(entry.path())?;
            } else {
                fs_err::remove_file(entry.path())?;
            }
        }
        match fs_err::remove_file(self.state_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(contents).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_foreign_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        let error = Root::at(folder.path()).claim().unwrap_err();
        assert!(error.to_string().ends_with("[LW-0901]"), "{error}");
        assert!(folder.path().join("thesis.txt").exists());
    }

    #[test]
    fn a_lock_is_held_once_and_let_go_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        root.claim().unwrap();
        let held = root.lock().unwrap();
        let error = root.lock().unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.ends_with("[LW-0902]"), "{error}");
        drop(held);
        root.lock().unwrap();
    }
}
