//! Backup item actions: change an item on its way into a backup, and name further items that belong to it.
//!
//! Every matching action sees an item in turn, each the object that the one before returned; the cluster's own object is
//! not touched. Calls may come in parallel. Velero sets no deadline: an action that hangs, hangs the backup.

use crate::call::{self, Actions, Subject};
use crate::error::ActionError;
use crate::item_id::ItemId;
use crate::progress::Progress;
use crate::proto::v2 as wire;
use crate::selector::Selector;
use async_trait::async_trait;
use serde_json::Value;
use tokio::runtime::Handle;
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
    /// If it cannot be found out; Velero asks again later.
    async fn progress(&self, operation_id: &str, backup: &Value) -> Result<Progress, ActionError> {
        let _ = backup;
        Err(ActionError::new(format!("this action has no asynchronous operations, so none with id {operation_id:?}")))
    }

    /// Stops the operation. Nothing by default.
    ///
    /// # Errors
    /// If it cannot be stopped.
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
    /// Objects to store once the operation is completed. Pods, PVs and PVCs are not possible: Velero panics on them.
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
}

/// The gRPC service over the registered actions.
pub(crate) struct Service {
    pub(crate) actions: Actions<dyn BackupItemAction>,
    pub(crate) program: Handle,
}

#[async_trait]
impl wire::backup_item_action_server::BackupItemAction for Service {
    async fn applies_to(
        &self,
        request: Request<wire::BackupItemActionAppliesToRequest>,
    ) -> Result<Response<wire::BackupItemActionAppliesToResponse>, Status> {
        let name = request.into_inner().plugin;
        let action = self.actions.get(&name)?;
        let selector =
            call::run(&self.program, &name, Subject::default(), async move { Ok(action.applies_to()) }).await?;
        Ok(Response::new(wire::BackupItemActionAppliesToResponse { resource_selector: Some(selector.into()) }))
    }

    async fn execute(&self, request: Request<wire::ExecuteRequest>) -> Result<Response<wire::ExecuteResponse>, Status> {
        let wire::ExecuteRequest { plugin: name, item: json, backup } = request.into_inner();
        let action = self.actions.get(&name)?;
        let item = call::read("item", &json)?;
        let backup = call::read("backup", &backup)?;
        let subject = Subject::from(&item);
        let response = call::run(&self.program, &name, subject, async move {
            let output = action.execute(item, &backup).await?;
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
