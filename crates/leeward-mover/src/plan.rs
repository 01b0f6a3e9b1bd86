//! The verb `plan`: what a sync would do.

use crate::compare::{Compared, ManifestSource, compare};
use crate::layer::Layer;
use crate::points::Point;
use crate::refusal::VerbError;
use crate::sync::Asked;
use leeward_model::mover::{Foreseen, Moved, Sync};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A point that is there already.
#[must_use]
pub fn there(request: &Sync, free: u64) -> Foreseen {
    let nothing = |key: &String| Moved { key: key.clone(), changed_bytes: 0, last_written: None };
    let volumes = request.volumes.iter().map(|volume| nothing(&volume.key)).collect();
    Foreseen { there: true, volumes, changed_bytes: 0, free_bytes: free, seconds: 0 }
}

/// What a sync of a point that is not there yet would do, `free` bytes being free at the target. What an earlier attempt has sent
/// already, and what a seed would save, is not looked at: it can only be less.
///
/// # Errors
/// A volume that cannot be read; the base's manifests.
pub fn foresee<L: Layer>(
    layer: &L,
    request: &Sync,
    asked: &Asked,
    base: Option<&dyn ManifestSource<L::File>>,
    free: u64,
    limit: Option<NonZeroU64>,
) -> Result<Foreseen, VerbError> {
    let began = Instant::now();
    let mut found = Vec::new();
    for walked in asked.walk(layer)? {
        let known = base.filter(|base| holds(base.point(), &walked.key));
        found.push(compare(layer, &walked, known)?);
    }
    let took = began.elapsed();
    found.sort_by_key(|found| request.volumes.iter().position(|volume| volume.key == found.moved.key));
    let changed_bytes = found.iter().map(|found| found.moved.changed_bytes).sum();
    let seconds = seconds(changed_bytes, &found, took, limit);
    let volumes = found.into_iter().map(|found| found.moved).collect();
    Ok(Foreseen { there: false, volumes, changed_bytes, free_bytes: free, seconds })
}

fn holds(point: &Point, key: &str) -> bool {
    point.volumes.contains_key(key)
}

/// At the limit, or at the rate at which all was read.
fn seconds(changed: u64, found: &[Compared], took: Duration, limit: Option<NonZeroU64>) -> u64 {
    let read: u64 = found.iter().map(|found| found.read).sum();
    match limit {
        Some(limit) => changed.div_ceil(limit.get()),
        None if read == 0 => 0,
        None => {
            let nanoseconds = took.as_nanos().saturating_mul(u128::from(changed)) / u128::from(read);
            u64::try_from(nanoseconds.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_limit_or_of_the_reading() {
        let moved = Moved { key: "pv".to_owned(), changed_bytes: 10, last_written: None };
        let found = [Compared { moved, read: 100 }];
        let took = Duration::from_secs(50);
        assert_eq!(seconds(10, &found, took, None), 5);
        assert_eq!(seconds(10, &found, took, NonZeroU64::new(3)), 4);
        assert_eq!(seconds(10, &[], took, None), 0);
        assert_eq!(seconds(u64::MAX, &found, took, None), u64::MAX / 2 + 1);
    }
}
