//! Making a recovery point at the target.
//!
//! look (is it there already? what is the base?) → scan the source → prepare `<point>.partial` from clones of the base →
//! push what is different → scan the result and compare → seal. Until the last step nothing that is called a point changes,
//! and every step may be cut off and repeated.

use super::{
    NfsAdapter,
    place::{About, OWN, is_full, place},
    remote::{Failure, Pace, Remote},
    scan::{Listing, Scan, Unfit, difference},
};
use crate::{PointManifest, PointVolume, StorageError, SyncRequest, SyncVolume};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

const SCAN: &str = include_str!("scripts/scan.sh");
const LOOK: &str = include_str!("scripts/look.sh");
const PREPARE: &str = include_str!("scripts/prepare.sh");
const PUSH: &str = include_str!("scripts/push.sh");
const SEAL: &str = include_str!("scripts/seal.sh");

/// Volumes read or sent at the same time: one reads while another waits for the network.
const AT_ONCE: usize = 2;
/// How often a volume is sent before a result that still differs is an error. The second time heals a base that has rotted.
const ATTEMPTS: u32 = 2;

/// What is at the target before the work starts.
struct Seen {
    free: u64,
    point: Option<PointManifest>,
    base: Option<PointManifest>,
}

/// A volume that was read at the source.
struct Read<'a> {
    volume: &'a SyncVolume,
    /// Relative to the export.
    folder: String,
    scan: Scan,
    /// Its content is the base's, so that it need not be sent.
    in_base: bool,
}

impl NfsAdapter {
    pub(super) async fn make_point(&self, request: &SyncRequest) -> Result<PointManifest, StorageError> {
        request.check()?;
        let (from, to) = (self.remote(&request.from)?, self.remote(&request.to)?);
        let sources = (request.volumes.iter())
            .map(|volume| Ok((volume, place(from, &volume.key, &volume.source)?)))
            .collect::<Result<Vec<_>, StorageError>>()?;
        let seeds = (request.volumes.iter())
            .map(|volume| volume.seed.as_ref().map_or(Ok(String::new()), |seed| place(to, &volume.key, seed)))
            .collect::<Result<Vec<_>, StorageError>>()?;

        let seen = self.look(request, to).await?;
        if let Some(found) = seen.point {
            request.check_same(&found)?;
            return Ok(found);
        }
        let mut volumes = carried(request, seen.base.as_ref())?;
        let mut reading = Vec::new();
        for (volume, folder) in sources {
            reading.push(self.read_source(request, from, volume, folder, seen.base.as_ref()));
        }
        let read: Vec<Read<'_>> = stream::iter(reading).buffered(AT_ONCE).try_collect().await?;

        let owner = owner();
        let base = seen.base.as_ref().map(|base| base.point.as_str()).unwrap_or_default();
        let (group, point) = (request.group.as_str(), request.point.as_str());
        let mut words = vec![to.top(), group, point, base, owner.as_str()];
        let allocated: Vec<String> = read.iter().map(|read| read.scan.listing.allocated().to_string()).collect();
        for ((read, allocated), seed) in read.iter().zip(&allocated).zip(&seeds) {
            let how = if read.in_base { "base" } else { "send" };
            words.extend([read.volume.key.as_str(), how, allocated, seed]);
        }
        for key in &request.carried {
            words.extend([key.as_str(), "base", "0", ""]);
        }
        let about = About { remote: to, group: request.group.as_str(), key: "", doing: "preparing the recovery point" };
        match to.run(about.doing, Pace::Work, PREPARE, &words).await {
            Ok(_) => {}
            // Another process has just sealed it.
            Err(Failure::Said(words)) if words.first().is_some_and(|word| word == "exists") => {
                return self.sealed_meanwhile(request, to).await;
            }
            Err(failure) => return Err(about.error(failure)),
        }

        let mut bringing = Vec::new();
        for read in &read {
            bringing.push(self.bring(request, from, to, read));
        }
        stream::iter(bringing).buffered(AT_ONCE).try_collect::<Vec<()>>().await?;
        for volume in &volumes {
            let found = self.scan_point(request, to, &volume.key).await?;
            if let Some((file, difference)) = difference(&volume.files, &found.files) {
                let site = to.site.clone();
                return Err(StorageError::Differs { site, volume: volume.key.clone(), file, difference });
            }
        }

        volumes.extend(read.into_iter().map(|read| PointVolume {
            key: read.volume.key.clone(),
            at: read.volume.at,
            consistency: read.volume.consistency,
            files: read.scan.files,
        }));
        volumes.sort_by(|a, b| a.key.cmp(&b.key));
        let manifest = PointManifest {
            group: request.group.clone(),
            point: request.point.clone(),
            from: request.from.clone(),
            to: request.to.clone(),
            volumes,
        };
        let text = serde_json::to_string_pretty(&manifest).map_err(|source| StorageError::Manifest {
            site: request.to.clone(),
            point: request.point.to_string(),
            source,
        })?;
        let about = About { doing: "sealing the recovery point", ..about };
        match to.run(about.doing, Pace::Work, SEAL, &[to.top(), group, point, &owner, &text]).await {
            Ok(_) => Ok(manifest),
            Err(Failure::Said(words)) if words.first().is_some_and(|word| word == "exists") => {
                self.sealed_meanwhile(request, to).await
            }
            Err(failure) => Err(about.error(failure)),
        }
    }

