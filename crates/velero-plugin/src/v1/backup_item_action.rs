//! Backup item actions of the first form.

use crate::call::{self, Service, Subject};
use crate::error::ActionError;
use crate::item_id::ItemId;
use crate::proto::generated as wire;
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
}

/// What becomes of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackupOutput {
    /// The object to store, whole; `None` for the one that came in.
    pub item: Option<Value>,
    /// Objects to store with it. Velero reads them from the cluster at that moment; what is not there is skipped with a
    /// warning.
    pub additional_items: Vec<ItemId>,
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
            Ok(wire::ExecuteResponse {
                item: call::write(output.item, json)?,
                additional_items: output.additional_items.into_iter().map(Into::into).collect(),
            })
        });
        response.await.map(Response::new)
    }
}
