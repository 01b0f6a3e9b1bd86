//! Snapshots: create, delete, list.

use std::time::SystemTime;

use super::{Store, StoreError, is_dir};
use crate::copy;
use crate::handle::HandleError;
use crate::locks::{Guard, Key};
use crate::name::EntryName;
use crate::record::SnapshotRecord;

/// A page token is this and the last name of the page before: deletions between pages move nothing.
const AFTER: &str = "after:";

/// Which snapshots to list; handles that are none of this export's match nothing.
#[derive(Clone, Debug, Default)]
pub struct SnapshotFilter {
    /// Only the snapshot of this handle.
    pub snapshot: Option<String>,
    /// Only snapshots of the volume of this handle.
    pub source: Option<String>,
}

/// Some snapshots in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The snapshots.
    pub snapshots: Vec<SnapshotRecord>,
    /// What to ask with for the rest; empty if this is all.
    pub next: String,
}

impl Store {
    /// Makes a snapshot of a volume. A snapshot of that name and that volume is returned as it is.
    ///
    /// # Errors
    /// The name is unusable or taken by a snapshot of another volume, the volume is missing, someone works on either, or
    /// the file system fails.
    pub fn create_snapshot(&self, name: &str, source_handle: &str) -> Result<SnapshotRecord, StoreError> {
        let name = EntryName::parse(name).map_err(|source| StoreError::Name { what: "snapshot", source })?;
        let _alone = self.write_snapshot(&name)?;
        if let Some(found) = self.load_snapshot(&name)? {
            // By the handle's name and not by the volume: that may be deleted by now.
            let wanted = self.export.parse_volume(source_handle).map_err(StoreError::Handle)?;
            if wanted.name == found.source_name {
                return Ok(found);
            }
            let difference = format!("of volume {}, not of {}", found.source_name, wanted.name);
            return Err(StoreError::Conflict { what: "snapshot", name, difference });
        }
        if self.snapshot_folder_is_there(&name)? {
            let difference = "this driver did not make it".to_owned();
            return Err(StoreError::Conflict { what: "snapshot", name, difference });
        }
        let volume = self.find_volume(source_handle)?;
        let _held = self.read_volume(&volume.name)?;
        // Once more: it may have been deleted before it was held.
        self.find_volume(source_handle)?;

        let size_bytes = self.volume_bytes(&volume.name)?;
        let created = SystemTime::now();
        let staging = self.staging();
        let copied = copy::copy_tree(&self.volume_path(&volume.name), &staging.path).map_err(|source| {
            StoreError::Copy { from: format!("volume {}", volume.name), to: format!("snapshot {name}"), source }
        })?;
        tracing::info!(snapshot = %name, volume = %volume.name, ?copied, "taken");
        let record = SnapshotRecord {
            name: name.clone(),
            source_handle: source_handle.to_owned(),
            source_name: volume.name,
            size_bytes,
            created,
            group: None,
        };
        self.publish(staging, &self.snapshot_path(&name), &self.snapshots, &name, &record)?;
        Ok(record)
    }

    /// Deletes a snapshot; one that does not exist is no error.
    ///
    /// # Errors
    /// The handle is of another export, the snapshot is one of a group, someone works on it, or the file system fails.
    pub fn delete_snapshot(&self, handle: &str) -> Result<(), StoreError> {
        let snapshot = match self.export.parse_snapshot(handle) {
            Ok(snapshot) => snapshot,
            Err(error @ (HandleError::Form { .. } | HandleError::Name { .. })) => {
                tracing::warn!(handle, %error, "no such snapshot can exist: nothing to delete");
                return Ok(());
            }
            Err(error) => return Err(StoreError::Handle(error)),
        };
        let _alone = self.write_snapshot(&snapshot.name)?;
        if let Some(found) = self.load_snapshot(&snapshot.name)?
            && self.is_member(&found)?
            && let Some(group) = found.group
        {
            return Err(StoreError::Together { group });
        }
        let place = self.snapshot_path(&snapshot.name);
        self.discard(&place).map_err(|source| StoreError::Folder { what: "delete", path: place, source })?;
        Ok(self.snapshots.remove(&snapshot.name)?)
    }

    /// Lists snapshots: at most `limit` (0 for all), from `token` on (empty for the beginning).
    ///
    /// # Errors
    /// The token was never given out, or the records cannot be read.
    pub fn list_snapshots(&self, filter: &SnapshotFilter, limit: usize, token: &str) -> Result<Page, StoreError> {
        let after = match token {
            "" => None,
            token => {
                let name = token.strip_prefix(AFTER).and_then(|name| EntryName::parse(name).ok());
                Some(name.ok_or_else(|| StoreError::Token { token: token.to_owned() })?)
            }
        };
        let names = match &filter.snapshot {
            None => self.snapshots.names()?,
            Some(handle) => self.export.parse_snapshot(handle).map(|handle| vec![handle.name]).unwrap_or_default(),
        };
        let source = match &filter.source {
            None => None,
            Some(handle) => match self.export.parse_volume(handle) {
                Ok(volume) => Some(volume.name),
                Err(_) => return Ok(Page::default()),
            },
        };
        let mut page = Page::default();
        for name in names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after)) {
            let Some(snapshot) = self.load_snapshot(&name)? else { continue };
            if source.as_ref().is_some_and(|source| *source != snapshot.source_name) {
                continue;
            }
            if let Some(last) = page.snapshots.last().filter(|_| limit != 0 && page.snapshots.len() == limit) {
                page.next = format!("{AFTER}{}", last.name);
                break;
            }
            page.snapshots.push(snapshot);
        }
        Ok(page)
    }

    /// Finds a snapshot that must exist and holds it against deletion.
    pub(super) fn hold_snapshot(&self, handle: &str) -> Result<(SnapshotRecord, Guard), StoreError> {
        let missing = || self.not_found("snapshot", handle);
        let snapshot = self.export.parse_snapshot(handle).map_err(|error| match error {
            HandleError::Form { .. } | HandleError::Name { .. } => missing(),
            other => StoreError::Handle(other),
        })?;
        let name = snapshot.name;
        let held = self.locks.read(Key::Snapshot(name.clone()));
        let held = held.ok_or_else(|| StoreError::Busy { what: "snapshot", name: name.clone() })?;
        Ok((self.load_snapshot(&name)?.ok_or_else(missing)?, held))
    }

    pub(super) fn write_snapshot(&self, name: &EntryName) -> Result<Guard, StoreError> {
        self.locks
            .write(Key::Snapshot(name.clone()))
            .ok_or_else(|| StoreError::Busy { what: "snapshot", name: name.clone() })
    }

    /// A snapshot that is there: its folder, and therefore its record.
    pub(super) fn load_snapshot(&self, name: &EntryName) -> Result<Option<SnapshotRecord>, StoreError> {
        if self.snapshot_folder_is_there(name)? { Ok(self.snapshots.load(name)?) } else { Ok(None) }
    }

    fn snapshot_folder_is_there(&self, name: &EntryName) -> Result<bool, StoreError> {
        let path = self.snapshot_path(name);
        is_dir(&path).map_err(|source| StoreError::Folder { what: "look at", path, source })
    }
}
