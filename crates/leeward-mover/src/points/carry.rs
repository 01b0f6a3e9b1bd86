//! Volumes that a new point takes over from its base, and what else a volume's folder has.

use super::{Held, Order, Partial, Point};
use crate::error::PointError;
use crate::layer::Layer;
use crate::paths::Paths;
use crate::place::Place;
use crate::view;
use crate::working::{self, Start, Whole, Working};
use serde_json::Value;
use std::collections::BTreeMap;

/// Whether the base has all that is to be carried.
pub(super) fn check(order: &Order, base: Option<&Point>) -> Result<(), PointError> {
    let held = |key: &&String| base.is_some_and(|base| base.volumes.contains_key(*key));
    match order.carried.iter().find(|key| !held(key)) {
        Some(volume) => Err(PointError::NotHeld {
            group: order.group.clone(),
            point: base.map(|base| base.point.clone()),
            volume: volume.clone(),
        }),
        None => Ok(()),
    }
}

/// The base's disks of the carried volumes.
pub(super) fn disks<'a, L: Layer>(
    order: &'a Order,
    base: Option<&'a Held<L>>,
) -> impl Iterator<Item = (&'a Place, &'a Whole)> {
    let all = base.into_iter().flat_map(|base| &base.point.disks);
    all.filter(|(disk, _)| disk.as_str().split_once('/').is_some_and(|(key, _)| order.carried.contains(key)))
}

/// Clones the carried volumes, or gives their files a second name. Each of their disks is a working copy that nothing is written to.
pub(super) fn carry<L: Layer>(partial: &mut Partial<'_, L>) -> Result<(), PointError> {
    let Some(base) = &partial.base else { return Ok(()) };
    let (points, folder) = (partial.points, partial.folder());
    let layer = &points.layer;
    let mut carried = Vec::new();
    for (disk, whole) in disks(&partial.order, Some(base)) {
        let (from, to) = (points.paths(&base.point, disk), Paths::new(&folder, disk));
        working::check_untouched(layer, &from, whole)?;
        // Nothing will be sent that could mend a copy which a crash left.
        working::drop_doubted(layer, &to)?;
        let owner = view::owner(layer, &from)?;
        let copy = Working::open(layer, to, Some(&from), || Ok(Start::Base(from.clone())), whole.size)?;
        carried.push((disk.clone(), copy.finish(whole.fingerprint, owner)?));
    }
    partial.whole.extend(carried);
    Ok(())
}

/// Gives every folder in a volume to whom it belongs at the source, or in the base.
pub(super) fn give_folders<L: Layer>(partial: &Partial<'_, L>) -> Result<(), PointError> {
    let (layer, folder) = (&partial.points.layer, partial.folder());
    let mut owners = BTreeMap::new();
    if let Some(base) = &partial.base {
        let from = partial.points.folder(&base.point.group, &base.point.point);
        for (disk, _) in disks(&partial.order, Some(base)) {
            for inner in std::iter::successors(disk.parent(), Place::parent) {
                let place = from.join(&inner);
                let owner = layer.folder_owner(&place).map_err(PointError::files("looking at", &place))?;
                owners.insert(inner, owner);
            }
        }
    }
    owners.extend(partial.order.folders.iter().map(|(place, owner)| (place.clone(), *owner)));
    for (inner, owner) in owners {
        let place = folder.join(&inner);
        match layer.set_folder_owner(&place, owner) {
            // It has no file in it, and so was not made.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            given => given.map_err(PointError::files("giving an owner to", &place))?,
        }
    }
    Ok(())
}

/// What came with each volume, now or with the base.
pub(super) fn about<L: Layer>(partial: &Partial<'_, L>) -> BTreeMap<String, Value> {
    let read = partial.order.volumes.iter().map(|(key, wanted)| (key.clone(), wanted.about.clone()));
    let base = partial.base.iter().flat_map(|base| &base.point.volumes);
    let carried = base.filter(|(key, _)| partial.order.carried.contains(*key));
    read.chain(carried.map(|(key, about)| (key.clone(), about.clone()))).collect()
}
