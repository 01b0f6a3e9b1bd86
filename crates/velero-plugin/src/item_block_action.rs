//! Item block actions: name what has to be backed up in one go with an item.
//!
//! Velero 1.15 and later put an item and its related ones into one block, which one worker backs up without a pause; hooks
//! of the pods among them run around the whole block. An older Velero does not start if a plug-in offers this kind, so it
//! is offered only where it is known (see [`Server::item_block_action`](crate::Server::item_block_action)).

use crate::call::{self, Service, Subject};
use crate::error::ActionError;
use crate::item_id::ItemId;
use crate::proto::v1 as wire;
use crate::selector::Selector;
use async_trait::async_trait;
use serde_json::Value;
use tonic::{Request, Response, Status};

/// Names the items that belong into one block with another.
#[async_trait]
pub trait ItemBlockAction: Send + Sync + 'static {
    /// The items to be asked about.
    fn applies_to(&self) -> Selector;

    /// What belongs into one block with this item. What the backup does not include is passed over.
    ///
    /// # Errors
    /// Velero logs it, and backs the item up without the others in its block.
    async fn related_items(&self, item: &Value, backup: &Value) -> Result<Vec<ItemId>, ActionError>;
}

#[async_trait]
impl wire::item_block_action_server::ItemBlockAction for Service<dyn ItemBlockAction> {
    async fn applies_to(
        &self,
        request: Request<wire::ItemBlockActionAppliesToRequest>,
    ) -> Result<Response<wire::ItemBlockActionAppliesToResponse>, Status> {
        let selector = self.selector(&request.into_inner().plugin, |action| action.applies_to()).await?;
        Ok(Response::new(wire::ItemBlockActionAppliesToResponse { resource_selector: Some(selector) }))
    }

    async fn get_related_items(
        &self,
        request: Request<wire::ItemBlockActionGetRelatedItemsRequest>,
    ) -> Result<Response<wire::ItemBlockActionGetRelatedItemsResponse>, Status> {
        let wire::ItemBlockActionGetRelatedItemsRequest { plugin: name, item, backup } = request.into_inner();
        let action = self.actions.get(&name)?;
        let item = call::read("item", &item)?;
        let backup = call::read("backup", &backup)?;
        let subject = Subject::from(&item);
        let work = async move { action.related_items(&item, &backup).await };
        let items = call::run(&self.program, &name, subject, work).await?;
        let related_items = items.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ItemBlockActionGetRelatedItemsResponse { related_items }))
    }
}
