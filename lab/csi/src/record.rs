//! What the requests said about a volume or a snapshot, kept beside the data across restarts.
//!
//! Laws: a record is written whole (temporary name, sync, rename). It is written before its folder appears and removed
//! after its folder is gone, so a folder made by this driver always has one. A record without a folder means nothing.

use std::io::{self, ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::handle::OnDelete;
use crate::name::EntryName;

/// A volume as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// The volume's name.
    pub name: EntryName,
    /// The capacity asked for, in bytes; 0 if none was.
    pub capacity_bytes: u64,
    /// What deleting does.
    pub on_delete: OnDelete,
    /// The mode set on the folder, if the class names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// What the volume was filled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ContentSource>,
}

/// What a volume is filled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContentSource {
    /// A snapshot, by handle.
    Snapshot(String),
    /// A volume, by handle.
    Volume(String),
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRecord {
    /// The snapshot's name.
    pub name: EntryName,
    /// The handle of the volume it was made from, as the request gave it.
    pub source_handle: String,
    /// That volume's folder.
    pub source_name: EntryName,
    /// The smallest volume that takes its content, in bytes.
    pub size_bytes: u64,
    /// When its content was frozen.
    pub created: SystemTime,
    /// The group it was taken with, and goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<EntryName>,
}

/// Snapshots of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRecord {
    /// The group's name.
    pub name: EntryName,
    /// Its snapshots.
    pub snapshots: Vec<EntryName>,
    /// When their content was frozen.
    pub created: SystemTime,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file's content is not a record.
    #[error("reading {}: it is damaged; restore or delete it", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The file could not be written.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file could not be removed.
    #[error("removing {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A folder of records of one kind.
#[derive(Debug)]
pub struct Shelf<T> {
    dir: PathBuf,
    kind: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Shelf<T> {
    /// The records in `dir`, which exists.
    pub fn new(dir: PathBuf) -> Self {
        Shelf { dir, kind: PhantomData }
    }

    /// The record of that name, if there is one.
    ///
    /// # Errors
    /// It is there but cannot be read.
    pub fn load(&self, name: &EntryName) -> Result<Option<T>, RecordError> {
        let path = self.path(name);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        serde_json::from_slice(&text).map(Some).map_err(|source| RecordError::Decode { path, source })
    }

    /// Writes the record of that name, replacing an older one.
    ///
    /// # Errors
    /// It could not be written; an older record is then still there.
    pub fn save(&self, name: &EntryName, record: &T) -> Result<(), RecordError> {
        let path = self.path(name);
        self.write(&path, record).map_err(|source| RecordError::Write { path, source })
    }

    fn write(&self, path: &Path, record: &T) -> io::Result<()> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let mut file = std::fs::File::create(&partial)?;
        serde_json::to_writer_pretty(&mut file, record)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        std::fs::File::open(&self.dir)?.sync_all()
    }

    /// Removes the record of that name, if there is one.
    ///
    /// # Errors
    /// It is there and could not be removed.
    pub fn remove(&self, name: &EntryName) -> Result<(), RecordError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(RecordError::Remove { path, source }),
            _ => Ok(()),
        }
    }

    /// The names that have a record, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<EntryName>, RecordError> {
        let failed = |source| RecordError::Read { path: self.dir.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
            names.extend(name.and_then(|name| EntryName::parse(name).ok()));
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &EntryName) -> PathBuf {
        // Not with_extension: a name may contain dots.
        self.dir.join(format!("{name}.json"))
    }
}

impl RecordError {
    /// What the system said, if it was the system.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            RecordError::Read { source, .. }
            | RecordError::Write { source, .. }
            | RecordError::Remove { source, .. } => Some(source),
            RecordError::Decode { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_names_with_dots_do_not_collide() {
        let dir = tempfile::tempdir().unwrap();
        let shelf: Shelf<VolumeRecord> = Shelf::new(dir.path().to_owned());
        let record = |name: &str, capacity_bytes| VolumeRecord {
            name: EntryName::parse(name).unwrap(),
            capacity_bytes,
            on_delete: OnDelete::Retain,
            mode: Some(0o770),
            source: Some(ContentSource::Snapshot("h".to_owned())),
        };
        for (name, bytes) in [("a.json", 1), ("a", 2), ("a.b", 3)] {
            let record = record(name, bytes);
            shelf.save(&record.name, &record).unwrap();
        }
        let again: Shelf<VolumeRecord> = Shelf::new(dir.path().to_owned());
        let names = again.names().unwrap();
        assert_eq!(names.iter().map(EntryName::as_str).collect::<Vec<_>>(), ["a", "a.b", "a.json"]);
        assert_eq!(again.load(&names[0]).unwrap(), Some(record("a", 2)));
        assert_eq!(again.load(&names[2]).unwrap(), Some(record("a.json", 1)));
        again.remove(&names[0]).unwrap();
        again.remove(&names[0]).unwrap();
        assert_eq!(again.load(&names[0]).unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.json"), "{").unwrap();
        let shelf: Shelf<VolumeRecord> = Shelf::new(dir.path().to_owned());
        let error = shelf.load(&EntryName::parse("a").unwrap()).unwrap_err();
        assert!(error.to_string().contains("a.json"), "{error}");
    }
}
