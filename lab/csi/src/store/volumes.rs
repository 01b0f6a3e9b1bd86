//! Volumes: create (empty, from a snapshot, from a volume) and delete.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Store, StoreError, is_dir};
use crate::copy;
use crate::handle::{HandleError, OnDelete, VolumeHandle};
use crate::locks::{Guard, Key};
use crate::name::EntryName;
use crate::pace::Pace;
use crate::record::{ContentSource, VolumeRecord};

/// The mode of a new volume's folder, as a guest of any user id must be able to write its disk.
const OPEN_TO_ALL: u32 = 0o777;

/// A volume as asked for.
#[derive(Clone, Debug)]
pub struct NewVolume {
    /// The name asked for.
    pub name: String,
    /// The least capacity in bytes; 0 for no wish.
    pub required_bytes: u64,
    /// The greatest capacity in bytes; 0 for no limit.
    pub limit_bytes: u64,
    /// What deleting shall do.
    pub on_delete: OnDelete,
    /// The mode the folder shall have.
    pub mode: Option<u32>,
    /// How long filling it takes; as fast as it goes if absent.
    pub pace: Option<Pace>,
    /// What to fill it from.
    pub source: Option<ContentSource>,
}

impl NewVolume {
    fn range(&self) -> String {
        match (self.required_bytes, self.limit_bytes) {
            (0, 0) => "no capacity".to_owned(),
            (least, 0) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        }
    }
}

impl Store {
    /// Makes a volume. A volume of that name that fits what is asked for is returned as it is.
    ///
    /// # Errors
    /// The name is unusable or taken by a volume that does not fit, the source is missing or too large, someone works
    /// on either, or the file system fails.
    pub fn create_volume(&self, wanted: NewVolume) -> Result<VolumeRecord, StoreError> {
        let name = EntryName::parse(&wanted.name).map_err(|source| StoreError::Name { what: "volume", source })?;
        if wanted.limit_bytes != 0 && wanted.limit_bytes < wanted.required_bytes {
            let reason = format!("the limit {} is below the required {}", wanted.limit_bytes, wanted.required_bytes);
            return Err(StoreError::Capacity { name, reason });
        }
        let _alone = self.write_volume(&name)?;
        let place = self.volume_path(&name);
        if self.volume_is_there(&name)? {
            let found = self.volumes.load(&name)?;
            return same(&name, &wanted, found);
        }
        let source = wanted.source.as_ref().map(|source| self.source(source)).transpose()?;
        let least = source.as_ref().map_or(0, |source| source.bytes);
        let capacity_bytes = if wanted.required_bytes == 0 { least } else { wanted.required_bytes };
        if capacity_bytes < least || (wanted.limit_bytes != 0 && least > wanted.limit_bytes) {
            let reason = format!("its source needs {least} bytes; asked for was {}", wanted.range());
            return Err(StoreError::Capacity { name, reason });
        }
        let record = VolumeRecord {
            name: name.clone(),
            capacity_bytes,
            on_delete: wanted.on_delete,
            mode: wanted.mode,
            source: wanted.source,
        };
        let staging = self.staging();
        let failed = |what| move |path: PathBuf, source| StoreError::Folder { what, path, source };
        match &source {
            Some(source) => {
                let copied = copy::copy_tree(&source.path, &staging.path).map_err(|error| StoreError::Copy {
                    from: source.label.clone(),
                    to: format!("volume {name}"),
                    source: error,
                })?;
                // Held all the while, as by an array that is at it.
                std::thread::sleep(wanted.pace.map(|pace| pace.of(name.as_str())).unwrap_or_default());
                tracing::info!(volume = %name, from = source.label, ?copied, "filled");
            }
            None => std::fs::create_dir(&staging.path).map_err(|e| failed("make")(place.clone(), e))?,
        }
        if let Some(mode) = record.mode.or(source.is_none().then_some(OPEN_TO_ALL)) {
            // Not at creation: the umask would take bits away.
            std::fs::set_permissions(&staging.path, Permissions::from_mode(mode))
                .map_err(|e| failed("set the mode of")(place.clone(), e))?;
        }
        self.publish(staging, &place, &self.volumes, &name, &record)?;
        Ok(record)
    }

