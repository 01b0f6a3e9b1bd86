//! How Leeward makes storage do what a run needs, whatever the storage is.
//!
//! [`StorageAdapter`] is the contract; everything an adapter takes or returns is a plain, serialisable value, so that the
//! engine can journal it. Adapters: [`nfs::NfsAdapter`] for images on NFS exports.
//!
//! Laws that every adapter keeps (`contract::all` checks them):
//! - **A point is whole or not there.** What [`StorageAdapter::points`] lists was copied completely, compared by its
//!   fingerprint with its source, and written to stable storage.
//! - **Repeating is harmless.** Every verb may be cut off at any instant and called again with the same arguments; it then
//!   continues, and ends in the same state.
//! - **Nothing is lost on the way.** No verb overwrites or deletes a recovery point, except `withdraw`, which refuses the
//!   newest one; a live image is kept aside before `present` replaces it.
//! - **A fence is proven, not configured.** [`FenceProof`] exists only where a write was tried and refused.
//! - **Never wait for the dead.** An unreachable site is an error ([`StorageError::is_unreachable`]) within the configured
//!   time, never a hang; `status` reports it as a value.

mod adapter;
#[cfg(feature = "contract")]
pub mod contract;
pub mod error;
#[cfg(feature = "fake")]
pub mod fake;
pub mod fence;
pub mod nfs;
pub mod point;
pub mod request;

pub use adapter::StorageAdapter;
pub use error::StorageError;
pub use fence::{Access, Divergence, FenceProof, StorageStatus};
pub use point::{Consistency, FileFingerprint, PointManifest, PointVolume};
pub use request::{SyncRequest, SyncVolume, VolumeRef};