    async fn look(&self, request: &SyncRequest, to: Remote<'_>) -> Result<Seen, StorageError> {
        let base = request.base.as_ref().map(|base| base.as_str()).unwrap_or_default();
        let about =
            About { remote: to, group: request.group.as_str(), key: "", doing: "looking for the recovery point" };
        let words = [to.top(), request.group.as_str(), request.point.as_str(), base];
        let output = to.run(about.doing, Pace::Work, LOOK, &words).await.map_err(|failure| about.error(failure))?;
        let parts: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
        let manifest = |at: usize, point: &str| match parts.get(at) {
            None | Some([]) => Ok(None),
            Some(text) => serde_json::from_slice(text).map(Some).map_err(|source| StorageError::Manifest {
                site: to.site.clone(),
                point: point.to_owned(),
                source,
            }),
        };
        let free = parts.first().and_then(|free| std::str::from_utf8(free).ok()?.trim().parse().ok());
        Ok(Seen { free: free.unwrap_or(0), point: manifest(1, request.point.as_str())?, base: manifest(2, base)? })
    }

    async fn sealed_meanwhile(&self, request: &SyncRequest, to: Remote<'_>) -> Result<PointManifest, StorageError> {
        let busy = || StorageError::Busy { site: to.site.clone(), group: request.group.to_string() };
        let found = self.look(request, to).await?.point.ok_or_else(busy)?;
        request.check_same(&found)?;
        Ok(found)
    }

