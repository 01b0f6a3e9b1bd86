//! The export's folder and what is done in it.
//!
//! Laws:
//! - A volume or snapshot is built under `.csi/tmp` and renamed into place, and renamed out of its place before it is
//!   deleted: at every instant it is whole or not there.
//! - Existing means: the folder is there. A volume's folder made by anyone else (a copy brought from the other site) is
//!   a volume of unknown capacity; records only add what the requests said.
//! - One driver serves an export at a time.
//! - All calls block and may take as long as a copy takes; async callers hand them to a thread.

mod error;
mod groups;
mod snapshots;
mod volumes;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use self::error::StoreError;
pub(crate) use self::error::chain;
pub use self::groups::Group;
pub use self::snapshots::{Page, SnapshotFilter};
pub use self::volumes::NewVolume;
use crate::handle::Export;
use crate::locks::Locks;
use crate::name::EntryName;
use crate::record::{GroupRecord, Shelf, SnapshotRecord, VolumeRecord};

/// An export that is being served.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    export: Export,
    locks: Locks,
    volumes: Shelf<VolumeRecord>,
    snapshots: Shelf<SnapshotRecord>,
    groups: Shelf<GroupRecord>,
    /// Locked for as long as the store lives; the lock goes with the process.
    _served: File,
}

impl Store {
    /// Begins to serve the folder `root`, which clients mount as `export`: makes the driver's own folders and clears
    /// what an earlier driver left half done.
    ///
    /// # Errors
    /// The folder is missing, is served by another driver, or cannot be written.
    pub fn open(root: &Path, export: Export) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { root: root.to_owned(), source };
        let root = root.canonicalize().map_err(failed)?;
        for dir in [".csi", ".csi/volumes", ".csi/snapshots", ".csi/groups", ".csi/tmp", ".snapshots"] {
            make_dir(&root.join(dir)).map_err(failed)?;
        }
        let served = File::create(root.join(".csi/lock")).map_err(failed)?;
        match rustix::fs::flock(&served, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::Served { root }),
            locked => locked.map_err(|e| failed(e.into()))?,
        }
        let store = Store {
            volumes: Shelf::new(root.join(".csi/volumes")),
            snapshots: Shelf::new(root.join(".csi/snapshots")),
            groups: Shelf::new(root.join(".csi/groups")),
            root,
            export,
            locks: Locks::default(),
            _served: served,
        };
        store.sweep()?;
        Ok(store)
    }

    /// The export as clients mount it.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// The folder of a volume, whether it exists or not.
    pub fn volume_path(&self, name: &EntryName) -> PathBuf {
        self.root.join(name)
    }

    /// Whether the export's folder can be used now.
    pub fn is_ready(&self) -> bool {
        is_dir(&self.root.join(".csi/tmp")).unwrap_or(false)
    }

    /// Clears what a killed driver left: half-built folders, and records whose folder never came or is gone.
    fn sweep(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Open { root: self.root.clone(), source };
        for entry in std::fs::read_dir(self.root.join(".csi/tmp")).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            tracing::info!(path = %path.display(), "clearing what an earlier driver left half done");
            remove(&path).map_err(failed)?;
        }
        for name in self.volumes.names()? {
            if !is_dir(&self.volume_path(&name)).map_err(failed)? {
                self.volumes.remove(&name)?;
            }
        }
        for name in self.snapshots.names()? {
            if !is_dir(&self.snapshot_path(&name)).map_err(failed)? {
                self.snapshots.remove(&name)?;
            }
        }
        for name in self.snapshots.names()? {
            let Some(snapshot) = self.snapshots.load(&name)? else { continue };
            if snapshot.group.is_some() && !self.is_member(&snapshot)? {
                tracing::info!(snapshot = %name, "deleting what an earlier driver took for a group it did not complete");
                self.discard_members([&name])?;
            }
        }
        Ok(())
    }

    fn snapshot_path(&self, name: &EntryName) -> PathBuf {
        self.root.join(".snapshots").join(name)
    }

    fn staging(&self) -> Staging {
        Staging { path: self.root.join(".csi/tmp").join(Uuid::new_v4().to_string()) }
    }

    /// Puts a finished folder in its place, and its record before it.
    fn publish<T: Serialize + DeserializeOwned>(
        &self,
        staging: Staging,
        place: &Path,
        shelf: &Shelf<T>,
        name: &EntryName,
        record: &T,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Folder { what: "make", path: place.to_owned(), source };
        shelf.save(name, record)?;
        if let Err(error) = rustix::fs::renameat_with(CWD, &staging.path, CWD, place, RenameFlags::NOREPLACE) {
            // Someone else's folder may be there now; with a record it would pass for ours.
            shelf.remove(name)?;
            return Err(failed(error.into()));
        }
        sync_parent(place).map_err(failed)
    }

    /// Takes a folder out of its place and deletes it; nothing happens if it is not there.
    fn discard(&self, path: &Path) -> io::Result<()> {
        // Dropping it deletes the folder; what cannot be deleted now is swept at the next start.
        let away = self.staging();
        match std::fs::rename(path, &away.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_parent(path),
        }
    }
}

/// A folder under construction; removed when dropped, unless it was renamed into its place.
struct Staging {
    path: PathBuf,
}

impl Drop for Staging {
    fn drop(&mut self) {
        match remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "left behind until the next start");
            }
            _ => {}
        }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Whether a folder is there; a symbolic link is none, wherever it leads.
fn is_dir(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(meta.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder unless it is there. Something else at its place is an error: clients can write to the export, and a
/// symbolic link would lead the driver out of it.
fn make_dir(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_dir(path)? => Ok(()),
        made => made,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if is_dir(path)? { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

#[cfg(test)]
mod tests;
