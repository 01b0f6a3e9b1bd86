//! Backup item actions: change an item on its way into a backup, and name further items that belong to it.
//!
//! Every matching action sees an item in turn, each the object that the one before returned; the cluster's own object is
//! not touched. Calls may come in parallel. Velero sets no deadline: an action that hangs, hangs the backup.

use crate::call::{self, Service, Subject};
use crate::error::ActionError;
use crate::item_id::ItemId;
use crate::progress::Progress;
use crate::proto::v2 as wire;
use crate::selector::Selector;
use async_trait::async_trait;
use serde_json::Value;
use tonic::{Request, Response, Status};

/// Changes items on their way into a backup.
#[async_trait]
pub trait BackupItemAction: Send + Sync + 'static {
    /// The items to be asked about.
    fn applies_to(&self) -> Selector;

    /// Looks at one item. `backup` is the Velero `Backup` with its status.
    ///
    /// # Errors
    /// Then the item, and what named it as an additional item, are not backed up.
    async fn execute(&self, item: Value, backup: &Value) -> Result<BackupOutput, ActionError>;

    /// How far the operation is that [`execute`](Self::execute) began. Only asked of an action that returns operations.
    ///
    /// # Errors
    /// Then the operation has failed for Velero, and so has the backup, in part. What may pass, such as a server that does
    /// not answer at the moment, is no error: say that it is still running.
    async fn progress(&self, operation_id: &str, backup: &Value) -> Result<Progress, ActionError> {
        let _ = backup;
        Err(ActionError::new(format!("this action has no asynchronous operations, so none with id {operation_id:?}")))
    }

    /// Stops the operation, which has gone on for longer than the backup's `itemOperationTimeout` (4 hours). Nothing by
    /// default.
    ///
    /// # Errors
    /// Velero passes over them: the operation has failed by then.
    async fn cancel(&self, operation_id: &str, backup: &Value) -> Result<(), ActionError> {
        let _ = (operation_id, backup);
        Ok(())
    }
}

/// What becomes of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackupOutput {
    /// The object to store, whole; `None` for the one that came in.
    pub item: Option<Value>,
    /// Objects to store with it. Velero reads them from the cluster at that moment; what is not there is skipped with a
    /// warning.
    pub additional_items: Vec<ItemId>,
    /// An operation that has begun; the backup then waits until [`BackupItemAction::progress`] calls it completed.
    pub operation_id: Option<String>,
    /// Objects to store anew once the operation is completed; they then go through all backup item actions again, which
    /// may start no operation ([`is_finalizing`]). Pods, PVs and PVCs are refused: Velero panics on them.
    pub post_operation_items: Vec<ItemId>,
}

impl BackupOutput {
    /// Stores the item as it came.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::default()
    }

    /// Stores `item` instead.
    #[must_use]
    pub fn changed(item: Value) -> Self {
        Self { item: Some(item), ..Self::default() }
    }

    /// Stores these as well.
    #[must_use]
    pub fn with_items(mut self, items: impl IntoIterator<Item = ItemId>) -> Self {
        self.additional_items.extend(items);
        self
    }

    /// Says that the operation `id` has begun. The id is all that [`progress`](BackupItemAction::progress) and
    /// [`cancel`](BackupItemAction::cancel) will get: they run in another process.
    #[must_use]
    pub fn with_operation(mut self, id: impl Into<String>) -> Self {
        self.operation_id = Some(id.into());
        self
    }

    /// Stores these anew after the operation.
    #[must_use]
    pub fn with_items_after(mut self, items: impl IntoIterator<Item = ItemId>) -> Self {
        self.post_operation_items.extend(items);
        self
    }

    /// # Errors
    /// If Velero would panic, or leave something out without a word.
    fn check(&self) -> Result<(), ActionError> {
        let operation = self.operation_id.as_deref().is_some_and(|id| !id.is_empty());
        if self.operation_id.is_some() && !operation {
            return Err(ActionError::new("the action returned an operation with an empty id, which is none to Velero"));
        }
        if !self.post_operation_items.is_empty() && !operation {
            return Err(ActionError::new(
                "the action returned items to store after an operation, but no operation; Velero would leave them out",
            ));
        }
        let deadly = |item: &&ItemId| {
            item.group.is_empty()
                && ["pods", "persistentvolumeclaims", "persistentvolumes"].contains(&item.resource.as_str())
        };
        match self.post_operation_items.iter().find(deadly) {
            Some(item) => Err(ActionError::new(format!(
                "the action returned {} {}/{} to be stored after an operation; Velero panics on pods, PVs and PVCs there",
                item.resource, item.namespace, item.name
            ))),
            None => Ok(()),
        }
    }
}

