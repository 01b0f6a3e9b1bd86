//! Volumes as they lie at a site: a folder each, whose regular files, at any depth, are the volume's disks.

use crate::layer::{Identity, Kind, Layer, LayerFile, Owner};
use crate::place::Place;
use crate::writers;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;

/// The folder in a volume's folder in which `present` prepares files; it is no part of the volume.
pub const STAGING: &str = ".leeward-present";

/// What a volume's folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// The volume's name.
    pub key: String,
    /// Its folder, relative to the export.
    pub folder: Place,
    /// Whose the folder is.
    pub owner: Owner,
    /// Its files, by path inside it; never empty.
    pub files: BTreeMap<Place, File>,
    /// The folders in it, and whose they are.
    pub folders: BTreeMap<Place, Owner>,
}

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Which file it is, and when it was last changed.
    pub identity: Identity,
    /// Bytes that its content takes up.
    pub allocated: u64,
}

/// A file of a volume, and where it is.
#[derive(Debug, Clone)]
pub struct Located<'a> {
    /// Its name in a point: `<volume>/<file>`.
    pub disk: Place,
    /// Where it is, relative to the export.
    pub place: Place,
    /// Its path inside the volume.
    pub name: &'a Place,
    /// What it is.
    pub file: &'a File,
}

impl Walked {
    /// Its name as the first part of its disks' names.
    ///
    /// # Errors
    /// A name that is no part of a path, in words.
    pub fn top(&self) -> Result<Place, String> {
        Place::parse(&self.key).map_err(|error| error.to_string())
    }

    /// An error of reading a file of it.
    pub(crate) fn unread(&self, place: &Place, source: io::Error) -> VolumeError {
        VolumeError::Files { volume: self.key.clone(), doing: "reading", place: place.clone(), source }
    }

    /// Bytes that all its files take up.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.files.values().map(|file| file.allocated).fold(0, u64::saturating_add)
    }

    /// When a file of it was last written, in seconds since 1970.
    #[must_use]
    pub fn last_written(&self) -> Option<i64> {
        self.files.values().map(|file| file.identity.modified.0).max()
    }

    /// Each of its files.
    pub fn disks(&self) -> impl Iterator<Item = Located<'_>> {
        let top = self.top().ok();
        self.files.iter().filter_map(move |(name, file)| {
            let (disk, place) = (top.as_ref()?.join(name), self.folder.join(name));
            Some(Located { disk, place, name, file })
        })
    }
}

/// A volume that cannot be read as one moment.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The file system refused.
    #[error("{doing} {place} of volume {volume} [LW-0710]")]
    Files {
        /// The volume.
        volume: String,
        /// What was being done.
        doing: &'static str,
        /// With what.
        place: Place,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no such folder.
    #[error(
        "volume {volume}: there is no folder {folder} in the export; start its machine once, or take the volume out of the group \
         [LW-0718]"
    )]
    Absent {
        /// The volume.
        volume: String,
        /// Its folder.
        folder: Place,
    },
    /// The folder holds no file.
    #[error(
        "volume {volume}: folder {folder} holds no file; start its machine once, or take the volume out of the group [LW-0719]"
    )]
    Empty {
        /// The volume.
        volume: String,
        /// Its folder.
        folder: Place,
    },
    /// Something in it is neither file nor folder, or has a name that no point can have, or leads elsewhere.
    #[error(
        "volume {volume} holds {file:?}, which {why}; only regular files can be replicated: remove it, or take the volume out of \
         the group [LW-0720]"
    )]
    NotAFile {
        /// The volume.
        volume: String,
        /// Path inside the volume, or the volume's folder.
        file: String,
        /// What it is.
        why: String,
    },
    /// It was written to while it was read.
    #[error(
        "volume {volume}: {file:?} changed while it was read ({how}{by}): only a volume that nobody writes can become a recovery \
         point. Stop its machine, or send a snapshot of it [LW-0711]"
    )]
    Changed {
        /// The volume.
        volume: String,
        /// Path inside the volume.
        file: String,
        /// What is known of the change.
        how: &'static str,
        /// Who writes it, in words, if that is known.
        by: String,
    },
}

impl VolumeError {
    /// A file that was written to; its writer is looked for.
    #[must_use]
    pub fn changed(volume: &str, file: &Place, how: &'static str, identity: &Identity) -> Self {
        let by = writers::of(identity.inode).map_or_else(String::new, |who| format!(", by {who}"));
        Self::Changed { volume: volume.to_owned(), file: file.to_string(), how, by }
    }
}

