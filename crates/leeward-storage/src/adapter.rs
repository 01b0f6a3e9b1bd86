//! The contract between the engine and one kind of storage.

use crate::{
    Divergence, FenceProof, PointManifest, StorageError, StorageStatus,
    request::{SyncRequest, VolumeRef},
};
use leeward_model::name::{GroupName, PointId, SiteName};

/// One kind of storage at both sites. See the crate's documentation for the laws all verbs keep.
///
/// Sites are always named, never implied: the same adapter serves both directions.
#[async_trait::async_trait]
pub trait StorageAdapter: Send + Sync {
    /// What the site's storage is like now. An unreachable site is an answer (`reachable: false`), within the probe time-out.
    ///
    /// # Errors
    /// A site that is not configured, or one that answers and cannot be understood.
    async fn status(&self, site: &SiteName) -> Result<StorageStatus, StorageError>;

    /// Makes the recovery point `request.point` at `request.to` out of what lies at `request.from`.
    ///
    /// If the point is already there with the same volumes, its manifest is returned and nothing is read at the source.
    ///
    /// # Errors
    /// A source that is missing, empty, unsafe or changed while it was read; a target that is full; a link that broke.
    /// Whatever the error, earlier points are untouched.
    async fn sync(&self, request: &SyncRequest) -> Result<PointManifest, StorageError>;

    /// The group's whole points at the site, oldest first ([`PointManifest::age_key`]).
    ///
    /// # Errors
    /// An unreachable site, or a manifest that cannot be read.
    async fn points(&self, site: &SiteName, group: &GroupName) -> Result<Vec<PointManifest>, StorageError>;

    /// Reads the point's files at the site again and compares them with the manifest.
    ///
    /// # Errors
    /// [`StorageError::Differs`] naming volume and file; a missing point.
    async fn verify(&self, site: &SiteName, manifest: &PointManifest) -> Result<(), StorageError>;

    /// Makes it impossible for clients to write at the site, and proves it by a write that is refused.
    ///
    /// # Errors
    /// [`StorageError::FenceUnproven`] if writes still go through, or the probe fails for another reason.
    async fn fence(&self, site: &SiteName) -> Result<FenceProof, StorageError>;

    /// Takes the fence away, and proves it by a write that succeeds.
    ///
    /// # Errors
    /// [`StorageError::UnfenceUnproven`] if writes are still refused.
    async fn unfence(&self, site: &SiteName) -> Result<(), StorageError>;

    /// Whether a write at the site is refused now: tried, not read from configuration.
    ///
    /// # Errors
    /// An unreachable site, or a probe that fails for another reason than a fence.
    async fn is_fenced(&self, site: &SiteName) -> Result<bool, StorageError>;

    /// Puts the point's files where the volumes' addresses say, each volume atomically, verified against the manifest.
    ///
    /// Files that already hold the point's bytes are left alone. A live image that differs is kept aside first. Only the
    /// point's own files are touched; volumes of the manifest that are not named in `volumes` are not presented.
    ///
    /// # Errors
    /// A volume the point does not hold, an address outside the site's storage, a damaged point.
    async fn present(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<(), StorageError>;

    /// Deletes a point at the site. Deleting what is not there succeeds.
    ///
    /// # Errors
    /// [`StorageError::NewestPoint`] for the group's newest point there.
    async fn withdraw(&self, site: &SiteName, group: &GroupName, point: &PointId) -> Result<(), StorageError>;

    /// The keys of those `volumes` that hold no data at the site: nothing is at their address, or only an empty folder. A
    /// volume whose address is not on the site's storage is not among them.
    ///
    /// # Errors
    /// An unreachable site.
    async fn empty(&self, site: &SiteName, volumes: &[VolumeRef]) -> Result<Vec<String>, StorageError>;

    /// How far the live volumes at the site have moved away from the point: one entry for each of `volumes`, in their order.
    ///
    /// # Errors
    /// An unreachable site, a volume the point does not hold, a volume that is missing at its address. Where the point's own
    /// site does not answer, all of a volume counts as changed.
    async fn divergence(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Divergence>, StorageError>;
}