    /// Deletes a volume; one that does not exist is no error.
    ///
    /// # Errors
    /// The handle is of another export, someone works on the volume, or the file system fails.
    pub fn delete_volume(&self, handle: &str) -> Result<(), StoreError> {
        let volume = match self.export.parse_volume(handle) {
            Ok(volume) => volume,
            Err(error @ (HandleError::Form { .. } | HandleError::Name { .. })) => {
                tracing::warn!(handle, %error, "no such volume can exist: nothing to delete");
                return Ok(());
            }
            Err(error) => return Err(StoreError::Handle(error)),
        };
        let _alone = self.write_volume(&volume.name)?;
        if volume.on_delete == OnDelete::Retain {
            tracing::info!(volume = %volume.name, "kept: its handle says retain");
            return Ok(());
        }
        let place = self.volume_path(&volume.name);
        if self.volume_is_there(&volume.name)? {
            self.discard(&place).map_err(|source| StoreError::Folder { what: "delete", path: place, source })?;
        }
        Ok(self.volumes.remove(&volume.name)?)
    }

    /// Reads the handle of a volume that must exist.
    ///
    /// # Errors
    /// There is no such volume, or the handle is of another export.
    pub fn find_volume(&self, handle: &str) -> Result<VolumeHandle, StoreError> {
        let missing = || self.not_found("volume", handle);
        let volume = self.export.parse_volume(handle).map_err(|error| match error {
            HandleError::Form { .. } | HandleError::Name { .. } => missing(),
            other => StoreError::Handle(other),
        })?;
        if self.volume_is_there(&volume.name)? { Ok(volume) } else { Err(missing()) }
    }

    /// The capacity a volume was made with, or else the length of its files, in bytes.
    pub(super) fn volume_bytes(&self, name: &EntryName) -> Result<u64, StoreError> {
        match self.volumes.load(name)? {
            Some(record) if record.capacity_bytes != 0 => Ok(record.capacity_bytes),
            _ => copy::length_of_tree(&self.volume_path(name)).map_err(|source| StoreError::Copy {
                from: format!("volume {name}"),
                to: "nothing (its size was to be taken)".to_owned(),
                source,
            }),
        }
    }

    pub(super) fn read_volume(&self, name: &EntryName) -> Result<Guard, StoreError> {
        self.locks
            .read(Key::Volume(name.clone()))
            .ok_or_else(|| StoreError::Busy { what: "volume", name: name.clone() })
    }

    pub(super) fn not_found(&self, what: &'static str, name: &str) -> StoreError {
        StoreError::NotFound { what, name: name.to_owned(), export: self.export.clone() }
    }

    fn write_volume(&self, name: &EntryName) -> Result<Guard, StoreError> {
        self.locks
            .write(Key::Volume(name.clone()))
            .ok_or_else(|| StoreError::Busy { what: "volume", name: name.clone() })
    }

    fn volume_is_there(&self, name: &EntryName) -> Result<bool, StoreError> {
        let path = self.volume_path(name);
        is_dir(&path).map_err(|source| StoreError::Folder { what: "look at", path, source })
    }

    /// Finds what to fill a volume from and holds it.
    fn source(&self, source: &ContentSource) -> Result<Source, StoreError> {
        match source {
            ContentSource::Volume(handle) => {
                let from = self.find_volume(handle)?.name;
                let held = self.read_volume(&from)?;
                // Once more: it may have been deleted before it was held.
                self.find_volume(handle)?;
                let bytes = self.volume_bytes(&from)?;
                Ok(Source { path: self.volume_path(&from), label: format!("volume {from}"), bytes, _held: held })
            }
            ContentSource::Snapshot(handle) => {
                let (record, held) = self.hold_snapshot(handle)?;
                Ok(Source {
                    path: self.snapshot_path(&record.name),
                    label: format!("snapshot {}", record.name),
                    bytes: record.size_bytes,
                    _held: held,
                })
            }
        }
    }
}

/// What a volume is filled from, held against deletion.
struct Source {
    path: PathBuf,
    label: String,
    /// The smallest volume that takes it.
    bytes: u64,
    _held: Guard,
}

/// A request repeated, or one for something else under a name that is taken.
fn same(name: &EntryName, wanted: &NewVolume, found: Option<VolumeRecord>) -> Result<VolumeRecord, StoreError> {
    let differs = |difference| Err(StoreError::Conflict { what: "volume", name: name.clone(), difference });
    let Some(found) = found else {
        return differs("this driver did not make it".to_owned());
    };
    let has = found.capacity_bytes;
    if has < wanted.required_bytes || (wanted.limit_bytes != 0 && has > wanted.limit_bytes) {
        return differs(format!("with {has} bytes; asked for was {}", wanted.range()));
    }
    if found.source != wanted.source {
        return differs("was filled from another source".to_owned());
    }
    if (found.on_delete, found.mode) != (wanted.on_delete, wanted.mode) {
        return differs("with another onDelete or mountPermissions".to_owned());
    }
    Ok(found)
}
