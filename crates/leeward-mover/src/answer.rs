//! What verbs answer, as `leeward_model::mover` has it.

use crate::points::Point;
use crate::send::Sent;
use leeward_model::mover;

/// A point as a program reads it.
#[must_use]
pub fn point(point: &Point) -> mover::Point {
    let volumes = point.volumes.iter().map(|(key, about)| mover::Volume {
        key: key.clone(),
        about: about.clone(),
        files: files(point, key),
    });
    mover::Point {
        group: point.group.clone(),
        point: point.point.clone(),
        from: point.from.clone(),
        epoch: point.epoch,
        volumes: volumes.collect(),
    }
}

fn files(point: &Point, key: &str) -> Vec<mover::File> {
    let of_volume = point.disks.iter().filter_map(|(disk, whole)| {
        let (volume, name) = disk.as_str().split_once('/')?;
        (volume == key).then(|| mover::File {
            name: name.to_owned(),
            bytes: whole.size,
            fingerprint: whole.fingerprint.to_string(),
        })
    });
    of_volume.collect()
}

/// A point that was made, with what it cost; `wire_bytes` went over the link.
#[must_use]
pub fn synced(sent: &Sent, wire_bytes: u64) -> mover::Synced {
    let cost = sent.cost();
    mover::Synced {
        point: point(&sent.point),
        cost: mover::Cost { read_bytes: cost.read, changed_bytes: cost.written, zeroed_bytes: cost.zeroed, wire_bytes },
    }
}
