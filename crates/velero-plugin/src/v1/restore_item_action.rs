//! Restore item actions of the first form.

use crate::call::{self, Service, Subject};
use crate::error::ActionError;
use crate::item_id::ItemId;
use crate::proto::generated as wire;
use crate::restore_item_action::RestoreInput;
use crate::selector::Selector;
use async_trait::async_trait;
use serde_json::Value;
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
            Ok(wire::RestoreItemActionExecuteResponse {
                item: call::write(output.item, json)?,
                additional_items: output.additional_items.into_iter().map(Into::into).collect(),
                skip_restore: output.skip,
            })
        });
        response.await.map(Response::new)
    }
}
