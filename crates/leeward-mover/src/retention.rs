//! Which points are no longer kept.

use crate::error::PointError;
use crate::layer::Layer;
use crate::points::{Point, Points};
use leeward_model::name::PointId;
use std::num::NonZeroU32;

/// Those of a group's `points` that go when `keep` are kept: the oldest, and never `made`.
#[must_use]
pub fn surplus<'a>(points: &'a [Point], keep: NonZeroU32, made: &PointId) -> Vec<&'a Point> {
    let mut newest_first: Vec<&Point> = points.iter().collect();
    newest_first.sort_by_key(|point| std::cmp::Reverse((point.point == *made, point.number)));
    newest_first.into_iter().skip(usize::try_from(keep.get()).unwrap_or(usize::MAX)).collect()
}

/// Withdraws what is no longer kept after `made` was made. One that is being read stays until the next time.
///
/// # Errors
/// The file system; a record that cannot be read.
pub fn prune<L: Layer>(points: &Points<L>, made: &Point, keep: NonZeroU32) -> Result<Vec<PointId>, PointError> {
    let all = points.list(&made.group)?;
    let mut gone = Vec::new();
    for point in surplus(&all, keep, &made.point) {
        match points.withdraw(&point.group, &point.point) {
            Err(PointError::Busy { .. }) => {}
            withdrawn => withdrawn.map(|()| gone.push(point.point.clone()))?,
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_model::name::{Epoch, GroupName, SiteName};
    use std::collections::BTreeMap;

    fn point(name: &str, number: u64) -> Point {
        Point {
            group: GroupName::parse("shop").unwrap(),
            point: PointId::parse(name).unwrap(),
            from: SiteName::parse("east").unwrap(),
            epoch: Epoch(1),
            number,
            volumes: BTreeMap::new(),
            disks: BTreeMap::new(),
        }
    }

    #[test]
    fn the_newest_are_kept_and_the_one_just_made_always() {
        let points = [point("a", 4), point("b", 1), point("c", 3), point("d", 2)];
        let gone = |keep: u32, made: &str| -> Vec<String> {
            let surplus = surplus(&points, NonZeroU32::new(keep).unwrap(), &PointId::parse(made).unwrap());
            surplus.into_iter().map(|point| point.point.to_string()).collect()
        };
        assert_eq!(gone(2, "a"), ["d", "b"]);
        assert_eq!(gone(1, "a"), ["c", "d", "b"]);
        assert_eq!(gone(1, "b"), ["a", "c", "d"], "a point that was there already is no reason to lose it");
        assert!(gone(4, "a").is_empty() && gone(u32::MAX, "a").is_empty());
    }
}
