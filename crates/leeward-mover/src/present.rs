//! The verb `present`: a point's files are put where clients see them.
//!
//! Every file is cloned, checked and put on stable storage before the first one is put in its place; each of them takes its place by
//! one rename. What was there and differs is kept aside first. Files that hold the point's bytes already, and files that the point
//! does not have, are left alone.

use crate::compare::Here;
use crate::error::PointError;
use crate::layer::{Hold, Layer, LayerFile};
use crate::place::{BadPlace, Place};
use crate::points::{Held, Points, lock};
use crate::send::SendError;
use crate::volumes::STAGING;
use leeward_model::mover;
use std::io;

mod aside;
mod same;
mod shown;

use same::Reading;
pub use shown::{NfsClient, Shown};

/// A presentation that was not done.
#[derive(Debug, thiserror::Error)]
pub enum PresentError {
    /// The request's folder.
    #[error(transparent)]
    Request(#[from] SendError),
    /// The point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// A file's name.
    #[error("volume {volume} cannot have a file {bad} [LW-0723]")]
    Name {
        /// The volume.
        volume: String,
        /// What is wrong.
        #[source]
        bad: BadPlace,
    },
    /// The file system refused.
    #[error("presenting volume {volume}: {doing} {place} [LW-0724]")]
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
    /// Something that is no file is where a file has to be.
    #[error("volume {volume}: where {file:?} has to be is something else, {why}; remove it, then repeat [LW-0725]")]
    InTheWay {
        /// The volume.
        volume: String,
        /// Path inside the volume.
        file: String,
        /// What it is.
        why: String,
    },
    /// The point does not hold what it should.
    #[error("volume {volume}: {file:?} {how}; do not start a machine from it: use another recovery point [LW-0726]")]
    Differs {
        /// The volume.
        volume: String,
        /// Path inside the volume.
        file: String,
        /// What was expected and what was found.
        how: String,
    },
    /// The NFS server still shows the file that was replaced.
    #[error(
        "volume {volume}: clients still see the old {file:?}, because the NFS server remembers it; set Attr_Expiration_Time = 0 in \
         the export, restart the server, then repeat [LW-0727]"
    )]
    Stale {
        /// The volume.
        volume: String,
        /// Path inside the volume.
        file: String,
    },
}

/// Puts the files of a volume where clients see them.
///
/// # Errors
/// [`PresentError`]. Unless it is of the last steps, nothing that clients see was changed.
pub fn present<L: Layer>(
    export: &L,
    points: &Points<L>,
    request: &mover::Present,
    shown: &dyn Shown,
) -> Result<(), PresentError> {
    let folder = crate::sync::folder(&request.key, &request.folder)?;
    let held = points.existing(&request.group, &request.point)?;
    if !held.point.volumes.contains_key(&request.key) {
        let (group, point) = (request.group.clone(), Some(request.point.clone()));
        return Err(PointError::NotHeld { group, point, volume: request.key.clone() }.into());
    }
    let key = &request.key;
    let name = |text: &str| Place::parse(text).map_err(|bad| PresentError::Name { volume: key.clone(), bad });
    let (top, staging) = (name(key)?, folder.join(&name(STAGING)?));
    let aside = name(&format!("{}/given-up/{}/{key}", crate::sync::OWN, request.point))?;
    let work = Presenting { export, points, held: &held, key, top, folder, staging, aside };
    let files = work.wanted(request)?;

    work.make_folders(&work.aside.join(&work.top), None)?;
    let lock = lock(export, &work.aside, Hold::Alone)?;
    let _lock = lock.ok_or_else(|| PointError::Busy { what: format!("presenting volume {key}") })?;
    work.make_folder(None)?;
    work.fresh_staging()?;
    let staged = work.stage(&files)?;
    for (number, file) in &staged {
        work.put(*number, file)?;
    }
    if let Some(url) = &request.url {
        work.fresh_staging()?;
        work.wait_for_server(&files, url, shown)?;
    }
    work.remove(&work.staging)?;
    work.sync_folder(&work.folder)
}

