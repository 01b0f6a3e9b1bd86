//! Making a recovery point: the mover at the source does it, together with the one at the target.

use super::{
    NfsAdapter,
    mover::{Subject, Undone, ask},
    place::{About, place},
    points::manifest,
};
use crate::{Consistency, PointManifest, StorageError, SyncRequest};
use leeward_model::mover::{self, RefusalKind};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What of a volume only its reader knows; the mover keeps it with the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    pub(super) at: jiff::Timestamp,
    pub(super) consistency: Consistency,
}

impl NfsAdapter {
    pub(super) async fn make_point(&self, request: &SyncRequest) -> Result<PointManifest, StorageError> {
        request.check()?;
        let (from, to) = (self.remote(&request.from)?, self.remote(&request.to)?);
        let mut volumes = Vec::new();
        for volume in &request.volumes {
            let seed = volume.seed.as_ref().map(|seed| place(to, &volume.key, seed)).transpose()?;
            volumes.push(mover::SyncVolume {
                key: volume.key.clone(),
                folder: place(from, &volume.key, &volume.source)?,
                seed,
                about: json!(Moment { at: volume.at, consistency: volume.consistency }),
            });
        }
        // Asked of the target itself: a point that is there needs no source, and a target that is lost is told from a link.
        let held = self.list_points(&request.to, &request.group).await?;
        if let Some(found) = held.iter().find(|held| held.point == request.point) {
            request.check_same(found)?;
            return Ok(found.clone());
        }
        let base = held.iter().find(|held| request.base.as_ref() == Some(&held.point));
        let is_missing = |key: &&String| base.is_none_or(|base| base.volume(key).is_none());
        if let Some(key) = request.carried.iter().find(is_missing) {
            return Err(carried_missing(request, key));
        }

        let folders: Vec<_> = volumes.iter().map(|volume| (volume.key.clone(), volume.folder.clone())).collect();
        let subject = Subject {
            about: About { remote: from, group: request.group.as_str(), key: "", doing: "replicating" },
            at: &request.to,
            group: &request.group,
            point: &request.point,
            epoch: request.epoch,
            folders: &folders,
        };
        let wanted = mover::Sync {
            group: request.group.clone(),
            point: request.point.clone(),
            base: request.base.clone(),
            from: request.from.clone(),
            to: request.to.clone(),
            epoch: request.epoch,
            volumes,
            carried: request.carried.clone(),
        };
        let mover::Synced { point, cost } =
            ask(subject.about, "sync", &wanted).await.map_err(|undone| match undone {
                Undone::Refused(refusal) if refusal.kind == RefusalKind::NoPoint => match &refusal.volume {
                    Some(key) if request.carried.contains(key) => carried_missing(request, key),
                    _ => subject.undone(Undone::Refused(refusal)),
                },
                undone => subject.undone(undone),
            })?;
        tracing::info!(
            group = %request.group, point = %request.point, from = %request.from, to = %request.to,
            read_bytes = cost.read_bytes, changed_bytes = cost.changed_bytes, wire_bytes = cost.wire_bytes,
            "replicated"
        );
        let made = manifest(&request.to, point)?;
        request.check_same(&made)?;
        Ok(made)
    }
}

fn carried_missing(request: &SyncRequest, key: &str) -> StorageError {
    StorageError::CarriedMissing {
        site: request.to.clone(),
        volume: key.to_owned(),
        base: request.base.as_ref().map_or_else(|| "no base".to_owned(), ToString::to_string),
    }
}
