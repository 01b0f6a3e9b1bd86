//! An adapter that keeps everything in memory, for fault storms in which thousands of runs are cut off at every step.
//!
//! It passes the same contract as the real ones, so that what the engine survives here is what it must survive there.
//! Faults are injected per site and verb: before the effect, in the middle of it, or after it with the answer lost.

use crate::{
    Access, Divergence, FenceProof, FileFingerprint, PointManifest, PointVolume, StorageAdapter, StorageError,
    StorageStatus, SyncRequest, VolumeRef,
};
use leeward_model::{
    address::VolumeAddress,
    name::{Epoch, GroupName, PointId, SiteName},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A verb of [`StorageAdapter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the method of its name")]
pub enum Verb {
    Status,
    Sync,
    Points,
    Verify,
    Fence,
    Unfence,
    IsFenced,
    Present,
    Withdraw,
    Empty,
    Divergence,
}

/// Where a verb fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing has been done.
    Before,
    /// `sync` has copied and not made the point visible; `present` has presented the first volume only. Other verbs have
    /// no middle: as `Before`.
    During,
    /// Everything has been done, and the answer is lost.
    After,
}

/// A write of a guest that the storage refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRefused {
    /// The site is fenced.
    Fenced,
    /// The site is not reachable, also for its own guests.
    Unreachable,
}

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone)]
struct Live {
    files: Files,
    written: jiff::Timestamp,
}

struct Stored {
    manifest: PointManifest,
    epoch: Epoch,
    volumes: BTreeMap<String, Files>,
}

struct Site {
    reachable: bool,
    fenced: bool,
    free: u64,
    live: BTreeMap<String, Live>,
    points: BTreeMap<(GroupName, PointId), Stored>,
    given_up: Vec<(PointId, String, Files)>,
}

struct State {
    sites: BTreeMap<SiteName, Site>,
    faults: Vec<(SiteName, Verb, Fault, u32)>,
    calls: Vec<(Verb, SiteName)>,
}

/// See the module.
pub struct InMemory {
    state: Mutex<State>,
}

const FREE: u64 = 1 << 40;

impl InMemory {
    /// Empty storage at each of `sites`, reachable and writable.
    pub fn new(sites: impl IntoIterator<Item = SiteName>) -> Self {
        let empty = || Site {
            reachable: true,
            fenced: false,
            free: FREE,
            live: BTreeMap::new(),
            points: BTreeMap::new(),
            given_up: Vec::new(),
        };
        let sites = sites.into_iter().map(|site| (site, empty())).collect();
        Self { state: Mutex::new(State { sites, faults: Vec::new(), calls: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere must not hide behind a second panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next `times` calls of `verb` that concern `site` fail.
    pub fn fail(&self, site: &SiteName, verb: Verb, fault: Fault, times: u32) {
        self.state().faults.push((site.clone(), verb, fault, times));
    }

    /// Takes back all faults that have not happened.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Cuts the site off, or brings it back.
    pub fn set_reachable(&self, site: &SiteName, reachable: bool) {
        if let Some(site) = self.state().sites.get_mut(site) {
            site.reachable = reachable;
        }
    }

    /// Sets the free space at the site.
    pub fn set_free_bytes(&self, site: &SiteName, free: u64) {
        if let Some(site) = self.state().sites.get_mut(site) {
            site.free = free;
        }
    }

    /// Every call so far with the site it was for (`sync`: the target), failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<(Verb, SiteName)> {
        self.state().calls.clone()
    }

    /// Writes as a guest at the site would.
    ///
    /// # Errors
    /// [`WriteRefused`] if the site is fenced or cut off, or not one of this storage's sites.
    pub fn write(
        &self,
        site: &SiteName,
        address: &VolumeAddress,
        file: &str,
        bytes: &[u8],
    ) -> Result<(), WriteRefused> {
        let mut state = self.state();
        let site = state.sites.get_mut(site).ok_or(WriteRefused::Unreachable)?;
        if !site.reachable {
            return Err(WriteRefused::Unreachable);
        }
        if site.fenced {
            return Err(WriteRefused::Fenced);
        }
        let written = jiff::Timestamp::now();
        let live = site.live.entry(address.to_string()).or_insert_with(|| Live { files: Files::new(), written });
        live.files.insert(file.to_owned(), bytes.to_owned());
        live.written = written;
        Ok(())
    }

    /// What a file of a live volume holds; works on a site that is cut off, too.
    #[must_use]
    pub fn read(&self, site: &SiteName, address: &VolumeAddress, file: &str) -> Option<Vec<u8>> {
        self.state().sites.get(site)?.live.get(&address.to_string())?.files.get(file).cloned()
    }

    /// What `present` kept aside before it replaced the file, oldest first.
    #[must_use]
    pub fn kept_aside(&self, site: &SiteName, point: &PointId, key: &str, file: &str) -> Vec<Vec<u8>> {
        let state = self.state();
        let kept = state.sites.get(site).map(|site| site.given_up.as_slice()).unwrap_or_default();
        kept.iter()
            .filter(|(p, k, _)| p == point && k == key)
            .filter_map(|(.., files)| files.get(file).cloned())
            .collect()
    }

    /// Turns over one bit in a file of a point. Returns whether there was such a file with content.
    pub fn damage(&self, manifest: &PointManifest, key: &str, file: &str) -> bool {
        let mut state = self.state();
        let id = (manifest.group.clone(), manifest.point.clone());
        let bytes = state
            .sites
            .get_mut(&manifest.to)
            .and_then(|site| site.points.get_mut(&id))
            .and_then(|stored| stored.volumes.get_mut(key))
            .and_then(|files| files.get_mut(file))
            .and_then(|bytes| bytes.first_mut());
        bytes.map(|byte| *byte ^= 1).is_some()
    }

    /// Notes the call and fires a fault of that kind if one is set.
    fn enter(&self, verb: Verb, site: &SiteName) -> Result<Entered<'_>, StorageError> {
        let mut state = self.state();
        state.calls.push((verb, site.clone()));
        let there = state.sites.get(site).ok_or_else(|| StorageError::UnknownSite { site: site.clone() })?;
        if !there.reachable && verb != Verb::Status {
            return Err(unreachable(site));
        }
        let at = state.faults.iter().position(|(s, v, _, times)| s == site && *v == verb && *times > 0);
        let fault = at.map(|at| {
            state.faults[at].3 -= 1;
            state.faults[at].2
        });
        let entered = Entered { state, verb, site: site.clone(), fault };
        entered.at(Fault::Before)?;
        Ok(entered)
    }
}

/// A verb at work, holding the lock.
struct Entered<'a> {
    state: MutexGuard<'a, State>,
    verb: Verb,
    site: SiteName,
    fault: Option<Fault>,
}

impl Entered<'_> {
    /// Fails if the fault is set for this moment.
    fn at(&self, moment: Fault) -> Result<(), StorageError> {
        let no_middle = !matches!(self.verb, Verb::Sync | Verb::Present);
        let fault = match self.fault {
            Some(Fault::During) if no_middle => Some(Fault::Before),
            fault => fault,
        };
        if fault == Some(moment) {
            return Err(StorageError::Injected { what: self.verb.word(), site: self.site.clone() });
        }
        Ok(())
    }

    fn here(&mut self) -> Result<&mut Site, StorageError> {
        let Self { state, site, .. } = self;
        state.sites.get_mut(site).ok_or_else(|| StorageError::UnknownSite { site: site.clone() })
    }
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Sync => "sync",
            Self::Points => "points",
            Self::Verify => "verify",
            Self::Fence => "fence",
            Self::Unfence => "unfence",
            Self::IsFenced => "is_fenced",
            Self::Present => "present",
            Self::Withdraw => "withdraw",
            Self::Empty => "empty",
            Self::Divergence => "divergence",
        }
    }
}

fn unreachable(site: &SiteName) -> StorageError {
    StorageError::Unreachable { site: site.clone(), doing: "connecting", reason: "cut off".to_owned() }
}

fn fingerprint(name: &str, bytes: &[u8]) -> FileFingerprint {
    FileFingerprint {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        fingerprint: hex::encode(Sha256::digest(bytes)),
    }
}

fn length(files: &Files) -> u64 {
    files.values().map(|bytes| bytes.len() as u64).sum()
}

/// The point's stored volume, or why it cannot be used.
fn stored<'a>(site: &'a Site, name: &SiteName, manifest: &PointManifest) -> Result<&'a Stored, StorageError> {
    site.points.get(&(manifest.group.clone(), manifest.point.clone())).ok_or_else(|| StorageError::PointMissing {
        site: name.clone(),
        group: manifest.group.clone(),
        point: manifest.point.clone(),
    })
}

/// The files of one volume of the point, checked against the manifest.
fn checked<'a>(
    found: &'a Stored,
    site: &SiteName,
    manifest: &PointManifest,
    key: &str,
) -> Result<&'a Files, StorageError> {
    let not_there = || StorageError::NotInPoint { point: manifest.point.clone(), volume: key.to_owned() };
    let (wanted, files) = (manifest.volume(key).ok_or_else(not_there)?, found.volumes.get(key).ok_or_else(not_there)?);
    for file in &wanted.files {
        let is = files.get(&file.name).map(|bytes| fingerprint(&file.name, bytes));
        if is.as_ref() != Some(file) {
            return Err(StorageError::Differs {
                site: site.clone(),
                volume: key.to_owned(),
                file: file.name.clone(),
                difference: format!("has not the content {}", file.fingerprint),
            });
        }
    }
    Ok(files)
}

mod verbs;
