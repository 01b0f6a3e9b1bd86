//! Restore item actions: change an item on its way out of a backup, leave it out, or name what has to be there first.
//!
//! Every matching action sees an item in turn. Velero calls one at a time, and sets no deadline: an action that hangs,
//! hangs the restore.

use crate::call::{self, Service, Subject};
use crate::error::ActionError;
use crate::item_id::ItemId;
use crate::progress::Progress;
use crate::proto::v2 as wire;
use crate::selector::Selector;
use async_trait::async_trait;
use serde_json::Value;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Changes items on their way out of a backup.
#[async_trait]
pub trait RestoreItemAction: Send + Sync + 'static {
    /// The items to be asked about.
    fn applies_to(&self) -> Selector;

    /// Looks at one item.
    ///
    /// # Errors
    /// Then the item is not restored, and the restore ends as `PartiallyFailed`.
    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError>;

    /// How far the operation is that [`execute`](Self::execute) began. Only asked of an action that returns operations.
    ///
    /// # Errors
    /// Then the operation has failed for Velero, and so has the restore, in part. What may pass, such as a server that does
    /// not answer at the moment, is no error: say that it is still running.
    async fn progress(&self, operation_id: &str, restore: &Value) -> Result<Progress, ActionError> {
        let _ = restore;
        Err(ActionError::new(format!("this action has no asynchronous operations, so none with id {operation_id:?}")))
    }

    /// Stops the operation, which has gone on for longer than the restore's `itemOperationTimeout` (4 hours). Nothing by
    /// default.
    ///
    /// # Errors
    /// Velero passes over them: the operation has failed by then.
    async fn cancel(&self, operation_id: &str, restore: &Value) -> Result<(), ActionError> {
        let _ = (operation_id, restore);
        Ok(())
    }

    /// Whether the additional items are ready, asked until they are when [`RestoreOutput::wait_for_items`] is set. Yes
    /// by default.
    ///
    /// # Errors
    /// If it cannot be found out; Velero then goes on with a warning.
    async fn additional_items_ready(&self, items: &[ItemId], restore: &Value) -> Result<bool, ActionError> {
        let _ = (items, restore);
        Ok(true)
    }
}

/// One item that is about to be restored.
#[derive(Debug)]
pub struct RestoreInput<'a> {
    /// The object as it would be created now: without status, and as the actions before left it.
    pub item: Value,
    /// The object as it stands in the backup, with status.
    pub item_from_backup: Value,
    /// The Velero `Restore`.
    pub restore: &'a Value,
}

impl RestoreInput<'_> {
    /// The namespace that an object of the backup's `namespace` goes to: the restore may map namespaces. The item itself
    /// still has the backup's; Velero changes it after the actions.
    #[must_use]
    pub fn target_namespace<'n>(&'n self, namespace: &'n str) -> &'n str {
        let mapped = self.restore["spec"]["namespaceMapping"][namespace].as_str();
        mapped.filter(|to| !to.is_empty()).unwrap_or(namespace)
    }
}

/// What becomes of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestoreOutput {
    /// The object to create, whole; `None` for the one that came in.
    pub item: Option<Value>,
    /// Objects of the backup to restore before it.
    pub additional_items: Vec<ItemId>,
    /// Leave the item out.
    pub skip: bool,
    /// An operation that has begun; the restore then waits until [`RestoreItemAction::progress`] calls it completed.
    pub operation_id: Option<String>,
    /// Ask [`RestoreItemAction::additional_items_ready`] before the item itself is created.
    pub wait_for_items: bool,
    /// How long to ask; Velero's own limit (10 minutes) if absent.
    pub items_ready_timeout: Option<Duration>,
}

impl RestoreOutput {
    /// Restores the item as it came.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::default()
    }

    /// Restores `item` instead.
    #[must_use]
    pub fn changed(item: Value) -> Self {
        Self { item: Some(item), ..Self::default() }
    }

    /// Leaves the item out.
    #[must_use]
    pub fn skip() -> Self {
        Self { skip: true, ..Self::default() }
    }

    /// Restores these first.
    #[must_use]
    pub fn with_items(mut self, items: impl IntoIterator<Item = ItemId>) -> Self {
        self.additional_items.extend(items);
        self
    }

    /// Says that the operation `id` has begun. The id is all that [`progress`](RestoreItemAction::progress) and
    /// [`cancel`](RestoreItemAction::cancel) will get: they run in another process.
    #[must_use]
    pub fn with_operation(mut self, id: impl Into<String>) -> Self {
        self.operation_id = Some(id.into());
        self
    }

    /// Waits until [`additional_items_ready`](RestoreItemAction::additional_items_ready) says yes before the item itself is
    /// created, at most this long (Velero's own limit of 10 minutes if absent).
    #[must_use]
    pub fn waiting_for_items(mut self, at_most: Option<Duration>) -> Self {
        (self.wait_for_items, self.items_ready_timeout) = (true, at_most);
        self
    }
}

