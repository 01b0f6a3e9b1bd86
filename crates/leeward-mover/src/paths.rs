//! Where the files of a point's disk are.

use crate::error::PointError;
use crate::place::Place;
use leeward_model::name::PointId;

/// The manifest of a whole point's disk.
pub(crate) const MANIFEST: &str = ".blocks";
/// Folder of the block manifests.
const BLOCKS: &str = ".blocks";
/// Folder of the undo logs.
pub(crate) const UNDO: &str = ".undo";
/// After a folder's name in these two, so that it is not taken for a file of ours.
pub(crate) const INNER: &str = ".d";

/// Where a disk's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) disk: Place,
    /// The folder of the point, whatever it is called now.
    pub(crate) point: Place,
    pub(crate) image: Place,
    /// What, with a suffix, is about what it holds.
    pub(crate) blocks: Place,
    /// What, with a suffix, is about what it held before the next point was written over it.
    pub(crate) undo: Place,
}

impl Paths {
    /// Of `disk` in the folder `point`.
    pub(crate) fn new(point: &Place, disk: &Place) -> Self {
        // The first part is the volume, the last the file; those between are longer here than any name that is parsed.
        let mut parts: Vec<&str> = disk.as_str().split('/').collect();
        let file = parts.pop().map(name);
        let folders =
            parts.iter().enumerate().map(|(at, part)| name(part).with_suffix(if at > 0 { INNER } else { "" }));
        let about = folders.chain(file).reduce(|above, below| above.join(&below)).unwrap_or_else(|| disk.clone());
        let (blocks, undo) = (point.join(&name(BLOCKS)).join(&about), point.join(&name(UNDO)).join(&about));
        Self { disk: disk.clone(), point: point.clone(), image: point.join(disk), blocks, undo }
    }

    /// Of the same disk in another folder of the group.
    pub(crate) fn of(&self, point: &str) -> Self {
        Self::new(&self.beside(point), &self.disk)
    }

    /// The folder of the group.
    pub(crate) fn group(&self) -> Option<Place> {
        self.point.parent()
    }

    /// Another folder of the group.
    fn beside(&self, entry: &str) -> Place {
        self.group().map_or_else(|| name(entry), |group| group.join(&name(entry)))
    }

    /// The point that the folder is of, whatever is behind its name.
    pub(crate) fn name(&self) -> Option<PointId> {
        PointId::parse(self.point.name().split('.').next()?).ok()
    }

    /// Somebody changed it.
    pub(crate) fn touched(&self, how: String) -> PointError {
        PointError::Touched { disk: self.disk.clone(), place: self.image.clone(), how }
    }

    /// An error of opening what a whole point must have.
    pub(crate) fn unopened(&self, place: &Place, source: std::io::Error) -> PointError {
        match source.kind() {
            std::io::ErrorKind::NotFound => self.touched(format!("{place} is gone")),
            _ => PointError::files("opening", place)(source),
        }
    }

    pub(crate) fn manifest(&self) -> Place {
        self.blocks.with_suffix(MANIFEST)
    }
}

/// A name that was checked where it came from, or is our own.
pub(crate) fn name(text: &str) -> Place {
    Place::parse(text).unwrap_or_else(|error| unreachable!("{error}"))
}
