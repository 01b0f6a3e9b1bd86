//! How far volumes have moved away from a point: the verbs `compare` and `plan`. Nothing is written.

use crate::block::Digest;
use crate::layer::{Layer, LayerFile};
use crate::manifest::{ManifestError, Writer};
use crate::place::Place;
use crate::points::{Held, Point, Points};
use crate::refusal::VerbError;
use crate::scan::{Look, ScanError, Scanned, scan};
use crate::send::SendError;
use crate::volumes::{Located, VolumeError, Walked, recheck};
use crate::working::Whole;
use leeward_model::mover::Moved;
use std::convert::Infallible;
use std::io;
use std::ops::Range;

/// Blocks of a manifest, in order.
pub type Blocks<'a> = Box<dyn Iterator<Item = Result<(u64, Digest), ManifestError>> + 'a>;

/// A point that volumes are compared with, wherever it is.
pub trait ManifestSource<F> {
    /// The point's record.
    fn point(&self) -> &Point;

    /// What a disk of it holds.
    ///
    /// # Errors
    /// Its manifest cannot be had.
    fn manifest(&self, disk: &Place) -> Result<Blocks<'_>, VerbError>;

    /// The only bytes in which `live` can differ from a disk of it, if that can be told without reading.
    fn may_differ(&self, disk: &Place, live: &F) -> Option<Vec<Range<u64>>> {
        let _ = (disk, live);
        None
    }
}

/// A point at this machine.
#[derive(Debug)]
pub struct Here<'a, L: Layer> {
    points: &'a Points<L>,
    held: &'a Held<L>,
}

impl<'a, L: Layer> Here<'a, L> {
    /// A point that stays meanwhile.
    pub fn new(points: &'a Points<L>, held: &'a Held<L>) -> Self {
        Self { points, held }
    }
}

impl<L: Layer> ManifestSource<L::File> for Here<'_, L> {
    fn point(&self) -> &Point {
        &self.held.point
    }

    fn manifest(&self, disk: &Place) -> Result<Blocks<'_>, VerbError> {
        Ok(Box::new(self.points.manifest(self.held, disk)?))
    }

    fn may_differ(&self, disk: &Place, live: &L::File) -> Option<Vec<Range<u64>>> {
        self.points.may_differ(self.held, disk, live)
    }
}

/// What was found about a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// For the answer.
    pub moved: Moved,
    /// Bytes that were read.
    pub read: u64,
}

/// Compares a volume with a point, or with nothing.
///
/// # Errors
/// A volume that cannot be read, or changed while it was; a manifest that cannot be had.
pub fn compare<L: Layer>(
    layer: &L,
    walked: &Walked,
    point: Option<&dyn ManifestSource<L::File>>,
) -> Result<Compared, VerbError> {
    let (mut changed, mut read) = (0_u64, 0);
    for located in walked.disks() {
        let whole = point.and_then(|point| Some((point, point.point().disks.get(&located.disk)?)));
        let file = located.file;
        let found = Live { layer, walked, located: &located, size: file.identity.size }.against(whole)?;
        changed += match (point, whole) {
            // A file that the point does not have counts as long as it is; what is sent of it is less if it has holes.
            (Some(_), None) => file.identity.size.max(1),
            _ => found.changed,
        };
        read += found.scanned.read;
    }
    let lost = point.into_iter().flat_map(|point| missing(point.point(), walked));
    changed += lost.map(|whole| whole.size.max(1)).sum::<u64>();
    recheck(layer, [walked]).map_err(SendError::from)?;
    let moved = Moved { key: walked.key.clone(), changed_bytes: changed, last_written: walked.last_written() };
    Ok(Compared { moved, read })
}

/// The point's disks that the volume has no more.
fn missing<'a>(point: &'a Point, walked: &'a Walked) -> impl Iterator<Item = &'a Whole> {
    let of_volume = point.disks.iter().filter_map(|(disk, whole)| {
        let (key, file) = disk.as_str().split_once('/')?;
        (key == walked.key).then_some((file, whole))
    });
    of_volume.filter(|(file, _)| !walked.files.contains_key(*file)).map(|(_, whole)| whole)
}

struct Live<'a, L> {
    layer: &'a L,
    walked: &'a Walked,
    located: &'a Located<'a>,
    size: u64,
}

struct Found {
    scanned: Scanned,
    changed: u64,
}

impl<L: Layer> Live<'_, L> {
    fn against(&self, whole: Option<(&dyn ManifestSource<L::File>, &Whole)>) -> Result<Found, VerbError> {
        let unread = |source| SendError::from(self.walked.unread(&self.located.place, source));
        let file = self.layer.open_to_read(&self.located.place).map_err(unread)?;
        let mut newer = self.writer()?;
        let Some((source, whole)) = whole else {
            let scanned = self.scan(&file, Look::Data, Box::new(std::iter::empty()), self.size, &mut newer)?;
            return Ok(Found { scanned, changed: scanned.written });
        };
        let ranges = source.may_differ(&self.located.disk, &file);
        let look = ranges.as_deref().map_or(Look::Data, Look::Changed);
        let scanned = self.scan(&file, look, source.manifest(&self.located.disk)?, whole.size, &mut newer)?;
        let (_, fingerprint) = newer.finish().map_err(|error| self.bad(error))?;
        let cut = whole.size.saturating_sub(self.size);
        let changed = scanned.written + scanned.zeroed + cut;
        let changed = if fingerprint == whole.fingerprint { 0 } else { changed.max(1) };
        Ok(Found { scanned, changed })
    }

    fn writer(&self) -> Result<Writer<io::Sink>, SendError> {
        Writer::new(io::sink(), self.size).map_err(|error| self.bad(error))
    }

    fn bad(&self, source: ManifestError) -> SendError {
        SendError::Manifest { place: self.located.place.clone(), source }
    }

    fn scan(
        &self,
        file: &L::File,
        look: Look<'_>,
        older: Blocks<'_>,
        older_size: u64,
        newer: &mut Writer<io::Sink>,
    ) -> Result<Scanned, SendError> {
        let scanned = scan::<_, _, _, Infallible>(file, self.size, look, older, older_size, newer, &mut |_| Ok(()));
        scanned.map_err(|error| match error {
            ScanError::Read { source, .. } => self.walked.unread(&self.located.place, source).into(),
            ScanError::Shrunk { .. } => match file.identity() {
                Ok(now) => {
                    VolumeError::changed(&self.walked.key, self.located.name, "it has another length", &now).into()
                }
                Err(source) => self.walked.unread(&self.located.place, source).into(),
            },
            ScanError::Manifest(source) => self.bad(source),
            ScanError::Sink(never) => match never {},
        })
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests;
