//! Putting a point's files where the volumes' addresses say, and telling how far live volumes are from a point.

use super::{
    NfsAdapter,
    fence::export_url,
    mover::{Subject, Undone, ask},
    place::{About, place},
    remote::Pace,
};
use crate::{Divergence, PointManifest, PointVolume, StorageError, VolumeRef};
use leeward_model::{
    mover::{self, RefusalKind},
    name::{Epoch, SiteName},
};

const EMPTY: &str = include_str!("scripts/empty.sh");

fn in_point<'a>(manifest: &'a PointManifest, volume: &VolumeRef) -> Result<&'a PointVolume, StorageError> {
    crate::request::check_key(&volume.key)?;
    let missing = || StorageError::NotInPoint { point: manifest.point.clone(), volume: volume.key.clone() };
    manifest.volume(&volume.key).ok_or_else(missing)
}

impl NfsAdapter {
    pub(super) async fn present_point(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<(), StorageError> {
        let remote = self.remote(site)?;
        // All addresses are checked before the first volume is touched.
        let mut placed = Vec::new();
        for volume in volumes {
            placed.push((in_point(manifest, volume)?, place(remote, &volume.key, &volume.address)?));
        }
        for (volume, folder) in placed {
            let folders = [(volume.key.clone(), folder.clone())];
            let about = About {
                remote,
                group: manifest.group.as_str(),
                key: &volume.key,
                doing: "presenting the recovery point",
            };
            let subject = subject(about, site, manifest, &folders);
            let request = mover::Present {
                group: manifest.group.clone(),
                point: manifest.point.clone(),
                key: volume.key.clone(),
                url: Some(format!("{}/{folder}", export_url(remote))),
                folder,
                files: volume.files.iter().map(Into::into).collect(),
            };
            let presented: Result<(), _> = ask(about, "present", &request).await;
            presented.map_err(|undone| subject.undone(undone))?;
        }
        Ok(())
    }

    pub(super) async fn find_empty(&self, site: &SiteName, volumes: &[VolumeRef]) -> Result<Vec<String>, StorageError> {
        let remote = self.remote(site)?;
        let placed: Vec<(&str, String)> = volumes
            .iter()
            .filter_map(|volume| Some((volume.key.as_str(), place(remote, &volume.key, &volume.address).ok()?)))
            .collect();
        if placed.is_empty() {
            return Ok(Vec::new());
        }
        let about = About { remote, group: "", key: "", doing: "looking for volumes without data" };
        let mut words = vec![remote.top()];
        words.extend(placed.iter().map(|(_, folder)| folder.as_str()));
        let output =
            remote.run(about.doing, Pace::Work, EMPTY, &words).await.map_err(|failure| about.error(failure))?;
        let marks = output.split(|&byte| byte == 0);
        Ok(placed.iter().zip(marks).filter(|(_, mark)| mark == b"-").map(|((key, _), _)| (*key).to_owned()).collect())
    }

    pub(super) async fn measure_divergence(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Divergence>, StorageError> {
        let remote = self.remote(site)?;
        let mut folders = Vec::new();
        for volume in volumes {
            in_point(manifest, volume)?;
            folders.push((volume.key.clone(), place(remote, &volume.key, &volume.address)?));
        }
        let about = About { remote, group: manifest.group.as_str(), key: "", doing: "comparing the volumes" };
        let request = mover::Compare {
            group: manifest.group.clone(),
            point: manifest.point.clone(),
            at: manifest.to.clone(),
            volumes: folders.clone(),
        };
        let moved: Vec<mover::Moved> = match ask(about, "compare", &request).await {
            Ok(moved) => moved,
            Err(Undone::Refused(refusal)) if refusal.kind == RefusalKind::Link => {
                tracing::warn!(point = %manifest.point, reason = %refusal.text, "nothing to compare with");
                return volumes.iter().map(|volume| Ok(wholly(in_point(manifest, volume)?))).collect();
            }
            Err(undone) => return Err(subject(about, &manifest.to, manifest, &folders).undone(undone)),
        };
        if !moved.iter().map(|moved| &moved.key).eq(volumes.iter().map(|volume| &volume.key)) {
            let reason = "the mover's answer is about other volumes".to_owned();
            return Err(StorageError::Remote { site: site.clone(), doing: about.doing, reason });
        }
        Ok(moved.into_iter().map(divergence).collect())
    }
}

fn subject<'a>(
    about: About<'a>,
    at: &'a SiteName,
    manifest: &'a PointManifest,
    folders: &'a [(String, String)],
) -> Subject<'a> {
    Subject { about, at, group: &manifest.group, point: &manifest.point, epoch: Epoch(0), folders }
}

fn divergence(moved: mover::Moved) -> Divergence {
    let last_written = moved.last_written.and_then(|second| jiff::Timestamp::from_second(second).ok());
    Divergence { key: moved.key, bytes_changed: moved.changed_bytes, last_written }
}

/// What is said of a volume that cannot be compared: all of it may be different.
fn wholly(volume: &PointVolume) -> Divergence {
    let bytes = volume.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
    Divergence { key: volume.key.clone(), bytes_changed: bytes.max(1), last_written: None }
}
