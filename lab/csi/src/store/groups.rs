//! Snapshots of several volumes at one moment: create, find, delete.
//!
//! Laws:
//! - Of one moment means: nothing in any of the volumes was changed between the first cut and the last. The file system
//!   cannot stop the clock for several files, so it is looked at before and after, and cut anew if a guest wrote meanwhile.
//! - A group is there when its record is, which is written after its snapshots. Snapshots of a group that is not there are
//!   what a killed driver left, and go at the next start. They go with their group, never by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::{Staging, Store, StoreError};
use crate::copy::{self, Stamp};
use crate::handle::HandleError;
use crate::locks::{Guard, Key};
use crate::name::EntryName;
use crate::record::{GroupRecord, SnapshotRecord};

/// How often is cut before the caller is told to come again. A guest that writes once a second leaves ample room for one cut,
/// which takes some ten milliseconds.
const ATTEMPTS: usize = 16;

/// A group and its snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group.
    pub record: GroupRecord,
    /// Its snapshots, in the order of their names.
    pub snapshots: Vec<SnapshotRecord>,
}

impl Store {
    /// Makes snapshots of volumes at one moment. A group of that name and those volumes is returned as it is.
    ///
    /// # Errors
    /// The name is unusable or taken by a group of other volumes, a volume is missing, someone works on any of them or writes
    /// to them without a pause, or the file system fails.
    pub fn create_group(&self, name: &str, source_handles: &[String]) -> Result<Group, StoreError> {
        let name = EntryName::parse(name).map_err(|source| StoreError::Name { what: "snapshot group", source })?;
        let _alone = self.write_group(&name)?;
        if let Some(record) = self.groups.load(&name)? {
            let group = self.whole(record)?;
            // By the handles' names and not by the volumes: those may be deleted by now.
            let parse = |handle: &String| self.export.parse_volume(handle).map(|volume| volume.name);
            let wanted = source_handles.iter().map(parse).collect::<Result<BTreeSet<_>, _>>();
            let wanted = wanted.map_err(StoreError::Handle)?;
            if group.snapshots.iter().map(|snapshot| &snapshot.source_name).eq(&wanted) {
                return Ok(group);
            }
            let difference = "is of other volumes".to_owned();
            return Err(StoreError::Conflict { what: "snapshot group", name, difference });
        }
        let mut sources = BTreeMap::new();
        for handle in source_handles {
            let volume = self.find_volume(handle)?;
            let held = self.read_volume(&volume.name)?;
            // Once more: it may have been deleted before it was held.
            self.find_volume(handle)?;
            sources.insert(volume.name.clone(), Source { name: volume.name, handle: handle.clone(), _held: held });
        }
        // In the order of their names, which is that of the snapshots; a volume that was named twice is in it once.
        let sources: Vec<_> = sources.into_values().collect();
        let (created, cut) = self.cut(&name, &sources)?;
        let mut snapshots: Vec<SnapshotRecord> = Vec::new();
        for (index, (source, staging)) in sources.iter().zip(cut).enumerate() {
            let made = self.publish_member(&name, index, source, staging, created);
            match made {
                Ok(made) => snapshots.push(made),
                Err(error) => {
                    self.discard_members(snapshots.iter().map(|made| &made.name))?;
                    return Err(error);
                }
            }
        }
        let record =
            GroupRecord { name: name.clone(), snapshots: snapshots.iter().map(|s| s.name.clone()).collect(), created };
        self.groups.save(&name, &record)?;
        tracing::info!(group = %name, snapshots = snapshots.len(), "taken");
        Ok(Group { record, snapshots })
    }

    /// Finds a group; `snapshots` may name its snapshots, all of them.
    ///
    /// # Errors
    /// There is no such group, or it has other snapshots.
    pub fn find_group(&self, handle: &str, snapshots: &[String]) -> Result<Group, StoreError> {
        let missing = || self.not_found("snapshot group", handle);
        let name = self.export.parse_group(handle).map_err(|error| match error {
            HandleError::Form { .. } | HandleError::Name { .. } => missing(),
            other => StoreError::Handle(other),
        })?;
        let group = self.whole(self.groups.load(&name)?.ok_or_else(missing)?)?;
        self.compare(&group.record, snapshots)?;
        Ok(group)
    }

