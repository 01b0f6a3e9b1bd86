//! The points at a site: listing, verifying, withdrawing.

use super::{
    NfsAdapter,
    place::{About, OWN},
    remote::Pace,
    scan::difference,
};
use crate::{PointManifest, StorageError};
use leeward_model::name::{GroupName, PointId, SiteName};

const POINTS: &str = include_str!("scripts/points.sh");
const WITHDRAW: &str = include_str!("scripts/withdraw.sh");

impl NfsAdapter {
    pub(super) async fn list_points(
        &self,
        site: &SiteName,
        group: &GroupName,
    ) -> Result<Vec<PointManifest>, StorageError> {
        let remote = self.remote(site)?;
        let about = About { remote, group: group.as_str(), key: "", doing: "listing recovery points" };
        let output = remote.run(about.doing, Pace::Work, POINTS, &[remote.top(), group.as_str()]).await;
        let output = output.map_err(|failure| about.error(failure))?;
        let mut found = Vec::new();
        let parts: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
        for pair in parts.chunks_exact(2) {
            // Withdrawn at this moment.
            if pair[1].is_empty() {
                continue;
            }
            let name = String::from_utf8_lossy(pair[0]).into_owned();
            let manifest: PointManifest = serde_json::from_slice(pair[1]).map_err(|source| StorageError::Manifest {
                site: site.clone(),
                point: name.clone(),
                source,
            })?;
            if manifest.point.as_str() != name || manifest.group != *group {
                let reason = format!("the folder of point {name} holds the manifest of {}", manifest.point);
                return Err(StorageError::Remote { site: site.clone(), doing: about.doing, reason });
            }
            found.push(manifest);
        }
        found.sort_by(|a, b| a.age_key().cmp(&b.age_key()));
        Ok(found)
    }

    /// Whether the point is there; the folders of its volumes tell the rest.
    pub(super) async fn check_there(&self, site: &SiteName, manifest: &PointManifest) -> Result<(), StorageError> {
        let points = self.list_points(site, &manifest.group).await?;
        if points.iter().any(|point| point.point == manifest.point) {
            return Ok(());
        }
        Err(StorageError::PointMissing {
            site: site.clone(),
            group: manifest.group.clone(),
            point: manifest.point.clone(),
        })
    }

    pub(super) async fn verify_point(&self, site: &SiteName, manifest: &PointManifest) -> Result<(), StorageError> {
        let remote = self.remote(site)?;
        self.check_there(site, manifest).await?;
        for volume in &manifest.volumes {
            let key = &volume.key;
            crate::request::check_key(key)?;
            let about = About { remote, group: manifest.group.as_str(), key, doing: "reading the recovery point" };
            let folder = format!("{OWN}/points/{}/{}/{key}", manifest.group, manifest.point);
            let differs = |file: String, difference: String| StorageError::Differs {
                site: site.clone(),
                volume: key.clone(),
                file,
                difference,
            };
            let found = match self.scan(about, &folder).await {
                Err(StorageError::VolumeEmpty { .. }) => return Err(differs(String::new(), "is missing".to_owned())),
                Err(StorageError::SourceChanged { file, how, .. }) => return Err(differs(file, how)),
                Err(StorageError::NotAFile { file, kind, .. }) => return Err(differs(file, format!("is {kind}"))),
                found => found?,
            };
            if let Some((file, difference)) = difference(&volume.files, &found.files) {
                return Err(differs(file, difference));
            }
        }
        Ok(())
    }

    pub(super) async fn delete_point(
        &self,
        site: &SiteName,
        group: &GroupName,
        point: &PointId,
    ) -> Result<(), StorageError> {
        let remote = self.remote(site)?;
        let points = self.list_points(site, group).await?;
        if points.last().is_some_and(|newest| newest.point == *point) {
            return Err(StorageError::NewestPoint { site: site.clone(), group: group.clone(), point: point.clone() });
        }
        let about = About { remote, group: group.as_str(), key: "", doing: "deleting the recovery point" };
        let words = [remote.top(), group.as_str(), point.as_str()];
        remote.run(about.doing, Pace::Work, WITHDRAW, &words).await.map_err(|failure| about.error(failure))?;
        Ok(())
    }
}
