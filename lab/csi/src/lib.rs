//! The lab's CSI driver: volumes and snapshots as folders of one NFS export.
//!
//! It answers to the name `nfs.csi.k8s.io` and makes the same volume handles and volume attributes as csi-driver-nfs,
//! so that whatever reads PersistentVolumes cannot tell the two apart. It differs where the lab needs it to: it works on
//! the export's own folder (no NFS client in the kernel is needed), and a snapshot is a folder of shared extents made
//! in an instant, where csi-driver-nfs packs a tar.gz.
//!
//! ```text
//! <path>/<volume>/               a volume; a folder put there by anyone else is one too, of unknown capacity
//! <path>/.snapshots/<snapshot>/  a snapshot: whole, or not there
//! <path>/.csi/volumes/*.json     what the requests said (capacity, source): survives a restart
//! <path>/.csi/snapshots/*.json
//! <path>/.csi/groups/*.json    snapshots of one moment
//! <path>/.csi/tmp/               under construction or being deleted; emptied at start
//! <path>/.csi/lock               held while a driver serves this export
//! ```

pub mod copy;
pub mod endpoint;
pub mod handle;
pub mod locks;
pub mod name;
pub mod pace;
pub mod record;
pub mod service;
pub mod store;

/// The CSI v1 messages and services, generated from `proto/csi.proto` by `cargo xtask gen`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod proto {
    include!("generated/csi.v1.rs");
}

/// The name under which Kubernetes knows the driver: StorageClass `provisioner`, PV `spec.csi.driver`.
pub const DRIVER_NAME: &str = "nfs.csi.k8s.io";