    /// Deletes a group with its snapshots; one that does not exist is no error.
    ///
    /// # Errors
    /// The handle is of another export, `snapshots` are not the group's, someone works on it, or the file system fails.
    pub fn delete_group(&self, handle: &str, snapshots: &[String]) -> Result<(), StoreError> {
        let name = match self.export.parse_group(handle) {
            Ok(name) => name,
            Err(error @ (HandleError::Form { .. } | HandleError::Name { .. })) => {
                tracing::warn!(handle, %error, "no such snapshot group can exist: nothing to delete");
                return Ok(());
            }
            Err(error) => return Err(StoreError::Handle(error)),
        };
        let _alone = self.write_group(&name)?;
        let Some(record) = self.groups.load(&name)? else { return Ok(()) };
        self.compare(&record, snapshots)?;
        self.discard_members(&record.snapshots)?;
        Ok(self.groups.remove(&name)?)
    }

    /// Whether a snapshot is one of a group's, which is there.
    pub(super) fn is_member(&self, snapshot: &SnapshotRecord) -> Result<bool, StoreError> {
        match &snapshot.group {
            Some(group) => Ok(self.groups.load(group)?.is_some()),
            None => Ok(false),
        }
    }

    /// Copies all of them until nobody writes to any meanwhile.
    fn cut(&self, name: &EntryName, sources: &[Source]) -> Result<(SystemTime, Vec<Staging>), StoreError> {
        for attempt in 1..=ATTEMPTS {
            let before = self.stamps(sources)?;
            let created = SystemTime::now();
            let mut cut = Vec::new();
            for source in sources {
                let staging = self.staging();
                copy::copy_tree(&self.volume_path(&source.name), &staging.path).map_err(|error| StoreError::Copy {
                    from: format!("volume {}", source.name),
                    to: format!("snapshot group {name}"),
                    source: error,
                })?;
                cut.push(staging);
            }
            if self.stamps(sources)? == before {
                return Ok((created, cut));
            }
            tracing::info!(group = %name, attempt, "cut anew: somebody wrote to its volumes meanwhile");
        }
        Err(StoreError::NotOneMoment { name: name.clone() })
    }

    fn stamps(&self, sources: &[Source]) -> Result<Vec<Stamp>, StoreError> {
        let stamps = |source: &Source| {
            copy::stamps_of_tree(&self.volume_path(&source.name)).map_err(|error| StoreError::Copy {
                from: format!("volume {}", source.name),
                to: "nothing (its times were to be read)".to_owned(),
                source: error,
            })
        };
        Ok(sources.iter().map(stamps).collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn publish_member(
        &self,
        group: &EntryName,
        index: usize,
        source: &Source,
        staging: Staging,
        created: SystemTime,
    ) -> Result<SnapshotRecord, StoreError> {
        let name = EntryName::parse(&format!("{group}-{index}"))
            .map_err(|source| StoreError::Name { what: "snapshot group", source })?;
        let _alone = self.write_snapshot(&name)?;
        let record = SnapshotRecord {
            name: name.clone(),
            source_handle: source.handle.clone(),
            source_name: source.name.clone(),
            size_bytes: self.volume_bytes(&source.name)?,
            created,
            group: Some(group.clone()),
        };
        self.publish(staging, &self.snapshot_path(&name), &self.snapshots, &name, &record)?;
        Ok(record)
    }

    pub(super) fn discard_members<'n>(&self, names: impl IntoIterator<Item = &'n EntryName>) -> Result<(), StoreError> {
        for name in names {
            let _alone = self.write_snapshot(name)?;
            let place = self.snapshot_path(name);
            self.discard(&place).map_err(|source| StoreError::Folder { what: "delete", path: place, source })?;
            self.snapshots.remove(name)?;
        }
        Ok(())
    }

    /// The group with its snapshots.
    fn whole(&self, record: GroupRecord) -> Result<Group, StoreError> {
        let member =
            |name: &EntryName| self.load_snapshot(name)?.ok_or_else(|| self.not_found("snapshot", name.as_str()));
        let snapshots = record.snapshots.iter().map(member).collect::<Result<_, _>>()?;
        Ok(Group { record, snapshots })
    }

    fn compare(&self, record: &GroupRecord, snapshots: &[String]) -> Result<(), StoreError> {
        let named: Vec<_> = snapshots.iter().filter_map(|handle| self.export.parse_snapshot(handle).ok()).collect();
        let all = record.snapshots.iter().all(|name| named.iter().any(|snapshot| snapshot.name == *name));
        if snapshots.is_empty() || (all && snapshots.len() == record.snapshots.len()) {
            return Ok(());
        }
        Err(StoreError::Together { group: record.name.clone() })
    }

    fn write_group(&self, name: &EntryName) -> Result<Guard, StoreError> {
        self.locks
            .write(Key::Group(name.clone()))
            .ok_or_else(|| StoreError::Busy { what: "snapshot group", name: name.clone() })
    }
}

/// A volume of the group, held against deletion.
struct Source {
    name: EntryName,
    handle: String,
    _held: Guard,
}
