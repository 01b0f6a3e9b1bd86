//! Whether a new point has room, as far as that can be told before it is made.

use super::Partial;
use crate::error::PointError;
use crate::layer::{Layer, LayerFile};
use crate::paths::Paths;
use crate::place::Place;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the room is measured again if it is too small, and how long is waited between. XFS gives back the blocks of removed
/// files some time after they were removed, and what an earlier attempt left was removed just now.
const TRIES: u32 = if cfg!(test) { 1 } else { 40 };
const PAUSE: Duration = Duration::from_millis(50);

/// What is certainly new: the bytes by which each volume takes up more than what it starts from. How many of a start's bytes are
/// replaced is not known yet; each of those is new once where blocks are shared, and twice where the old ones are saved
/// ([`crate::undo`]). So a file system that fills up in the middle is still possible.
pub(super) fn check<L: Layer>(partial: &Partial<'_, L>) -> Result<(), PointError> {
    let layer = &partial.points.layer;
    let mut have: BTreeMap<&str, u64> = BTreeMap::new();
    for disk in partial.order.disks.keys() {
        let key = disk.as_str().split('/').next().unwrap_or_default();
        let there = Paths::new(&partial.folder(), disk).image;
        // Not read: whether it is still what it was makes no difference here.
        let start = || partial.in_base(disk).map(|(base, _)| base.image).or_else(|| partial.seed(disk));
        let bytes = allocated(layer, &there).or_else(|| allocated(layer, &start()?));
        *have.entry(key).or_default() += bytes.unwrap_or(0);
    }
    let volumes = partial.order.volumes.iter();
    let more =
        volumes.map(|(key, wanted)| wanted.allocated.saturating_sub(have.get(key.as_str()).copied().unwrap_or(0)));
    let needed = more.fold(0, u64::saturating_add);
    let mut free = partial.points.free()?;
    for _ in 0..TRIES {
        if needed == 0 || needed < free {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        free = partial.points.free()?;
    }
    Err(PointError::Full { needed, free })
}

/// Bytes that a file takes up; none if there is none that could be opened.
fn allocated<L: Layer>(layer: &L, place: &Place) -> Option<u64> {
    layer.open_to_read(place).and_then(|file| file.allocated()).ok()
}