/// What is in the folder of a volume.
///
/// # Errors
/// [`VolumeError`].
pub fn walk<L: Layer>(layer: &L, key: &str, folder: &Place) -> Result<Walked, VolumeError> {
    let walk = Walk { layer, key, folder };
    let owner = layer.folder_owner(folder).map_err(|error| walk.no_folder(error))?;
    let mut walked =
        Walked { key: key.to_owned(), folder: folder.clone(), owner, files: BTreeMap::new(), folders: BTreeMap::new() };
    walk.enter(None, &mut walked)?;
    if walked.files.is_empty() {
        return Err(VolumeError::Empty { volume: key.to_owned(), folder: folder.clone() });
    }
    Ok(walked)
}

/// Whether volumes are as they were when they were walked.
///
/// # Errors
/// [`VolumeError::Changed`] with the first difference; the file system.
pub fn recheck<'a, L: Layer>(layer: &L, walked: impl IntoIterator<Item = &'a Walked>) -> Result<(), VolumeError> {
    for before in walked {
        let after = match walk(layer, &before.key, &before.folder) {
            Err(VolumeError::Absent { .. } | VolumeError::Empty { .. }) => None,
            after => Some(after?),
        };
        compare(before, after.as_ref())?;
    }
    Ok(())
}

fn compare(before: &Walked, after: Option<&Walked>) -> Result<(), VolumeError> {
    let changed = |file: &Place, how, was: &File| Err(VolumeError::changed(&before.key, file, how, &was.identity));
    for (file, was) in &before.files {
        match after.and_then(|after| after.files.get(file)) {
            None => return changed(file, "it was removed", was),
            Some(is) if is.identity.size != was.identity.size => return changed(file, "it has another length", was),
            Some(is) if is.identity != was.identity => return changed(file, "it was written", was),
            Some(_) => {}
        }
    }
    let files = after.into_iter().flat_map(|after| &after.files);
    match files.into_iter().find(|(file, _)| !before.files.contains_key(*file)) {
        Some((file, is)) => changed(file, "it is new", is),
        None => Ok(()),
    }
}

struct Walk<'a, L> {
    layer: &'a L,
    key: &'a str,
    folder: &'a Place,
}

impl<L: Layer> Walk<'_, L> {
    fn enter(&self, inner: Option<&Place>, walked: &mut Walked) -> Result<(), VolumeError> {
        let place = inner.map_or_else(|| self.folder.clone(), |inner| self.folder.join(inner));
        let entries = self.layer.list(&place).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.not_a_file(inner, error.to_string()),
            _ => self.files("listing", place.clone(), error),
        })?;
        for (entry, kind) in entries {
            if inner.is_none() && kind == Kind::Folder && entry == STAGING {
                continue;
            }
            let name = Place::parse(&entry).map_err(|error| self.not_a_file(inner, error.to_string()))?;
            let file = inner.map_or_else(|| name.clone(), |inner| inner.join(&name));
            match kind {
                Kind::File => drop(walked.files.insert(file.clone(), self.file(&file)?)),
                Kind::Folder => {
                    let place = self.folder.join(&file);
                    let owner = self.layer.folder_owner(&place);
                    let owner = owner.map_err(|error| self.files("looking at", place, error))?;
                    walked.folders.insert(file.clone(), owner);
                    self.enter(Some(&file), walked)?;
                }
                Kind::Other => return Err(self.not_a_file(Some(&file), "is neither file nor folder".to_owned())),
            }
        }
        Ok(())
    }

    fn file(&self, file: &Place) -> Result<File, VolumeError> {
        let place = self.folder.join(file);
        let found = self.layer.open_to_read(&place).and_then(|open| {
            let (identity, allocated) = (open.identity()?, open.allocated()?);
            Ok(File { identity, allocated })
        });
        found.map_err(|error| self.files("looking at", place, error))
    }

    fn files(&self, doing: &'static str, place: Place, source: io::Error) -> VolumeError {
        VolumeError::Files { volume: self.key.to_owned(), doing, place, source }
    }

    fn not_a_file(&self, file: Option<&Place>, why: String) -> VolumeError {
        let file = file.unwrap_or(self.folder).to_string();
        VolumeError::NotAFile { volume: self.key.to_owned(), file, why }
    }

    fn no_folder(&self, error: io::Error) -> VolumeError {
        match error.kind() {
            io::ErrorKind::NotFound => VolumeError::Absent { volume: self.key.to_owned(), folder: self.folder.clone() },
            io::ErrorKind::NotADirectory => self.not_a_file(None, "is no folder, or leads through a file".to_owned()),
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                self.not_a_file(None, "leads through a symbolic link".to_owned())
            }
            _ => self.files("opening", self.folder.clone(), error),
        }
    }
}

#[cfg(test)]
mod tests;
