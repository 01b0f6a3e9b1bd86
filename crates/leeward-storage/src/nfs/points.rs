//! The points at a site: listing, verifying, withdrawing.

use super::{
    NfsAdapter,
    mover::{Subject, ask},
    place::About,
    sync::Moment,
};
use crate::{FileFingerprint, PointManifest, PointVolume, StorageError};
use leeward_model::{
    mover,
    name::{Epoch, GroupName, PointId, SiteName},
};

impl NfsAdapter {
    pub(super) async fn list_points(
        &self,
        site: &SiteName,
        group: &GroupName,
    ) -> Result<Vec<PointManifest>, StorageError> {
        let remote = self.remote(site)?;
        let about = About { remote, group: group.as_str(), key: "", doing: "listing recovery points" };
        let request = mover::OfGroup { group: group.clone() };
        let found: Vec<mover::Point> =
            ask(about, "points", &request).await.map_err(|undone| undone.of_group(about.remote.site, about.doing))?;
        let mut found = found.into_iter().map(|point| manifest(site, point)).collect::<Result<Vec<_>, _>>()?;
        found.sort_by(|a, b| a.age_key().cmp(&b.age_key()));
        Ok(found)
    }

    pub(super) async fn verify_point(&self, site: &SiteName, wanted: &PointManifest) -> Result<(), StorageError> {
        let about = About {
            remote: self.remote(site)?,
            group: wanted.group.as_str(),
            key: "",
            doing: "reading the recovery point",
        };
        let request = mover::OfPoint { group: wanted.group.clone(), point: wanted.point.clone() };
        let found: mover::Point = ask(about, "verify", &request)
            .await
            .map_err(|undone| of_point(about, site, &wanted.group, &wanted.point).undone(undone))?;
        let found = manifest(site, found)?;
        for volume in &wanted.volumes {
            let there = found.volume(&volume.key).map(|there| there.files.as_slice()).unwrap_or_default();
            if let Some((file, difference)) = difference(&volume.files, there) {
                return Err(StorageError::Differs { site: site.clone(), volume: volume.key.clone(), file, difference });
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
        let request = mover::OfPoint { group: group.clone(), point: point.clone() };
        let gone: Result<(), _> = ask(about, "withdraw", &request).await;
        gone.map_err(|undone| of_point(about, site, group, point).undone(undone))
    }
}

/// A point's own business at the site that has it.
pub(super) fn of_point<'a>(
    about: About<'a>,
    at: &'a SiteName,
    group: &'a GroupName,
    point: &'a PointId,
) -> Subject<'a> {
    // No verb but `sync` compares epochs.
    Subject { about, at, group, point, epoch: Epoch(0), folders: &[] }
}

/// What the mover at `to` tells of a point.
///
/// # Errors
/// [`StorageError::Manifest`] if a volume does not say of which moment it is: Leeward did not make the point.
pub(super) fn manifest(to: &SiteName, point: mover::Point) -> Result<PointManifest, StorageError> {
    let unread = |source| StorageError::Manifest { site: to.clone(), point: point.point.clone(), source };
    let mut volumes = Vec::new();
    for volume in point.volumes {
        let Moment { at, consistency } = serde_json::from_value(volume.about).map_err(unread)?;
        let files = volume.files.into_iter().map(Into::into).collect();
        volumes.push(PointVolume { key: volume.key, at, consistency, files });
    }
    Ok(PointManifest { group: point.group, point: point.point, from: point.from, to: to.clone(), volumes })
}

/// The first file that is not what it must be, and how.
fn difference(wanted: &[FileFingerprint], found: &[FileFingerprint]) -> Option<(String, String)> {
    for file in wanted {
        match found.iter().find(|found| found.name == file.name) {
            None => return Some((file.name.clone(), "is missing".to_owned())),
            Some(found) if found.bytes != file.bytes => {
                return Some((file.name.clone(), format!("has {} bytes, not {}", found.bytes, file.bytes)));
            }
            Some(found) if found.fingerprint != file.fingerprint => {
                let difference = format!("has fingerprint {}, not {}", found.fingerprint, file.fingerprint);
                return Some((file.name.clone(), difference));
            }
            Some(_) => {}
        }
    }
    let strange = found.iter().find(|found| !wanted.iter().any(|file| file.name == found.name))?;
    Some((strange.name.clone(), "is not of this point".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named() {
        let file = |name: &str, bytes, fingerprint: &str| FileFingerprint {
            name: name.into(),
            bytes,
            fingerprint: fingerprint.into(),
        };
        let wanted = [file("a", 1, "x"), file("b", 2, "y")];
        assert_eq!(difference(&wanted, &wanted), None);
        let cases: [(&[FileFingerprint], &str); 4] = [
            (&[file("a", 1, "x")], "b"),
            (&[file("a", 1, "z"), file("b", 2, "y")], "a"),
            (&[file("a", 1, "x"), file("b", 3, "y")], "b"),
            (&[file("a", 1, "x"), file("b", 2, "y"), file("c", 0, "")], "c"),
        ];
        for (found, named) in cases {
            assert_eq!(difference(&wanted, found).unwrap().0, named);
        }
    }
}
