//! What a sender asks for, whether it makes sense, and whether a point is what it asks for.

use super::Point;
use crate::error::PointError;
use crate::layer::{Identity, Owner};
use crate::place::Place;
use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Which point a sender wants to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The group.
    pub group: GroupName,
    /// The point's name; the same whenever it is asked for again.
    pub point: PointId,
    /// The point to start from. If it is not there, everything is sent.
    pub base: Option<PointId>,
    /// The site that is read.
    pub from: SiteName,
    /// The group's epoch as the sender knows it.
    pub epoch: Epoch,
    /// The volumes that are read, by key.
    pub volumes: BTreeMap<String, Wanted>,
    /// Keys of the volumes that are taken over from the base as they are.
    pub carried: BTreeSet<String>,
    /// Whose each folder is in the volumes that are read: `<volume>` itself and all below it.
    pub folders: BTreeMap<Place, Owner>,
    /// Each disk's file at the source: `<volume>/<file>`.
    pub disks: BTreeMap<Place, Identity>,
}

/// A volume that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Kept with the point.
    pub about: Value,
    /// A folder at the target, relative to the export, whose files of the same paths are started from where the base has none.
    pub seed: Option<Place>,
    /// Bytes that its files take up at the source.
    pub allocated: u64,
}

fn senseless(what: String) -> Result<(), PointError> {
    Err(PointError::Request { what })
}

impl Order {
    /// Whether it makes sense, whatever is at the two sites: each disk is a file in a volume's folder, and each volume is read or
    /// carried, not both.
    ///
    /// # Errors
    /// [`PointError::Request`].
    pub fn check(&self) -> Result<(), PointError> {
        check(self)
    }
}

fn check(order: &Order) -> Result<(), PointError> {
    if order.base.as_ref() == Some(&order.point) {
        return senseless(format!("point {} with itself as its base", order.point));
    }
    for key in order.volumes.keys().chain(&order.carried) {
        if Place::parse(key).is_err() || key.contains('/') || key.starts_with('.') {
            return senseless(format!("volume {key:?}: a volume's name is no path, and begins with a letter or digit"));
        }
    }
    if let Some(key) = order.carried.iter().find(|key| order.volumes.contains_key(*key)) {
        return senseless(format!("volume {key} both read and carried"));
    }
    check_disks(order)
}

fn check_disks(order: &Order) -> Result<(), PointError> {
    for place in order.disks.keys().chain(order.folders.keys()) {
        let key = place.as_str().split('/').next().unwrap_or_default();
        if !order.volumes.contains_key(key) {
            return senseless(format!("{place} of volume {key}, which it did not announce"));
        }
    }
    for disk in order.disks.keys() {
        if disk.parent().is_none() {
            return senseless(format!("disk {disk}: a disk is called <volume>/<file>"));
        }
        // In the map's order what is below a disk comes behind it, though not at once: `a`, `a.b`, `a/c`.
        let below = format!("{disk}/");
        let next = order.disks.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded)).next();
        if let Some((other, _)) = next.filter(|(other, _)| other.as_str().starts_with(&below)) {
            return senseless(format!("{disk} as a file and, for {other}, as a folder"));
        }
    }
    Ok(())
}

/// Whether a point is what an order asks for. Its files are not compared: the source may have changed since, or be gone.
pub(super) fn same(order: &Order, point: &Point) -> Result<(), PointError> {
    let other = |how: String| Err(PointError::Other { group: order.group.clone(), point: order.point.clone(), how });
    if point.from != order.from {
        return other(format!("it is from site {}", point.from));
    }
    let wanted: BTreeSet<&String> = order.volumes.keys().chain(&order.carried).collect();
    if !point.volumes.keys().eq(wanted) {
        let has: Vec<&str> = point.volumes.keys().map(String::as_str).collect();
        return other(format!("it holds volumes {}", has.join(", ")));
    }
    match order.volumes.iter().find(|(key, wanted)| point.volumes.get(*key) != Some(&wanted.about)) {
        Some((key, _)) => other(format!("its volume {key} is of another moment or origin")),
        None => Ok(()),
    }
}
