//! What can go wrong with storage, in words that name the site, the volume, the file, and what to do next.

use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
use std::borrow::Cow;

/// An operation of a [`crate::StorageAdapter`] that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The site has no entry in the storage configuration.
    #[error("site {site} has no storage configured; add it under `sites` in the storage configuration [LW-0301]")]
    UnknownSite {
        /// The site asked for.
        site: SiteName,
    },
    /// The site did not answer in time.
    #[error(
        "storage of site {site} does not answer ({doing}: {reason}); if the site is lost, go on without it, otherwise check its control command [LW-0302]"
    )]
    Unreachable {
        /// The site.
        site: SiteName,
        /// What was being done.
        doing: &'static str,
        /// What was seen instead of an answer.
        reason: String,
    },
    /// The site answered, and what it was told to do failed in a way that has no error of its own.
    #[error("at the storage of site {site}, {doing} failed: {reason} [LW-0303]")]
    Remote {
        /// The site.
        site: SiteName,
        /// What was being done.
        doing: &'static str,
        /// Exit status and the last words on stderr.
        reason: String,
    },
    /// The volume's address is not on this site's storage.
    #[error(
        "volume {volume} at {address} is not on the storage of site {site} ({expected}); check the site mapping and the storage configuration [LW-0304]"
    )]
    ForeignAddress {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// The address it has.
        address: String,
        /// What the site's addresses look like.
        expected: String,
    },
    /// The volume's folder leads somewhere else, or its name could.
    #[error(
        "volume {volume} at site {site}: {path:?} is not a plain folder inside the export ({reason}); nothing was touched, repair the address or the folder [LW-0305]"
    )]
    UnsafePath {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// The folder.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder is not there or holds no file: replicating it would make an empty disk.
    #[error(
        "volume {volume} at site {site} has no data: {path:?} {reason}; start the machine once or take the volume out of the group [LW-0306]"
    )]
    VolumeEmpty {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// The folder.
        path: String,
        /// `does not exist` or `holds no file`.
        reason: String,
    },
    /// The volume holds something else than files and folders.
    #[error(
        "volume {volume} at site {site} holds {file:?}, which is {kind}; only regular files can be replicated, remove it or take the volume out of the group [LW-0307]"
    )]
    NotAFile {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// Path inside the volume.
        file: String,
        /// What it is.
        kind: String,
    },
    /// Somebody wrote to the source while it was read.
    #[error(
        "volume {volume} at site {site}: {file:?} changed while it was read ({how}); stop its writer, then repeat [LW-0308]"
    )]
    SourceChanged {
        /// The site that was read.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// Path inside the volume.
        file: String,
        /// What changed.
        how: String,
    },
    /// There is not enough space at the site.
    #[error(
        "storage of site {site} is full ({doing}: {}); withdraw old points or enlarge it, then repeat [LW-0309]",
        space(*needed, *free)
    )]
    Full {
        /// The site.
        site: SiteName,
        /// What was being done.
        doing: &'static str,
        /// Bytes needed, as far as known before it was tried; 0 if it was found in the middle of a copy.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The data did not arrive.
    #[error(
        "sending recovery point {point} from site {from} to site {to} failed: {reason}; the last point is whole, repeat when the link is back [LW-0310]"
    )]
    Transfer {
        /// The site that sends.
        from: SiteName,
        /// The site that receives.
        to: SiteName,
        /// The point.
        point: PointId,
        /// What the mover said.
        reason: String,
    },
    /// A file does not have the fingerprint it must have.
    #[error(
        "volume {volume} at site {site}: {file:?} {difference}; do not start a machine from it: repeat the sync, or use another point [LW-0311]"
    )]
    Differs {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// Path inside the volume.
        file: String,
        /// What was expected and what was found.
        difference: String,
    },
    /// There is no such point at the site.
    #[error(
        "site {site} has no recovery point {point} of group {group}; list the points and choose one that is there [LW-0312]"
    )]
    PointMissing {
        /// The site.
        site: SiteName,
        /// The group.
        group: GroupName,
        /// The point.
        point: PointId,
    },
    /// The newest point is never deleted.
    #[error(
        "recovery point {point} is the newest of group {group} at site {site} and is not deleted; replicate a newer one first [LW-0313]"
    )]
    NewestPoint {
        /// The site.
        site: SiteName,
        /// The group.
        group: GroupName,
        /// The point.
        point: PointId,
    },
    /// A volume that was to be taken over from the base is not in it.
    #[error(
        "volume {volume} was to be carried over from an earlier recovery point, but {base} at site {site} does not hold it; replicate the volume itself [LW-0314]"
    )]
    CarriedMissing {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// The base, as text; `no base` if none was named.
        base: String,
    },
    /// The manifest does not hold the volume.
    #[error(
        "recovery point {point} does not hold volume {volume}; replicate the group again, then use the new point [LW-0315]"
    )]
    NotInPoint {
        /// The point.
        point: PointId,
        /// PersistentVolume.
        volume: String,
    },
    /// A point of this name is there with other content.
    #[error("recovery point {point} at site {site} already exists and {difference}; use a new name [LW-0316]")]
    PointExists {
        /// The site.
        site: SiteName,
        /// The point.
        point: PointId,
        /// What is different.
        difference: String,
    },
    /// It could not be shown that writes are refused.
    #[error(
        "site {site} is not proven fenced after {seconds} s: {last}; do not start machines at the other site, fence it by hand or repeat [LW-0317]"
    )]
    FenceUnproven {
        /// The site.
        site: SiteName,
        /// How long it was tried.
        seconds: u64,
        /// The last answer to the probe.
        last: String,
    },
    /// It could not be shown that writes are accepted.
    #[error(
        "site {site} still refuses writes after {seconds} s: {last}; check the NFS server's configuration and log [LW-0318]"
    )]
    UnfenceUnproven {
        /// The site.
        site: SiteName,
        /// How long it was tried.
        seconds: u64,
        /// The last answer to the probe.
        last: String,
    },
    /// The NFS server's configuration could not be edited, or the server not told.
    #[error("the NFS server at site {site} cannot be controlled: {reason} [LW-0319]")]
    ServerConfig {
        /// The site.
        site: SiteName,
        /// Which file is not as it must be, and what to do.
        reason: String,
    },
    /// Another operation on the same group is still under way there.
    #[error(
        "another operation on group {group} is under way at site {site}; wait until it has ended, then repeat [LW-0320]"
    )]
    Busy {
        /// The site.
        site: SiteName,
        /// The group, or what else is locked.
        group: String,
    },
    /// A key that cannot be the name of a volume, or is named twice.
    #[error("{key:?} {reason}; the request was not carried out [LW-0321]")]
    BadRequest {
        /// The key, or what else is wrong.
        key: String,
        /// Why it is refused.
        reason: Cow<'static, str>,
    },
    /// A point that does not say of which moment its volumes are.
    #[error(
        "recovery point {point} at site {site} does not say of which moment its volumes are; Leeward did not make it: withdraw it with leeward-mover [LW-0322]"
    )]
    Manifest {
        /// The site.
        site: SiteName,
        /// The point.
        point: PointId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The probe that tells whether writes are refused failed for another reason.
    #[error(
        "whether site {site} is fenced cannot be told: the probe failed otherwise ({last}); check that the NFS server runs and that root may write to the export [LW-0323]"
    )]
    ProbeInconclusive {
        /// The site.
        site: SiteName,
        /// What the probe said.
        last: String,
    },
    /// The storage configuration cannot be used.
    #[error("{field} in the storage configuration cannot be used: {reason} [LW-0324]")]
    InvalidConfig {
        /// Which field, by its path.
        field: String,
        /// Why.
        reason: String,
    },
    /// The NFS server still shows clients the file that was replaced.
    #[error(
        "volume {volume} at site {site}: clients still see the old {file:?}, because the NFS server remembers it; set Attr_Expiration_Time = 0 in the export, restart the server, then repeat [LW-0325]"
    )]
    StaleServer {
        /// The site.
        site: SiteName,
        /// PersistentVolume.
        volume: String,
        /// Path inside the volume.
        file: String,
    },
    /// The group's active site has changed since the caller learned its epoch.
    #[error(
        "site {site} takes no recovery point of group {group} at epoch {asked} ({reason}); the other site has become active, see `leeward status` [LW-0326]"
    )]
    OldEpoch {
        /// The site that was to get the point.
        site: SiteName,
        /// The group.
        group: GroupName,
        /// The caller's epoch.
        asked: Epoch,
        /// What was seen of a newer one.
        reason: String,
    },
    /// A failure that a test asked for.
    #[error("{what} at site {site} failed because a test said so [LW-0399]")]
    Injected {
        /// The verb.
        what: &'static str,
        /// The site.
        site: SiteName,
    },
}

fn space(needed: u64, free: u64) -> String {
    match needed {
        0 => "no space was left in the middle of it".to_owned(),
        _ => format!("{needed} bytes needed, {free} free"),
    }
}

impl StorageError {
    /// Whether the site (or the link to it) did not answer, so that it may be lost.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether repeating the same call later may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Transfer { .. } | Self::Busy { .. } | Self::Injected { .. })
    }
}
