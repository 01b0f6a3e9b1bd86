//! The verbs of the storage in memory.

use super::{
    Access, Divergence, Fault, FenceProof, Files, GroupName, InMemory, Live, PointId, PointManifest, PointVolume,
    SiteName, StorageAdapter, StorageError, StorageStatus, Stored, SyncRequest, Verb, VolumeRef, checked, fingerprint,
    length, stored, unreachable,
};
use std::collections::BTreeMap;

#[async_trait::async_trait]
impl StorageAdapter for InMemory {
    async fn status(&self, site: &SiteName) -> Result<StorageStatus, StorageError> {
        let mut entered = self.enter(Verb::Status, site)?;
        let here = entered.here()?;
        let status = if here.reachable {
            let access = if here.fenced { Access::Ro } else { Access::Rw };
            StorageStatus { reachable: true, access, free_bytes: here.free, detail: None }
        } else {
            StorageStatus {
                reachable: false,
                access: Access::Unknown,
                free_bytes: 0,
                detail: Some("cut off".to_owned()),
            }
        };
        entered.at(Fault::After)?;
        Ok(status)
    }

    async fn sync(&self, request: &SyncRequest) -> Result<PointManifest, StorageError> {
        request.check()?;
        let mut entered = self.enter(Verb::Sync, &request.to)?;
        let id = (request.group.clone(), request.point.clone());
        if let Some(found) = entered.here()?.points.get(&id) {
            request.check_same(&found.manifest)?;
            let manifest = found.manifest.clone();
            entered.at(Fault::After)?;
            return Ok(manifest);
        }
        let ours = entered.here()?.points.values().filter(|stored| stored.manifest.group == request.group);
        if let Some(newest) = ours.map(|stored| stored.epoch).max().filter(|newest| *newest > request.epoch) {
            return Err(StorageError::OldEpoch {
                site: request.to.clone(),
                group: request.group.clone(),
                asked: request.epoch,
                reason: format!("it has a point of epoch {newest}"),
            });
        }
        let (mut manifests, mut volumes) = (Vec::new(), BTreeMap::new());
        for key in &request.carried {
            let missing = |base: &str| StorageError::CarriedMissing {
                site: request.to.clone(),
                volume: key.clone(),
                base: base.to_owned(),
            };
            let base = request.base.as_ref().ok_or_else(|| missing("no base"))?;
            let base_id = (request.group.clone(), base.clone());
            let stored = entered.here()?.points.get(&base_id).ok_or_else(|| missing(base.as_str()))?;
            let volume = stored.manifest.volume(key).cloned().ok_or_else(|| missing(base.as_str()))?;
            volumes.insert(key.clone(), checked(stored, &request.to, &stored.manifest, key)?.clone());
            manifests.push(volume);
        }
        let unknown = || StorageError::UnknownSite { site: request.from.clone() };
        let source = entered.state.sites.get(&request.from).ok_or_else(unknown)?;
        if !source.reachable && !request.volumes.is_empty() {
            return Err(unreachable(&request.from));
        }
        for volume in &request.volumes {
            let files = match source.live.get(&volume.source.to_string()) {
                Some(live) if !live.files.is_empty() => live.files.clone(),
                _ => {
                    return Err(StorageError::VolumeEmpty {
                        site: request.from.clone(),
                        volume: volume.key.clone(),
                        path: volume.source.to_string(),
                        reason: "does not exist".to_owned(),
                    });
                }
            };
            manifests.push(PointVolume {
                key: volume.key.clone(),
                at: volume.at,
                consistency: volume.consistency,
                files: files.iter().map(|(name, bytes)| fingerprint(name, bytes)).collect(),
            });
            volumes.insert(volume.key.clone(), files);
        }
        let (needed, free) = (volumes.values().map(length).sum(), entered.here()?.free);
        if needed > free {
            return Err(StorageError::Full { site: request.to.clone(), doing: "replicating", needed, free });
        }
        manifests.sort_by(|a, b| a.key.cmp(&b.key));
        entered.at(Fault::During)?;
        let manifest = PointManifest {
            group: request.group.clone(),
            point: request.point.clone(),
            from: request.from.clone(),
            to: request.to.clone(),
            volumes: manifests,
        };
        entered.here()?.points.insert(id, Stored { manifest: manifest.clone(), epoch: request.epoch, volumes });
        entered.at(Fault::After)?;
        Ok(manifest)
    }

    async fn points(&self, site: &SiteName, group: &GroupName) -> Result<Vec<PointManifest>, StorageError> {
        let mut entered = self.enter(Verb::Points, site)?;
        let mut found: Vec<_> = entered
            .here()?
            .points
            .values()
            .filter(|stored| stored.manifest.group == *group)
            .map(|stored| stored.manifest.clone())
            .collect();
        found.sort_by(|a, b| a.age_key().cmp(&b.age_key()));
        entered.at(Fault::After)?;
        Ok(found)
    }

