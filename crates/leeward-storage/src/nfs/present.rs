//! Putting a point's files where the volumes' addresses say, and telling how far live volumes are from a point.

use super::{
    NfsAdapter,
    place::{About, OWN, place},
    remote::{Failure, Pace, Remote},
    scan::{Listing, Scan},
};
use crate::{Divergence, PointManifest, PointVolume, StorageError, VolumeRef};
use leeward_model::name::SiteName;

const PRESENT: &str = include_str!("scripts/present.sh");
const COMPARE: &str = include_str!("scripts/compare.sh");
const EMPTY: &str = include_str!("scripts/empty.sh");
const MEASURE: &str = include_str!("scripts/measure.sh");

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
        self.check_there(site, manifest).await?;
        for (volume, folder) in placed {
            let about = About {
                remote,
                group: manifest.group.as_str(),
                key: &volume.key,
                doing: "presenting the recovery point",
            };
            let (group, point) = (manifest.group.as_str(), manifest.point.as_str());
            let url = format!("{}/{folder}", super::fence::export_url(remote));
            let mut words = vec![remote.top(), &folder, group, point, volume.key.as_str(), &url];
            words.extend(volume.files.iter().flat_map(|file| [file.name.as_str(), file.sha256.as_str()]));
            match remote.run(about.doing, Pace::Work, PRESENT, &words).await {
                Ok(_) => {}
                Err(Failure::Said(words)) if words.first().is_some_and(|word| word == "not-in-point") => {
                    let (site, volume) = (site.clone(), volume.key.clone());
                    let difference = "is missing from the recovery point".to_owned();
                    return Err(StorageError::Differs { site, volume, file: String::new(), difference });
                }
                Err(Failure::Said(words)) if words.first().is_some_and(|word| word == "no-point") => {
                    return Err(StorageError::PointMissing {
                        site: site.clone(),
                        group: manifest.group.clone(),
                        point: manifest.point.clone(),
                    });
                }
                Err(failure) => return Err(about.error(failure)),
            }
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
        let mut found = Vec::new();
        for volume in volumes {
            let wanted = in_point(manifest, volume)?;
            let folder = place(remote, &volume.key, &volume.address)?;
            let about =
                About { remote, group: manifest.group.as_str(), key: &volume.key, doing: "comparing the volume" };
            let scan = self.scan(about, &folder).await?;
            let mut bytes_changed = 0;
            if super::scan::difference(&wanted.files, &scan.files).is_some() {
                let whole = whole_files(wanted, &scan);
                // What is finer than whole files is worth a try, and only that.
                let finer = match &manifest.to == site {
                    true => self.compare(about, manifest, wanted, &scan, &folder).await,
                    false => self.literal(about, manifest, &folder).await,
                };
                // They are known to differ, so never 0.
                bytes_changed = finer.unwrap_or(whole).clamp(1, whole.max(1));
            }
            let last_written = scan.listing.last_written();
            found.push(Divergence { key: volume.key.clone(), bytes_changed, last_written });
        }
        Ok(found)
    }

    /// Bytes that differ from the point's own files, which are at this site.
    async fn compare(
        &self,
        about: About<'_>,
        manifest: &PointManifest,
        wanted: &PointVolume,
        scan: &Scan,
        folder: &str,
    ) -> Option<u64> {
        let (group, point) = (manifest.group.as_str(), manifest.point.as_str());
        let mut words = vec![about.remote.top(), folder, group, point, wanted.key.as_str()];
        words.extend(wanted.files.iter().map(|file| file.name.as_str()));
        let output = about.remote.run(about.doing, Pace::Work, COMPARE, &words).await.ok()?;
        let counts = output.split(|&byte| byte == 0).map(|count| std::str::from_utf8(count).ok()?.trim().parse().ok());
        let mut sum: u64 = 0;
        for (file, count) in wanted.files.iter().zip(counts) {
            sum += count.unwrap_or(file.bytes);
        }
        Some(sum + strangers(wanted, &scan.listing))
    }

    /// Bytes that would have to be sent to make the point's files, at the other site, what the live ones are.
    async fn literal(&self, about: About<'_>, manifest: &PointManifest, folder: &str) -> Option<u64> {
        let to: Remote<'_> = self.remote(&manifest.to).ok()?;
        let url = format!(
            "{}/{OWN}/points/{}/{}/{}/",
            to.nfs.rsync.trim_end_matches('/'),
            manifest.group,
            manifest.point,
            about.key
        );
        let (connect, stall) = (self.timeouts().connect_seconds.to_string(), self.timeouts().stall_seconds.to_string());
        let words = [about.remote.top(), folder, &url, &connect, &stall];
        let output = about.remote.run(about.doing, Pace::Work, MEASURE, &words).await.ok()?;
        let text = String::from_utf8(output).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("Literal data: "))?;
        count.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok()
    }
}

/// The length of every file that is not the same.
fn whole_files(wanted: &PointVolume, scan: &Scan) -> u64 {
    let differing = wanted.files.iter().map(|file| match scan.files.iter().find(|found| found.name == file.name) {
        Some(found) if found == file => 0,
        Some(found) => found.bytes.max(file.bytes).max(1),
        None => file.bytes.max(1),
    });
    differing.sum::<u64>() + strangers(wanted, &scan.listing)
}

/// The length of every file that the point does not have.
fn strangers(wanted: &PointVolume, listing: &Listing) -> u64 {
    let strange = listing.0.iter().filter(|entry| !wanted.files.iter().any(|file| file.name == entry.name));
    strange.map(|entry| entry.bytes.max(1)).sum()
}
