//! The first form of backup and restore item actions: no operations, and no waiting for additional items.
//!
//! Every Velero since 1.11 turns such an action into the second form itself, so a new plug-in has no use for it but one:
//! Velero before 1.11. One action cannot be served in both forms under one name, for Velero would run it twice per item.

mod backup_item_action;
mod restore_item_action;

pub use backup_item_action::{BackupItemAction, BackupOutput};
pub use restore_item_action::{RestoreItemAction, RestoreOutput};
