//! One executor a group and machine. The journal keeps executors of different machines apart; this keeps a second shell
//! on the same machine from taking over a run whose executor is alive. The kernel drops the lock with its process.

use crate::error::EngineError;
use leeward_model::name::GroupName;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::PathBuf,
};

/// Held while a group is worked on.
#[derive(Debug)]
pub struct GroupLock {
    _file: File,
}

impl GroupLock {
    /// Takes the lock. `scope` tells installations apart that share a machine: the bucket and the prefix.
    ///
    /// # Errors
    /// [`EngineError::Locked`] with the holder's pid if it is held.
    pub fn take(group: &GroupName, scope: &str) -> Result<Self, EngineError> {
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let scope: String = scope.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = folder.join(format!("leeward-{scope}-{group}.lock"));
        let failed = |source| EngineError::LockFile { path: path.display().to_string(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                return Err(EngineError::Locked { group: group.clone(), pid: pid.trim().to_owned() });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_has_it() {
        let group = GroupName::parse("shop").unwrap();
        let scope = format!("test-{}", std::process::id());
        let held = GroupLock::take(&group, &scope).unwrap();
        let refused = GroupLock::take(&group, &scope).unwrap_err();
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        GroupLock::take(&group, &scope).unwrap();
    }
}