    async fn read_source<'a>(
        &self,
        request: &'a SyncRequest,
        from: Remote<'a>,
        volume: &'a SyncVolume,
        folder: String,
        base: Option<&PointManifest>,
    ) -> Result<Read<'a>, StorageError> {
        let about =
            About { remote: from, group: request.group.as_str(), key: &volume.key, doing: "reading the volume" };
        let scan = self.scan(about, &folder).await?;
        if scan.files.is_empty() {
            return Err(StorageError::VolumeEmpty {
                site: from.site.clone(),
                volume: volume.key.clone(),
                path: format!("{}/{folder}", from.top()),
                reason: "holds no file".to_owned(),
            });
        }
        let in_base = base.and_then(|base| base.volume(&volume.key)).is_some_and(|base| base.files == scan.files);
        Ok(Read { volume, folder, scan, in_base })
    }

    /// A folder's content; changes while it was read are an error.
    pub(super) async fn scan(&self, about: About<'_>, folder: &str) -> Result<Scan, StorageError> {
        let words = [about.remote.top(), folder];
        let output = about.remote.run(about.doing, Pace::Work, SCAN, &words).await;
        Scan::parse(&output.map_err(|failure| about.error(failure))?).map_err(|unfit| unfit_error(about, unfit))
    }

    async fn scan_point(&self, request: &SyncRequest, to: Remote<'_>, key: &str) -> Result<Scan, StorageError> {
        let folder = format!("{OWN}/points/{}/{}.partial/{key}", request.group, request.point);
        let about = About { remote: to, group: request.group.as_str(), key, doing: "reading back what was sent" };
        match self.scan(about, &folder).await {
            // Nobody but another sync of the same point writes there, or renames it.
            Err(StorageError::VolumeEmpty { site, .. } | StorageError::SourceChanged { site, .. }) => {
                Err(StorageError::Busy { site, group: request.group.to_string() })
            }
            found => found,
        }
    }

    /// Makes one volume's folder in the partial point what it is at the source, and proves it.
    async fn bring(
        &self,
        request: &SyncRequest,
        from: Remote<'_>,
        to: Remote<'_>,
        read: &Read<'_>,
    ) -> Result<(), StorageError> {
        let key = &read.volume.key;
        // What was cloned may be right already: from the base, or at the same site from the source itself.
        let look_first = read.in_base || request.from == request.to;
        let mut last = String::new();
        for attempt in 0..=ATTEMPTS {
            if attempt > 0 || !look_first {
                self.push(request, from, to, read).await?;
            }
            let found = self.scan_point(request, to, key).await?;
            match difference(&read.scan.files, &found.files) {
                None => return Ok(()),
                Some((file, difference)) => last = format!("{file:?} at site {} {difference}", to.site),
            }
            tracing::debug!(volume = %key, difference = %last, "sending");
        }
        Err(StorageError::Transfer { from: from.site.clone(), to: to.site.clone(), volume: key.clone(), reason: last })
    }

    async fn push(
        &self,
        request: &SyncRequest,
        from: Remote<'_>,
        to: Remote<'_>,
        read: &Read<'_>,
    ) -> Result<(), StorageError> {
        let key = &read.volume.key;
        let about = About { remote: from, group: request.group.as_str(), key, doing: "sending the volume" };
        let url = format!(
            "{}/{OWN}/points/{}/{}.partial/{key}/",
            to.nfs.rsync.trim_end_matches('/'),
            request.group,
            request.point
        );
        // A volume's name can be as long as a file's name; a lock is named by its hash.
        let lock = hex::encode(&Sha256::digest(url.as_bytes())[..8]);
        let lock = format!("send-{lock}");
        let (connect, stall) = (self.timeouts().connect_seconds.to_string(), self.timeouts().stall_seconds.to_string());
        let words = [from.top(), &read.folder, &lock, &url, &connect, &stall];
        let changed = |file: String, how: String| StorageError::SourceChanged {
            site: from.site.clone(),
            volume: key.clone(),
            file,
            how,
        };
        match from.run(about.doing, Pace::Work, PUSH, &words).await {
            Ok(output) => {
                let later = Listing::parse(&output).map_err(|unfit| unfit_error(about, unfit))?;
                match read.scan.listing.changed_until(&later) {
                    Some((file, how)) => Err(changed(file, how)),
                    None => Ok(()),
                }
            }
            Err(Failure::Died { code: Some(224), talk }) => Err(changed(talk, "it vanished".to_owned())),
            Err(Failure::Died { code: Some(201..), talk }) if is_full(&talk) => {
                let free = self.look(request, to).await.map_or(0, |seen| seen.free);
                let needed = read.scan.listing.allocated();
                Err(StorageError::Full { site: to.site.clone(), doing: "receiving the volume", needed, free })
            }
            Err(Failure::Died { code: code @ (None | Some(201..)), talk }) => {
                let (from, to) = (from.site.clone(), to.site.clone());
                let reason = format!("{}: {talk}", rsync_meaning(code));
                Err(StorageError::Transfer { from, to, volume: key.clone(), reason })
            }
            Err(failure) => Err(about.error(failure)),
        }
    }
}

/// The manifest entries of the carried volumes.
fn carried(request: &SyncRequest, base: Option<&PointManifest>) -> Result<Vec<PointVolume>, StorageError> {
    let find = |key: &String| {
        base.and_then(|base| base.volume(key)).cloned().ok_or_else(|| StorageError::CarriedMissing {
            site: request.to.clone(),
            volume: key.clone(),
            base: request.base.as_ref().map_or_else(|| "no base".to_owned(), ToString::to_string),
        })
    };
    request.carried.iter().map(find).collect()
}

/// A word that no other call has, in this process or another.
fn owner() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{call}", jiff::Timestamp::now().as_nanosecond(), std::process::id())
}

pub(super) fn unfit_error(about: About<'_>, unfit: Unfit) -> StorageError {
    let (site, volume) = (about.remote.site.clone(), about.key.to_owned());
    match unfit {
        Unfit::NotAFile { file, kind } => StorageError::NotAFile { site, volume, file, kind },
        Unfit::Changed { file, how } => StorageError::SourceChanged { site, volume, file, how },
        Unfit::Garbled => {
            StorageError::Remote { site, doing: about.doing, reason: "its answer is not understood".to_owned() }
        }
    }
}

/// What `push.sh`'s exit code says about rsync.
fn rsync_meaning(code: Option<i32>) -> String {
    match code {
        Some(205) => "the receiver refused it".to_owned(),
        Some(210 | 235) => "no connection to the receiver".to_owned(),
        Some(212) => "the connection broke".to_owned(),
        Some(230) => "the receiver fell silent".to_owned(),
        Some(250) => "there is no rsync at the sender".to_owned(),
        Some(251) | None => "rsync was killed".to_owned(),
        Some(code) => format!("rsync ended with {}", code - 200),
    }
}
