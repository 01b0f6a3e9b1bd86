//! A point at a peer, for volumes here to be compared with.

use super::{Link, PeerError};
use crate::cache::{self, Cache};
use crate::compare::{Blocks, ManifestSource};
use crate::layer::Layer;
use crate::manifest::{ManifestError, Reader};
use crate::place::Place;
use crate::points::Point;
use crate::refusal::VerbError;
use crate::remembered::{self, Remembered};
use crate::send::SendError;
use leeward_model::name::{GroupName, PointId};
use std::io::BufReader;
use std::ops::Range;

/// The point. Its manifests come from what is kept here of the last transfer, or over the link.
#[derive(Debug)]
pub struct There<'a, L> {
    link: &'a Link,
    cache: Cache<'a, L>,
    remembered: Remembered<'a, L>,
    point: Point,
}

impl<'a, L: Layer> There<'a, L> {
    /// The point of that name at the other end of `link`, if it is there.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn find(link: &'a Link, layer: &'a L, group: &GroupName, point: &PointId) -> Result<Option<Self>, PeerError> {
        let found = link.points(group)?.into_iter().find(|found| found.point == *point);
        let cache = Cache::new(layer, &cache::top(), group);
        let remembered = Remembered::new(layer, &remembered::top(), group);
        Ok(found.map(|point| Self { link, cache, remembered, point }))
    }
}

impl<L: Layer> ManifestSource<L::File> for There<'_, L> {
    fn point(&self) -> &Point {
        &self.point
    }

    fn manifest(&self, disk: &Place) -> Result<Blocks<'_>, VerbError> {
        let kept = self.point.disks.get(disk).and_then(|whole| self.cache.find(disk, whole.fingerprint));
        if let Some(kept) = kept {
            return Ok(Box::new(kept));
        }
        let parts = self.link.manifest(&self.point.group, &self.point.point, disk)?;
        match Reader::new(BufReader::new(parts)) {
            Ok(reader) => Ok(Box::new(reader)),
            Err(source) => Err(SendError::Manifest { place: disk.clone(), source }.into()),
        }
    }

    fn may_differ(&self, disk: &Place, live: &L::File) -> Option<Vec<Range<u64>>> {
        self.remembered.may_differ(disk, self.point.disks.get(disk)?.fingerprint, live)
    }
}

/// The peer's fault, if a manifest cannot be read because of it.
pub(crate) fn of_peer(error: &ManifestError) -> Option<&PeerError> {
    let ManifestError::Io(error) = error else { return None };
    error.get_ref().and_then(|inner: &(dyn std::error::Error + Send + Sync + 'static)| inner.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_model::name::SiteName;
    use std::io;

    #[test]
    fn a_link_that_breaks_while_a_manifest_is_read_is_told_from_a_bad_manifest() {
        let broken = PeerError::Broken { site: SiteName::parse("west").unwrap(), why: "so".to_owned() };
        let error = ManifestError::Io(io::Error::other(broken));
        assert!(matches!(of_peer(&error), Some(PeerError::Broken { .. })));
        assert!(of_peer(&ManifestError::Io(io::ErrorKind::BrokenPipe.into())).is_none());
        assert!(of_peer(&ManifestError::Short).is_none());
    }
}