/// A file of the volume that the point holds.
struct Wanted {
    name: Place,
    disk: Place,
}

struct Presenting<'a, L: Layer> {
    export: &'a L,
    points: &'a Points<L>,
    held: &'a Held<L>,
    key: &'a str,
    /// The volume's folder in the point.
    top: Place,
    /// The volume's folder for clients.
    folder: Place,
    staging: Place,
    aside: Place,
}

impl<L: Layer> Presenting<'_, L> {
    fn files<'a>(&'a self, doing: &'static str, place: &'a Place) -> impl Fn(io::Error) -> PresentError + 'a {
        move |source| PresentError::Files { volume: self.key.to_owned(), doing, place: place.clone(), source }
    }

    fn differs(&self, file: &Place, how: String) -> PresentError {
        PresentError::Differs { volume: self.key.to_owned(), file: file.to_string(), how }
    }

    fn in_the_way(&self, file: &Place, why: &str) -> PresentError {
        PresentError::InTheWay { volume: self.key.to_owned(), file: file.to_string(), why: why.to_owned() }
    }

    /// The request's files, as far as the point's record has them as they should be.
    fn wanted(&self, request: &mover::Present) -> Result<Vec<Wanted>, PresentError> {
        let mut wanted = Vec::new();
        for file in &request.files {
            let name =
                Place::parse(&file.name).map_err(|bad| PresentError::Name { volume: self.key.to_owned(), bad })?;
            let disk = self.top.join(&name);
            match self.held.point.disks.get(&disk) {
                None => return Err(self.differs(&name, "is missing from the recovery point".to_owned())),
                Some(whole) if whole.size != file.bytes || whole.fingerprint.to_string() != file.fingerprint => {
                    let how = format!(
                        "in the recovery point has fingerprint {}, not {}",
                        whole.fingerprint, file.fingerprint
                    );
                    return Err(self.differs(&name, how));
                }
                Some(_) => wanted.push(Wanted { name, disk }),
            }
        }
        Ok(wanted)
    }

    fn point(&self) -> Here<'_, L> {
        Here::new(self.points, self.held)
    }

    fn fresh_staging(&self) -> Result<(), PresentError> {
        self.remove(&self.staging)?;
        self.export.create_folder(&self.staging).map_err(self.files("making", &self.staging))
    }

    fn staged(&self, number: usize) -> Place {
        self.staging.join(&Place::number(number))
    }

    /// Clones and checks every file that is not in its place already. Gives their numbers.
    fn stage<'a>(&self, files: &'a [Wanted]) -> Result<Vec<(usize, &'a Wanted)>, PresentError> {
        let mut staged = Vec::new();
        for (number, file) in files.iter().enumerate() {
            if self.is_in_place(file)? {
                continue;
            }
            let copy = self.staged(number);
            let owner = match self.points.owner(self.held, &file.disk) {
                Err(PointError::Touched { .. }) => {
                    return Err(self.differs(&file.name, "is missing from the recovery point".to_owned()));
                }
                owner => owner?,
            };
            self.points.copy_out(self.held, &file.disk, &copy)?;
            let opened = self.export.open(&copy).map_err(self.files("opening", &copy))?;
            if let Some(how) = same::difference(&self.point(), file, &opened, Reading::All)? {
                self.remove(&self.staging)?;
                return Err(self.differs(&file.name, format!("in the recovery point {how}")));
            }
            opened.set_owner(owner).map_err(self.files("giving an owner to", &copy))?;
            opened.sync().map_err(self.files("putting on stable storage", &copy))?;
            staged.push((number, file));
        }
        Ok(staged)
    }

    fn is_in_place(&self, file: &Wanted) -> Result<bool, PresentError> {
        match self.live(file)? {
            Some(live) => Ok(same::difference(&self.point(), file, &live, Reading::NotShared)?.is_none()),
            None => Ok(false),
        }
    }

    /// What clients see of a file now.
    fn live(&self, file: &Wanted) -> Result<Option<L::File>, PresentError> {
        let place = self.folder.join(&file.name);
        match self.export.open_to_read(&place) {
            Ok(live) => Ok(Some(live)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(self.in_the_way(&file.name, "no regular file"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(self.in_the_way(&file.name, "a file in place of a folder"))
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                Err(self.in_the_way(&file.name, "a symbolic link"))
            }
            Err(error) => Err(self.files("opening", &place)(error)),
        }
    }

    fn put(&self, number: usize, file: &Wanted) -> Result<(), PresentError> {
        let place = self.folder.join(&file.name);
        if self.live(file)?.is_some() {
            aside::keep(self, file)?;
        }
        self.make_folder(file.name.parent().as_ref())?;
        let staged = self.staged(number);
        self.export.rename(&staged, &place).map_err(self.files("putting in its place", &place))?;
        match place.parent() {
            Some(parent) => self.sync_folder(&parent),
            None => Ok(()),
        }
    }

    /// Makes a folder in the volume's folder, or that itself, with the owner it has in the point.
    fn make_folder(&self, inner: Option<&Place>) -> Result<(), PresentError> {
        let place = inner.map_or_else(|| self.folder.clone(), |inner| self.folder.join(inner));
        match self.export.folder_owner(&place) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(self.in_the_way(inner.unwrap_or(&self.folder), "a file in place of a folder"));
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(self.in_the_way(inner.unwrap_or(&self.folder), "a symbolic link"));
            }
            Err(error) => return Err(self.files("looking at", &place)(error)),
        }
        match inner {
            Some(inner) => self.make_folder(inner.parent().as_ref())?,
            None => self.make_folders(&place, None)?,
        }
        self.export.create_folder(&place).map_err(self.files("making", &place))?;
        let in_point = inner.map_or_else(|| self.top.clone(), |inner| self.top.join(inner));
        let in_point = self.points.inner(self.held, &in_point);
        let owner = self.export.folder_owner(&in_point).map_err(self.files("looking at", &in_point))?;
        self.export.set_folder_owner(&place, owner).map_err(self.files("giving an owner to", &place))?;
        if let Some(parent) = place.parent() {
            self.sync_folder(&parent)?;
        }
        self.sync_folder(&place)
    }

    /// Makes the folders that `place` is in, up to `until`, and puts their names on stable storage.
    fn make_folders(&self, place: &Place, until: Option<&Place>) -> Result<(), PresentError> {
        let Some(parent) = place.parent().filter(|parent| Some(parent) != until) else { return Ok(()) };
        self.make_folders(&parent, until)?;
        self.export.create_folder(&parent).map_err(self.files("making", &parent))?;
        match parent.parent() {
            Some(above) => self.sync_folder(&above),
            None => Ok(()),
        }
    }

    /// Waits until an NFS client sees the new files. The server remembers which file a name means (Ganesha: for 60 s, unless
    /// Attr_Expiration_Time is 0). Each file gets a second name here; a listing over NFS that counts two has found the new file.
    fn wait_for_server(&self, files: &[Wanted], url: &str, shown: &dyn Shown) -> Result<(), PresentError> {
        let mut tries = 0;
        for (number, file) in files.iter().enumerate() {
            let (place, second) = (self.folder.join(&file.name), self.staged(number));
            self.export.link(&place, &second).map_err(self.files("giving a second name to", &place))?;
            let at = file.name.parent().map_or_else(|| url.to_owned(), |parent| format!("{url}/{parent}"));
            while !shown.has_two_names(&at, file.name.name()) {
                tries += 1;
                if tries >= shown::TRIES {
                    self.remove(&self.staging)?;
                    return Err(PresentError::Stale { volume: self.key.to_owned(), file: file.name.to_string() });
                }
                std::thread::sleep(shown::PAUSE);
            }
        }
        Ok(())
    }

    fn remove(&self, place: &Place) -> Result<(), PresentError> {
        self.export.remove(place).map_err(self.files("removing", place))
    }

    fn sync_folder(&self, place: &Place) -> Result<(), PresentError> {
        self.export.sync_folder(place).map_err(self.files("putting on stable storage", place))
    }
}

#[cfg(test)]
mod tests;