    async fn verify(&self, site: &SiteName, manifest: &PointManifest) -> Result<(), StorageError> {
        let mut entered = self.enter(Verb::Verify, site)?;
        let found = stored(entered.here()?, site, manifest)?;
        for volume in &manifest.volumes {
            checked(found, site, manifest, &volume.key)?;
        }
        entered.at(Fault::After)
    }

    async fn fence(&self, site: &SiteName) -> Result<FenceProof, StorageError> {
        let mut entered = self.enter(Verb::Fence, site)?;
        entered.here()?.fenced = true;
        entered.at(Fault::After)?;
        Ok(FenceProof { refused_by: "memory is read-only".to_owned(), at: jiff::Timestamp::now() })
    }

    async fn unfence(&self, site: &SiteName) -> Result<(), StorageError> {
        let mut entered = self.enter(Verb::Unfence, site)?;
        entered.here()?.fenced = false;
        entered.at(Fault::After)
    }

    async fn is_fenced(&self, site: &SiteName) -> Result<bool, StorageError> {
        let mut entered = self.enter(Verb::IsFenced, site)?;
        let fenced = entered.here()?.fenced;
        entered.at(Fault::After)?;
        Ok(fenced)
    }

    async fn present(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<(), StorageError> {
        let mut entered = self.enter(Verb::Present, site)?;
        let found = stored(entered.here()?, site, manifest)?;
        let mut ready: Vec<(&VolumeRef, Files)> = Vec::new();
        for volume in volumes {
            ready.push((volume, checked(found, site, manifest, &volume.key)?.clone()));
        }
        for (done, (volume, files)) in ready.into_iter().enumerate() {
            if done == 1 {
                entered.at(Fault::During)?;
            }
            let now = jiff::Timestamp::now();
            let here = entered.here()?;
            let live = here
                .live
                .entry(volume.address.to_string())
                .or_insert_with(|| Live { files: Files::new(), written: now });
            let replaced: Files = (live.files.iter())
                .filter(|(name, bytes)| files.get(*name).is_some_and(|new| new != *bytes))
                .map(|(name, bytes)| (name.clone(), bytes.clone()))
                .collect();
            if live.files.iter().any(|(name, bytes)| files.get(name) != Some(bytes)) || live.files.len() < files.len() {
                live.written = now;
            }
            live.files.extend(files);
            if !replaced.is_empty() {
                here.given_up.push((manifest.point.clone(), volume.key.clone(), replaced));
            }
        }
        entered.at(Fault::During)?;
        entered.at(Fault::After)
    }

    async fn withdraw(&self, site: &SiteName, group: &GroupName, point: &PointId) -> Result<(), StorageError> {
        let mut entered = self.enter(Verb::Withdraw, site)?;
        let here = entered.here()?;
        let newest = (here.points.values())
            .map(|stored| &stored.manifest)
            .filter(|manifest| manifest.group == *group)
            .max_by(|a, b| a.age_key().cmp(&b.age_key()));
        if newest.is_some_and(|newest| newest.point == *point) {
            return Err(StorageError::NewestPoint { site: site.clone(), group: group.clone(), point: point.clone() });
        }
        here.points.remove(&(group.clone(), point.clone()));
        entered.at(Fault::After)
    }

    async fn empty(&self, site: &SiteName, volumes: &[VolumeRef]) -> Result<Vec<String>, StorageError> {
        let mut entered = self.enter(Verb::Empty, site)?;
        let here = entered.here()?;
        let is_empty =
            |volume: &&VolumeRef| here.live.get(&volume.address.to_string()).is_none_or(|live| live.files.is_empty());
        let found = volumes.iter().filter(is_empty).map(|volume| volume.key.clone()).collect();
        entered.at(Fault::After)?;
        Ok(found)
    }

    async fn divergence(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Divergence>, StorageError> {
        let mut entered = self.enter(Verb::Divergence, site)?;
        let here = entered.here()?;
        let mut found = Vec::new();
        for volume in volumes {
            let wanted = manifest.volume(&volume.key).ok_or_else(|| StorageError::NotInPoint {
                point: manifest.point.clone(),
                volume: volume.key.clone(),
            })?;
            let live = here.live.get(&volume.address.to_string()).ok_or_else(|| StorageError::VolumeEmpty {
                site: site.clone(),
                volume: volume.key.clone(),
                path: volume.address.to_string(),
                reason: "does not exist".to_owned(),
            })?;
            // The grain is a file: the whole longer one of the two.
            let mut bytes_changed = 0;
            for file in &wanted.files {
                match live.files.get(&file.name) {
                    Some(bytes) if fingerprint(&file.name, bytes) == *file => {}
                    Some(bytes) => bytes_changed += file.bytes.max(bytes.len() as u64).max(1),
                    None => bytes_changed += file.bytes.max(1),
                }
            }
            for (name, bytes) in &live.files {
                if !wanted.files.iter().any(|file| file.name == *name) {
                    bytes_changed += (bytes.len() as u64).max(1);
                }
            }
            found.push(Divergence { key: volume.key.clone(), bytes_changed, last_written: Some(live.written) });
        }
        entered.at(Fault::After)?;
        Ok(found)
    }
}
