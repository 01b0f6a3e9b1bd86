//! Delete item actions: clean up what an action of yours has made outside a backup, when the backup is deleted.
//!
//! They run where the deletion is processed, over the items as they stand in the backup. Velero only logs their errors and
//! deletes the backup all the same, so what is to be deleted has to be found again later if it matters.

use crate::call::{self, Service, Subject};
use crate::error::ActionError;
use crate::proto::generated as wire;
use crate::selector::Selector;
use async_trait::async_trait;
use serde_json::Value;
use tonic::{Request, Response, Status};

/// Looks at the items of a backup that is about to be deleted.
#[async_trait]
pub trait DeleteItemAction: Send + Sync + 'static {
    /// The items to be asked about.
    fn applies_to(&self) -> Selector;

    /// Looks at one item as it stands in the backup. `backup` is the Velero `Backup`.
    ///
    /// # Errors
    /// Velero logs it, and goes on.
    async fn execute(&self, item: Value, backup: &Value) -> Result<(), ActionError>;
}

#[async_trait]
impl wire::delete_item_action_server::DeleteItemAction for Service<dyn DeleteItemAction> {
    async fn applies_to(
        &self,
        request: Request<wire::DeleteItemActionAppliesToRequest>,
    ) -> Result<Response<wire::DeleteItemActionAppliesToResponse>, Status> {
        let selector = self.selector(&request.into_inner().plugin, |action| action.applies_to()).await?;
        Ok(Response::new(wire::DeleteItemActionAppliesToResponse { resource_selector: Some(selector) }))
    }

    async fn execute(
        &self,
        request: Request<wire::DeleteItemActionExecuteRequest>,
    ) -> Result<Response<wire::Empty>, Status> {
        let wire::DeleteItemActionExecuteRequest { plugin: name, item, backup } = request.into_inner();
        let action = self.actions.get(&name)?;
        let item = call::read("item", &item)?;
        let backup = call::read("backup", &backup)?;
        let subject = Subject::from(&item);
        let work = async move { action.execute(item, &backup).await };
        call::run(&self.program, &name, subject, work).await?;
        Ok(Response::new(wire::Empty {}))
    }
}
