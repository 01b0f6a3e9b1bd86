//! Where a file's bytes lie, as the file system tells it: parts of two files that lie at the same place are the same, unread.

use crate::layer::LayerFile;
use std::ops::Range;

/// A part of a file that is no hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Which bytes of the file.
    pub logical: Range<u64>,
    /// Where they begin on the device, if they lie there and are shared with another file; else nothing is known of them.
    pub shared: Option<u64>,
}

/// The bytes of a file of `size` bytes in which it may differ from another, by the extents of both: ascending, none touching the
/// next. Extents are sorted and do not overlap.
#[must_use]
pub fn changed(older: &[Extent], newer: &[Extent], size: u64) -> Vec<Range<u64>> {
    let (mut older, mut newer) = (Sweep::new(older), Sweep::new(newer));
    let mut changed: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let ((was, was_until), (is, is_until)) = (older.at(at), newer.at(at));
        let end = was_until.min(is_until).min(size);
        let same = match (was, is) {
            (Part::Hole, Part::Hole) => true,
            (Part::Shared(was), Part::Shared(is)) => was == is,
            _ => false,
        };
        match changed.last_mut() {
            _ if same => {}
            Some(last) if last.end == at => last.end = end,
            _ => changed.push(at..end),
        }
        at = end;
    }
    changed
}

/// The bytes of `newer` in which it may differ from `older`, if the file system can tell.
#[must_use]
pub fn may_differ<F: LayerFile>(older: &F, newer: &F) -> Option<Vec<Range<u64>>> {
    let (was, is) = (older.identity().ok()?, newer.identity().ok()?);
    if was.inode.0 != is.inode.0 {
        return None;
    }
    let (older, newer) = (older.extents().ok()??, newer.extents().ok()??);
    Some(changed(&older, &newer, is.size))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Hole,
    /// Where it lies on the device.
    Shared(u64),
    Other,
}

/// Extents, passed from the first to the last.
struct Sweep<'a> {
    left: &'a [Extent],
}

impl<'a> Sweep<'a> {
    fn new(extents: &'a [Extent]) -> Self {
        Self { left: extents }
    }

    /// What is at byte `at`, and until where.
    fn at(&mut self, at: u64) -> (Part, u64) {
        while self.left.first().is_some_and(|extent| extent.logical.end <= at) {
            self.left = &self.left[1..];
        }
        match self.left.first() {
            None => (Part::Hole, u64::MAX),
            Some(next) if at < next.logical.start => (Part::Hole, next.logical.start),
            Some(Extent { logical, shared }) => {
                let part = shared.map_or(Part::Other, |start| Part::Shared(start.wrapping_add(at - logical.start)));
                (part, logical.end)
            }
        }
    }
}

#[cfg(test)]
mod tests;
