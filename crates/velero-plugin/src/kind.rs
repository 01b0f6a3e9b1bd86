//! The kinds of plug-in that this crate serves.
//!
//! A kind that Velero does not know keeps the Velero server from starting, so a kind is advertised only if an action of
//! it was registered. Kinds to come: `DeleteItemAction`, `ItemBlockAction` (Velero 1.15 and later only), `ObjectStore`,
//! `VolumeSnapshotter`. A new one is a file like `backup_item_action.rs`, a variant here and a method of
//! [`Server`](crate::Server).

/// What a plug-in is to Velero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Changes items on their way into a backup. Velero 1.11 and later.
    BackupItemActionV2,
    /// Changes items on their way out of a backup. Velero 1.11 and later.
    RestoreItemActionV2,
}

impl Kind {
    /// The name of the kind on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackupItemActionV2 => "BackupItemActionV2",
            Self::RestoreItemActionV2 => "RestoreItemActionV2",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
