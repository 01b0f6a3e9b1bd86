//! The kinds of plug-in that this crate serves: every kind of item action that Velero has.
//!
//! A kind that Velero does not know keeps the Velero server from starting, so a kind is offered only if an action of it was
//! registered, and [`Kind::ItemBlockAction`] only to a Velero that knows it. `ObjectStore` and `VolumeSnapshotter` are no
//! item actions and not served.

/// What an action is to Velero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Changes items on their way into a backup, without operations. Every Velero since 1.0.
    BackupItemAction,
    /// Changes items on their way into a backup. Velero 1.11 and later.
    BackupItemActionV2,
    /// Changes items on their way out of a backup, without operations. Every Velero since 1.0.
    RestoreItemAction,
    /// Changes items on their way out of a backup. Velero 1.11 and later.
    RestoreItemActionV2,
    /// Looks at the items of a backup that is being deleted. Velero 1.5 and later.
    DeleteItemAction,
    /// Names items that are backed up in one go. Velero 1.15 and later.
    ItemBlockAction,
}

impl Kind {
    /// The name of the kind on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackupItemAction => "BackupItemAction",
            Self::BackupItemActionV2 => "BackupItemActionV2",
            Self::RestoreItemAction => "RestoreItemAction",
            Self::RestoreItemActionV2 => "RestoreItemActionV2",
            Self::DeleteItemAction => "DeleteItemAction",
            Self::ItemBlockAction => "ItemBlockAction",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Padded as asked for.
        f.pad(self.as_str())
    }
}
