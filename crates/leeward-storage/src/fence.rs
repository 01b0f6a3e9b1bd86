//! What is known about a site's storage at one moment: whether it answers, whether it takes writes, how far it has moved.

pub use leeward_model::mover::Access;
use serde::{Deserialize, Serialize};

/// A site's storage now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// Whether the storage's control answered within the probe time-out.
    pub reachable: bool,
    /// Whether clients can write; `Unknown` if not reachable.
    pub access: Access,
    /// Free space in bytes; 0 if not reachable.
    pub free_bytes: u64,
    /// Why it is not reachable, or why `access` is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Evidence that clients could not write at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceProof {
    /// The storage's own words when it refused the write.
    pub refused_by: String,
    /// When it refused.
    pub at: jiff::Timestamp,
}

/// How far one live volume has moved away from a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Name of the PersistentVolume.
    pub key: String,
    /// Bytes that differ. 0 exactly if the volume is the same; otherwise an upper bound whose grain is the adapter's.
    pub bytes_changed: u64,
    /// When the volume was last written, if the storage knows.
    pub last_written: Option<jiff::Timestamp>,
}

impl Divergence {
    /// Whether the volume holds what the point holds.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.bytes_changed == 0
    }
}
