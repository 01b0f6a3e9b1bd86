//! Actions of the other kinds.

use serde_json::Value;
use std::time::{Duration, SystemTime};
use velero_plugin::{
    ActionError, BackupItemAction, BackupOutput, DeleteItemAction, ItemBlockAction, ItemId, Progress, RestoreInput,
    RestoreItemAction, RestoreOutput, Selector, async_trait, v1,
};

/// Leaves out what is labelled so, and brings a Secret with the rest.
pub(crate) struct Restoring;

#[async_trait]
impl RestoreItemAction for Restoring {
    fn applies_to(&self) -> Selector {
        Selector::resources(["virtualmachines.kubevirt.io"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let RestoreInput { mut item, item_from_backup, restore } = input;
        if item["metadata"]["labels"]["leave"] == "out" {
            return Ok(RestoreOutput::skip());
        }
        item["spec"]["was"] = item_from_backup["status"]["phase"].clone();
        item["spec"]["by"] = restore["metadata"]["name"].clone();
        Ok(RestoreOutput::changed(item).with_items([ItemId::core("secrets", "shop", "key")]))
    }
}

/// Begins an operation with the item's name as id. Of an operation's id it makes its progress:
/// `half`, `done`, `failed`, `panic`; it cannot cancel `forever`.
pub(crate) struct Operating;

fn progress(id: &str) -> Result<Progress, ActionError> {
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    match id {
        "half" => Ok(Progress::running(5, 10, "bytes").doing("copying").at(began, began + Duration::from_secs(7))),
        "done" => Ok(Progress::completed()),
        "failed" => Ok(Progress::failed("the disk is full")),
        "panic" => panic!("fell over at {id}"),
        other => Err(ActionError::new(format!("no operation {other}"))),
    }
}

fn cancel(id: &str, by: &Value) -> Result<(), ActionError> {
    if id == "forever" {
        return Err(ActionError::new("it cannot be stopped"));
    }
    tracing::info!(by = by["metadata"]["name"].as_str(), "stopped {id}");
    Ok(())
}

#[async_trait]
impl BackupItemAction for Operating {
    fn applies_to(&self) -> Selector {
        Selector::resources(["volumesnapshots.snapshot.storage.k8s.io"])
    }

    async fn execute(&self, item: Value, _: &Value) -> Result<BackupOutput, ActionError> {
        let id = item["metadata"]["name"].as_str().unwrap_or_default();
        let after = match item["metadata"]["labels"]["after"].as_str() {
            Some(resource) => ItemId::core(resource, "shop", "db"),
            None => ItemId::new("snapshot.storage.k8s.io", "volumesnapshots", "shop", id),
        };
        Ok(BackupOutput::unchanged().with_operation(id).with_items_after([after]))
    }

    async fn progress(&self, id: &str, _: &Value) -> Result<Progress, ActionError> {
        progress(id)
    }

    async fn cancel(&self, id: &str, backup: &Value) -> Result<(), ActionError> {
        cancel(id, backup)
    }
}

#[async_trait]
impl RestoreItemAction for Operating {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let id = input.item["metadata"]["name"].as_str().unwrap_or_default();
        let limit = Some(Duration::from_millis(1500));
        Ok(RestoreOutput::unchanged().with_operation(id).waiting_for_items(limit))
    }

    async fn progress(&self, id: &str, _: &Value) -> Result<Progress, ActionError> {
        progress(id)
    }

    async fn cancel(&self, id: &str, restore: &Value) -> Result<(), ActionError> {
        cancel(id, restore)
    }

    async fn additional_items_ready(&self, items: &[ItemId], _: &Value) -> Result<bool, ActionError> {
        Ok(items.iter().all(|item| item.name == "ready"))
    }
}

/// Both kinds of the first form.
pub(crate) struct First;

#[async_trait]
impl v1::BackupItemAction for First {
    fn applies_to(&self) -> Selector {
        Selector::resources(["pods"])
    }

    async fn execute(&self, mut item: Value, backup: &Value) -> Result<v1::BackupOutput, ActionError> {
        item["by"] = backup["metadata"]["name"].clone();
        Ok(v1::BackupOutput::changed(item).with_items([ItemId::core("secrets", "shop", "key")]))
    }
}

#[async_trait]
impl v1::RestoreItemAction for First {
    fn applies_to(&self) -> Selector {
        Selector::resources(["pods"]).labelled("app")
    }

    async fn execute(&self, mut input: RestoreInput<'_>) -> Result<v1::RestoreOutput, ActionError> {
        if input.item_from_backup["status"]["phase"] == "Failed" {
            return Ok(v1::RestoreOutput::skip());
        }
        input.item["goes-to"] = input.target_namespace("shop").into();
        Ok(v1::RestoreOutput::changed(input.item))
    }
}

/// Fails for what is called `stuck`.
pub(crate) struct Deleting;

#[async_trait]
impl DeleteItemAction for Deleting {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<(), ActionError> {
        match item["metadata"]["name"].as_str() {
            Some("stuck") => Err(ActionError::new("PVC shop/stuck is in use")),
            Some("panic") => panic!("fell over"),
            _ => {
                tracing::info!(of = backup["metadata"]["name"].as_str(), "deleted");
                Ok(())
            }
        }
    }
}

/// A machine and its disks.
pub(crate) struct Blocks;

#[async_trait]
impl ItemBlockAction for Blocks {
    fn applies_to(&self) -> Selector {
        Selector::resources(["virtualmachines.kubevirt.io"])
    }

    async fn related_items(&self, item: &Value, _: &Value) -> Result<Vec<ItemId>, ActionError> {
        let volumes = item.pointer("/spec/template/spec/volumes").and_then(Value::as_array).into_iter().flatten();
        let claims = volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
        let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
        Ok(claims.map(|claim| ItemId::core("persistentvolumeclaims", namespace, claim)).collect())
    }
}
