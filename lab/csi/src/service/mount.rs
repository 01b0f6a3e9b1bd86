//! Bind mounts.
//!
//! Laws: binding what is bound already changes nothing. Only the mount on the target itself is taken off, and only an
//! empty folder is removed there, so a wrong target loses no file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use tonic::Status;

use crate::store::chain;

/// Why a folder is not bound, or still is.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// It is bound, but the other way.
    #[error("{} is already published, but {}: unpublish it first [LW-0983]", target.display(), if *.readonly { "read-only" } else { "read-write" })]
    OtherMode {
        /// Where.
        target: PathBuf,
        /// How it is bound now.
        readonly: bool,
    },
    /// The system refused to bind it.
    #[error("cannot bind {} to {} (this takes root) [LW-0991]", folder.display(), target.display())]
    Bind {
        /// The volume's folder.
        folder: PathBuf,
        /// Where to.
        target: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused to take it off.
    #[error("cannot take off what is mounted on {} [LW-0991]", target.display())]
    Unbind {
        /// Where.
        target: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<MountError> for Status {
    fn from(error: MountError) -> Status {
        match error {
            MountError::OtherMode { .. } => Status::already_exists(chain(&error)),
            _ => Status::internal(chain(&error)),
        }
    }
}

/// Binds `folder` to `target`, which is made if its parent is there.
pub(super) fn bind(folder: &Path, target: &Path, readonly: bool) -> Result<(), MountError> {
    let failed = |source| MountError::Bind { folder: folder.to_owned(), target: target.to_owned(), source };
    match std::fs::create_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    if is_same(folder, target).map_err(failed)? {
        let flags = rustix::fs::statvfs(target).map_err(|e| failed(e.into()))?.f_flag;
        let bound_readonly = flags.contains(StatVfsMountFlags::RDONLY);
        if bound_readonly == readonly {
            return Ok(());
        }
        return Err(MountError::OtherMode { target: target.to_owned(), readonly: bound_readonly });
    }
    rustix::mount::mount_bind(folder, target).map_err(|e| failed(e.into()))?;
    if readonly && let Err(error) = rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"") {
        // Not left writable behind the caller's back.
        unbind(target)?;
        return Err(failed(error.into()));
    }
    Ok(())
}

/// Takes off what is bound to `target` and removes the empty folder; nothing there is no error.
pub(super) fn unbind(target: &Path) -> Result<(), MountError> {
    let failed = |source| MountError::Unbind { target: target.to_owned(), source };
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        // INVAL: nothing is mounted there.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(failed(error.into())),
    }
    match std::fs::remove_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed),
    }
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (std::fs::metadata(one)?, std::fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}