#[async_trait]
impl wire::restore_item_action_server::RestoreItemAction for Service<dyn RestoreItemAction> {
    async fn applies_to(
        &self,
        request: Request<wire::RestoreItemActionAppliesToRequest>,
    ) -> Result<Response<wire::RestoreItemActionAppliesToResponse>, Status> {
        let selector = self.selector(&request.into_inner().plugin, |action| action.applies_to()).await?;
        Ok(Response::new(wire::RestoreItemActionAppliesToResponse { resource_selector: Some(selector) }))
    }

    async fn execute(
        &self,
        request: Request<wire::RestoreItemActionExecuteRequest>,
    ) -> Result<Response<wire::RestoreItemActionExecuteResponse>, Status> {
        let wire::RestoreItemActionExecuteRequest { plugin: name, item: json, restore, item_from_backup } =
            request.into_inner();
        let action = self.actions.get(&name)?;
        let item = call::read("item", &json)?;
        let item_from_backup = call::read("item from the backup", &item_from_backup)?;
        let restore = call::read("restore", &restore)?;
        let subject = Subject::from(&item);
        let response = call::run(&self.program, &name, subject, async move {
            let output = action.execute(RestoreInput { item, item_from_backup, restore: &restore }).await?;
            if output.operation_id.as_deref() == Some("") {
                return Err(ActionError::new(
                    "the action returned an operation with an empty id, which is none to Velero",
                ));
            }
            let timeout = output.items_ready_timeout.map(prost_types::Duration::try_from).transpose()?;
            Ok(wire::RestoreItemActionExecuteResponse {
                item: call::write(output.item, json)?,
                additional_items: output.additional_items.into_iter().map(Into::into).collect(),
                skip_restore: output.skip,
                operation_id: output.operation_id.unwrap_or_default(),
                wait_for_additional_items: output.wait_for_items,
                additional_items_ready_timeout: timeout,
            })
        });
        response.await.map(Response::new)
    }

    async fn progress(
        &self,
        request: Request<wire::RestoreItemActionProgressRequest>,
    ) -> Result<Response<wire::RestoreItemActionProgressResponse>, Status> {
        let wire::RestoreItemActionProgressRequest { plugin: name, operation_id, restore } = request.into_inner();
        let action = self.actions.get(&name)?;
        let restore = call::read("restore", &restore)?;
        let work = async move { action.progress(&operation_id, &restore).await };
        let progress = call::run(&self.program, &name, Subject::default(), work).await?;
        // Velero reads the field without looking whether it is there.
        Ok(Response::new(wire::RestoreItemActionProgressResponse { progress: Some(progress.into()) }))
    }

    async fn cancel(&self, request: Request<wire::RestoreItemActionCancelRequest>) -> Result<Response<()>, Status> {
        let wire::RestoreItemActionCancelRequest { plugin: name, operation_id, restore } = request.into_inner();
        let action = self.actions.get(&name)?;
        let restore = call::read("restore", &restore)?;
        let work = async move { action.cancel(&operation_id, &restore).await };
        call::run(&self.program, &name, Subject::default(), work).await.map(Response::new)
    }

    async fn are_additional_items_ready(
        &self,
        request: Request<wire::RestoreItemActionItemsReadyRequest>,
    ) -> Result<Response<wire::RestoreItemActionItemsReadyResponse>, Status> {
        let wire::RestoreItemActionItemsReadyRequest { plugin: name, restore, additional_items } = request.into_inner();
        let action = self.actions.get(&name)?;
        let restore = call::read("restore", &restore)?;
        let items: Vec<_> = additional_items.into_iter().map(Into::into).collect();
        let work = async move { action.additional_items_ready(&items, &restore).await };
        let ready = call::run(&self.program, &name, Subject::default(), work).await?;
        Ok(Response::new(wire::RestoreItemActionItemsReadyResponse { ready }))
    }
}
