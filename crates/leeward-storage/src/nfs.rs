//! Adapter for disk images on NFS exports of Linux file servers.
//!
//! In each export Leeward keeps a folder of its own:
//!
//! ```text
//! .leeward/points/<group>/<point>/<volume>/…     a whole recovery point
//! .leeward/points/<group>/<point>.partial/…      one that is being made; the next attempt goes on from it
//! .leeward/given-up/<point>/<volume>/…           live images that were replaced by that point
//! .leeward/probe/                               writes that tell whether clients can write
//! ```
//!
//! Points, and what the NFS server lets clients do, are the business of Leeward's mover, `leeward-mover`, which runs at each file
//! server: the adapter asks it in the words of [`leeward_model::mover`], and keeps with each volume of a point the moment that it
//! is of.

mod config;
mod fence;
mod mover;
mod place;
mod points;
mod present;
mod remote;
mod shell;
mod sync;

pub use config::{NfsSite, StorageConfig, Timeouts};

use crate::{
    Divergence, FenceProof, PointManifest, StorageAdapter, StorageError, StorageStatus, SyncRequest, VolumeRef,
};
use leeward_model::name::{GroupName, PointId, SiteName};
use remote::Remote;

/// The file servers of the configured sites.
#[derive(Debug, Clone)]
pub struct NfsAdapter {
    config: StorageConfig,
}

impl NfsAdapter {
    /// An adapter for the file servers of `config`. Nothing is contacted.
    ///
    /// # Errors
    /// [`StorageError::InvalidConfig`] naming the field.
    pub fn new(config: StorageConfig) -> Result<Self, StorageError> {
        config.check()?;
        Ok(Self { config })
    }

    fn remote<'a>(&'a self, site: &'a SiteName) -> Result<Remote<'a>, StorageError> {
        let nfs = self.config.sites.get(site).ok_or_else(|| StorageError::UnknownSite { site: site.clone() })?;
        Ok(Remote { site, nfs, timeouts: self.config.timeouts })
    }

    fn timeouts(&self) -> Timeouts {
        self.config.timeouts
    }
}

#[async_trait::async_trait]
impl StorageAdapter for NfsAdapter {
    async fn status(&self, site: &SiteName) -> Result<StorageStatus, StorageError> {
        self.site_status(site).await
    }

    async fn sync(&self, request: &SyncRequest) -> Result<PointManifest, StorageError> {
        self.make_point(request).await
    }

    async fn points(&self, site: &SiteName, group: &GroupName) -> Result<Vec<PointManifest>, StorageError> {
        self.list_points(site, group).await
    }

    async fn verify(&self, site: &SiteName, manifest: &PointManifest) -> Result<(), StorageError> {
        self.verify_point(site, manifest).await
    }

    async fn fence(&self, site: &SiteName) -> Result<FenceProof, StorageError> {
        self.fence_site(site).await
    }

    async fn unfence(&self, site: &SiteName) -> Result<(), StorageError> {
        self.unfence_site(site).await
    }

    async fn is_fenced(&self, site: &SiteName) -> Result<bool, StorageError> {
        self.probe_fenced(site).await
    }

    async fn present(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<(), StorageError> {
        self.present_point(site, manifest, volumes).await
    }

    async fn withdraw(&self, site: &SiteName, group: &GroupName, point: &PointId) -> Result<(), StorageError> {
        self.delete_point(site, group, point).await
    }

    async fn empty(&self, site: &SiteName, volumes: &[VolumeRef]) -> Result<Vec<String>, StorageError> {
        self.find_empty(site, volumes).await
    }

    async fn divergence(
        &self,
        site: &SiteName,
        manifest: &PointManifest,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Divergence>, StorageError> {
        self.measure_divergence(site, manifest, volumes).await
    }
}