/// Whether the operations of this backup are over, and their items are being stored anew. Starting an operation now is an
/// error to Velero.
#[must_use]
pub fn is_finalizing(backup: &Value) -> bool {
    matches!(backup["status"]["phase"].as_str(), Some("Finalizing" | "FinalizingPartiallyFailed"))
}

#[async_trait]
impl wire::backup_item_action_server::BackupItemAction for Service<dyn BackupItemAction> {
    async fn applies_to(
        &self,
        request: Request<wire::BackupItemActionAppliesToRequest>,
    ) -> Result<Response<wire::BackupItemActionAppliesToResponse>, Status> {
        let selector = self.selector(&request.into_inner().plugin, |action| action.applies_to()).await?;
        Ok(Response::new(wire::BackupItemActionAppliesToResponse { resource_selector: Some(selector) }))
    }

    async fn execute(&self, request: Request<wire::ExecuteRequest>) -> Result<Response<wire::ExecuteResponse>, Status> {
        let wire::ExecuteRequest { plugin: name, item: json, backup } = request.into_inner();
        let action = self.actions.get(&name)?;
        let item = call::read("item", &json)?;
        let backup = call::read("backup", &backup)?;
        let subject = Subject::from(&item);
        let response = call::run(&self.program, &name, subject, async move {
            let output = action.execute(item, &backup).await?;
            output.check()?;
            Ok(wire::ExecuteResponse {
                item: call::write(output.item, json)?,
                additional_items: output.additional_items.into_iter().map(Into::into).collect(),
                operation_id: output.operation_id.unwrap_or_default(),
                post_operation_items: output.post_operation_items.into_iter().map(Into::into).collect(),
            })
        });
        response.await.map(Response::new)
    }

    async fn progress(
        &self,
        request: Request<wire::BackupItemActionProgressRequest>,
    ) -> Result<Response<wire::BackupItemActionProgressResponse>, Status> {
        let wire::BackupItemActionProgressRequest { plugin: name, operation_id, backup } = request.into_inner();
        let action = self.actions.get(&name)?;
        let backup = call::read("backup", &backup)?;
        let work = async move { action.progress(&operation_id, &backup).await };
        let progress = call::run(&self.program, &name, Subject::default(), work).await?;
        // Velero reads the field without looking whether it is there.
        Ok(Response::new(wire::BackupItemActionProgressResponse { progress: Some(progress.into()) }))
    }

    async fn cancel(&self, request: Request<wire::BackupItemActionCancelRequest>) -> Result<Response<()>, Status> {
        let wire::BackupItemActionCancelRequest { plugin: name, operation_id, backup } = request.into_inner();
        let action = self.actions.get(&name)?;
        let backup = call::read("backup", &backup)?;
        let work = async move { action.cancel(&operation_id, &backup).await };
        call::run(&self.program, &name, Subject::default(), work).await.map(Response::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_velero_would_panic_on_or_forget_is_refused() {
        let secret = ItemId::core("secrets", "shop", "key");
        let ok = BackupOutput::unchanged().with_operation("7").with_items_after([secret.clone()]);
        assert!(ok.check().is_ok());
        let text = |output: BackupOutput| output.check().unwrap_err().message().to_owned();
        assert!(text(BackupOutput::unchanged().with_items_after([secret])).contains("no operation"));
        assert!(text(BackupOutput::unchanged().with_operation("")).contains("empty id"));
        for resource in ["pods", "persistentvolumes", "persistentvolumeclaims"] {
            let item = ItemId::core(resource, "shop", "db");
            let deadly = text(BackupOutput::unchanged().with_operation("7").with_items_after([item]));
            assert!(deadly.contains(resource) && deadly.contains("shop/db"), "{deadly}");
        }
    }
}
