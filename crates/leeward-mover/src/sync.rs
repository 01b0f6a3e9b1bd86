//! The verb `sync`: volumes at this machine become a recovery point.

use crate::layer::Layer;
use crate::place::Place;
use crate::points::{Order, Wanted};
use crate::send::{Manner, SendError, Sent, send};
use crate::target::Target;
use crate::volumes::{Walked, walk};
use leeward_model::mover;
use std::collections::{BTreeMap, BTreeSet};

/// Leeward's own folder in an export; nothing of a client is in it.
pub const OWN: &str = ".leeward";

/// A request whose names were checked: the order without what only the source can tell, and where each volume is there.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The order, its disks and folders not known yet.
    pub order: Order,
    /// The folder of each volume that is read, by key.
    pub folders: BTreeMap<String, Place>,
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// A folder that does not lead down, or is one of Leeward's own; a volume that is named twice; no volume at all.
    pub fn parse(request: &mover::Sync) -> Result<Self, SendError> {
        let senseless = |what| Err(SendError::Request { what });
        let (mut volumes, mut folders) = (BTreeMap::new(), BTreeMap::new());
        for volume in &request.volumes {
            let seed = volume.seed.as_deref().map(|seed| folder(&volume.key, seed)).transpose()?;
            folders.insert(volume.key.clone(), folder(&volume.key, &volume.folder)?);
            let wanted = Wanted { about: volume.about.clone(), seed, allocated: 0 };
            if volumes.insert(volume.key.clone(), wanted).is_some() {
                return senseless(format!("volume {} is named twice", volume.key));
            }
        }
        let carried: BTreeSet<String> = request.carried.iter().cloned().collect();
        if carried.len() < request.carried.len() {
            return senseless("a volume to be carried is named twice".to_owned());
        }
        if volumes.is_empty() && carried.is_empty() {
            return senseless("it names no volume".to_owned());
        }
        let order = Order {
            group: request.group.clone(),
            point: request.point.clone(),
            base: request.base.clone(),
            from: request.from.clone(),
            epoch: request.epoch,
            volumes,
            carried,
            folders: BTreeMap::new(),
            disks: BTreeMap::new(),
        };
        order.check().map_err(|source| SendError::Target { point: request.point.clone(), source: source.into() })?;
        Ok(Self { order, folders })
    }

    /// What the volumes hold now.
    ///
    /// # Errors
    /// A volume that cannot be read.
    pub fn walk<L: Layer>(&self, source: &L) -> Result<Vec<Walked>, SendError> {
        let walked = self.folders.iter().map(|(key, folder)| walk(source, key, folder));
        Ok(walked.collect::<Result<_, _>>()?)
    }

    /// The order, with what was found.
    ///
    /// # Errors
    /// Files that cannot be together in a folder.
    pub fn found(self, volumes: &[Walked]) -> Result<Order, SendError> {
        let mut order = self.order;
        for volume in volumes {
            let key = volume.top().map_err(|what| SendError::Request { what })?;
            if let Some(wanted) = order.volumes.get_mut(&volume.key) {
                wanted.allocated = volume.allocated();
            }
            order.folders.extend(volume.folders.iter().map(|(folder, owner)| (key.join(folder), *owner)));
            order.folders.insert(key, volume.owner);
            order.disks.extend(volume.disks().map(|located| (located.disk, located.file.identity.clone())));
        }
        Ok(order)
    }
}

/// A folder for clients.
///
/// # Errors
/// It does not lead down, or is one of Leeward's own.
pub fn folder(key: &str, text: &str) -> Result<Place, SendError> {
    let folder =
        Place::parse(text).map_err(|error| SendError::Request { what: format!("volume {key}: folder {error}") })?;
    if folder.as_str().split('/').next() == Some(OWN) {
        return Err(SendError::Request { what: format!("volume {key}: folder {folder} is one of Leeward's own") });
    }
    Ok(folder)
}

/// Makes the point, or finds that it is there; then nothing is read.
///
/// # Errors
/// [`SendError`]. What was received stays, and the next attempt goes on from it.
pub fn sync<S: Layer + Sync, T: Target>(
    source: &S,
    target: &T,
    asked: Asked,
    manner: &Manner<'_>,
) -> Result<Sent, SendError> {
    let point = asked.order.point.clone();
    let there = target.look(&asked.order).map_err(|source| SendError::Target { point, source })?;
    if let Some(point) = there {
        return Ok(Sent { point, disks: BTreeMap::new() });
    }
    let volumes = asked.walk(source)?;
    send(source, target, &asked.found(&volumes)?, &volumes, manner)
}

#[cfg(test)]
mod tests;
