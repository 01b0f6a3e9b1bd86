//! Backup, PVCs: turns snapshots into volumes that the storage replicates, and takes those along.
//!
//! It hangs on claims because snapshots do not reach a backup from Velero 1.17 on. The promoted claim is an additional item
//! that must be included: it carries the label that keeps it out of every other backup, and a filter by label or resource
//! must not lose it.

use crate::promoter::Promoter;
use crate::{take_group, view};
use serde_json::Value;
use std::sync::Arc;
use velero_plugin::{ActionError, BackupItemAction, BackupOutput, ItemId, Selector, async_trait};

/// Tells Velero to take additional items in spite of its filters. Velero means to remove it from what it stores, but
/// removes it from a copy.
pub(crate) const MUST_INCLUDE: &str = "backup.velero.io/must-include-additional-items";

/// See the module.
pub(crate) struct PromoteSnapshot(pub(crate) Arc<Promoter>);

#[async_trait]
impl BackupItemAction for PromoteSnapshot {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims"])
    }

    async fn execute(&self, mut item: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        let Some(promoted) = self.0.promoted(&item, backup).await? else { return Ok(BackupOutput::unchanged()) };
        let (namespace, name) = (view::namespace(&promoted.claim), view::name(&promoted.claim));
        tracing::info!("claim {namespace}/{name} holds the data of claim {}", view::name(&item));
        take_group::unmark(&mut item);
        view::annotate(&mut item, MUST_INCLUDE, "true");
        Ok(BackupOutput::changed(item).with_items([ItemId::core("persistentvolumeclaims", namespace, name)]))
    }
}

#[cfg(test)]
#[path = "promote_snapshot_tests.rs"]
mod tests;
