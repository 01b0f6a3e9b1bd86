//! The calls that Velero makes.

use super::HostError;
use crate::item_id::ItemId;
use crate::kind::Kind;
use crate::progress::Progress;
use crate::proto::{generated, health, v1, v2};
use crate::selector::Selector;
use serde_json::Value;
use std::time::Duration;
use tonic::transport::Channel;

/// Calls a running plug-in; clones share its connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) channel: Channel,
}

/// One line of a plug-in's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What to start it by.
    pub command: String,
    /// Its kind on the wire.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What a backup item action answered.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupAnswer {
    /// The item to store.
    pub item: Value,
    /// What to store with it.
    pub additional_items: Vec<ItemId>,
    /// Empty if no operation has begun.
    pub operation_id: String,
    /// What to store after the operation.
    pub post_operation_items: Vec<ItemId>,
}

/// What a restore item action answered.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreAnswer {
    /// The item to create.
    pub item: Value,
    /// What to restore first.
    pub additional_items: Vec<ItemId>,
    /// Whether to leave the item out.
    pub skip: bool,
    /// Empty if no operation has begun.
    pub operation_id: String,
    /// How long to wait for the additional items: `None` not at all, a duration of zero for Velero's own limit.
    pub wait_for_items: Option<Duration>,
}

/// The gRPC client of a service, without a limit for messages.
macro_rules! client {
    ($self:ident, $($path:ident)::+) => {
        $($path)::+::new($self.channel.clone()).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    };
}

impl Client {
    /// What it serves.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn list(&self) -> Result<Vec<Listed>, HostError> {
        let mut client = generated::plugin_lister_client::PluginListerClient::new(self.channel.clone());
        let answer = client.list_plugins(generated::Empty {}).await?.into_inner();
        let listed = |p: generated::PluginIdentifier| Listed { command: p.command, kind: p.kind, name: p.name };
        Ok(answer.plugins.into_iter().map(listed).collect())
    }

    /// Whether the health service calls `service` serving.
    ///
    /// # Errors
    /// If the call fails, as it does for an unknown service.
    pub async fn healthy(&self, service: &str) -> Result<bool, HostError> {
        let mut client = health::health_client::HealthClient::new(self.channel.clone());
        let answer = client.check(health::HealthCheckRequest { service: service.to_owned() }).await?.into_inner();
        Ok(answer.status() == health::health_check_response::ServingStatus::Serving)
    }

    /// What the action `name` of this kind wants to see.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn applies_to(&self, kind: Kind, name: &str) -> Result<Selector, HostError> {
        let plugin = name.to_owned();
        let selector = match kind {
            Kind::BackupItemAction => {
                let request = generated::BackupItemActionAppliesToRequest { plugin };
                self.backup_v1().applies_to(request).await?.into_inner().resource_selector
            }
            Kind::BackupItemActionV2 => {
                let request = v2::BackupItemActionAppliesToRequest { plugin };
                self.backup().applies_to(request).await?.into_inner().resource_selector
            }
            Kind::RestoreItemAction => {
                let request = generated::RestoreItemActionAppliesToRequest { plugin };
                self.restore_v1().applies_to(request).await?.into_inner().resource_selector
            }
            Kind::RestoreItemActionV2 => {
                let request = v2::RestoreItemActionAppliesToRequest { plugin };
                self.restore().applies_to(request).await?.into_inner().resource_selector
            }
            Kind::DeleteItemAction => {
                let request = generated::DeleteItemActionAppliesToRequest { plugin };
                self.delete().applies_to(request).await?.into_inner().resource_selector
            }
            Kind::ItemBlockAction => {
                let request = v1::ItemBlockActionAppliesToRequest { plugin };
                self.item_block().applies_to(request).await?.into_inner().resource_selector
            }
        };
        // Without one Velero takes the action to apply to everything.
        Ok(selector.unwrap_or_default().into())
    }

    /// What the backup item action `name` wants to see.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn backup_applies_to(&self, name: &str) -> Result<Selector, HostError> {
        self.applies_to(Kind::BackupItemActionV2, name).await
    }

    /// What the restore item action `name` wants to see.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn restore_applies_to(&self, name: &str) -> Result<Selector, HostError> {
        self.applies_to(Kind::RestoreItemActionV2, name).await
    }

    /// Runs the backup item action `name` on `item`.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn execute_backup(&self, name: &str, item: &Value, backup: &Value) -> Result<BackupAnswer, HostError> {
        let request = v2::ExecuteRequest { plugin: name.to_owned(), item: json(item)?, backup: json(backup)? };
        let answer = self.backup().execute(request).await?.into_inner();
        Ok(BackupAnswer {
            item: object(&answer.item)?,
            additional_items: ids(answer.additional_items),
            operation_id: answer.operation_id,
            post_operation_items: ids(answer.post_operation_items),
        })
    }

    /// How far the operation is that the backup item action `name` has begun.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn backup_progress(&self, name: &str, operation: &str, backup: &Value) -> Result<Progress, HostError> {
        let request = v2::BackupItemActionProgressRequest {
            plugin: name.to_owned(),
            operation_id: operation.to_owned(),
            backup: json(backup)?,
        };
        let answer = self.backup().progress(request).await?.into_inner();
        answer.progress.map(Into::into).ok_or(HostError::Missing("progress"))
    }

    /// Stops the operation that the backup item action `name` has begun.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn cancel_backup(&self, name: &str, operation: &str, backup: &Value) -> Result<(), HostError> {
        let request = v2::BackupItemActionCancelRequest {
            plugin: name.to_owned(),
            operation_id: operation.to_owned(),
            backup: json(backup)?,
        };
        Ok(self.backup().cancel(request).await.map(drop)?)
    }

    /// Runs the restore item action `name` on `item`, which is `item_from_backup` in the backup.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn execute_restore(
        &self,
        name: &str,
        item: &Value,
        item_from_backup: &Value,
        restore: &Value,
    ) -> Result<RestoreAnswer, HostError> {
        let request = v2::RestoreItemActionExecuteRequest {
            plugin: name.to_owned(),
            item: json(item)?,
            restore: json(restore)?,
            item_from_backup: json(item_from_backup)?,
        };
        let answer = self.restore().execute(request).await?.into_inner();
        let limit = answer.additional_items_ready_timeout.and_then(|limit| limit.try_into().ok()).unwrap_or_default();
        Ok(RestoreAnswer {
            item: object(&answer.item)?,
            additional_items: ids(answer.additional_items),
            skip: answer.skip_restore,
            operation_id: answer.operation_id,
            wait_for_items: answer.wait_for_additional_items.then_some(limit),
        })
    }

    /// How far the operation is that the restore item action `name` has begun.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn restore_progress(&self, name: &str, operation: &str, restore: &Value) -> Result<Progress, HostError> {
        let request = v2::RestoreItemActionProgressRequest {
            plugin: name.to_owned(),
            operation_id: operation.to_owned(),
            restore: json(restore)?,
        };
        let answer = self.restore().progress(request).await?.into_inner();
        answer.progress.map(Into::into).ok_or(HostError::Missing("progress"))
    }

    /// Stops the operation that the restore item action `name` has begun.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn cancel_restore(&self, name: &str, operation: &str, restore: &Value) -> Result<(), HostError> {
        let request = v2::RestoreItemActionCancelRequest {
            plugin: name.to_owned(),
            operation_id: operation.to_owned(),
            restore: json(restore)?,
        };
        Ok(self.restore().cancel(request).await.map(drop)?)
    }

    /// Whether the items that the restore item action `name` waits for are ready.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn items_ready(&self, name: &str, items: &[ItemId], restore: &Value) -> Result<bool, HostError> {
        let request = v2::RestoreItemActionItemsReadyRequest {
            plugin: name.to_owned(),
            restore: json(restore)?,
            additional_items: items.iter().cloned().map(Into::into).collect(),
        };
        Ok(self.restore().are_additional_items_ready(request).await?.into_inner().ready)
    }

    /// Runs the backup item action `name` of the first form on `item`.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn execute_backup_v1(&self, name: &str, item: &Value, backup: &Value) -> Result<BackupAnswer, HostError> {
        let request = generated::ExecuteRequest { plugin: name.to_owned(), item: json(item)?, backup: json(backup)? };
        let answer = self.backup_v1().execute(request).await?.into_inner();
        Ok(BackupAnswer {
            item: object(&answer.item)?,
            additional_items: ids(answer.additional_items),
            operation_id: String::new(),
            post_operation_items: Vec::new(),
        })
    }

    /// Runs the restore item action `name` of the first form on `item`, which is `item_from_backup` in the backup.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn execute_restore_v1(
        &self,
        name: &str,
        item: &Value,
        item_from_backup: &Value,
        restore: &Value,
    ) -> Result<RestoreAnswer, HostError> {
        let request = generated::RestoreItemActionExecuteRequest {
            plugin: name.to_owned(),
            item: json(item)?,
            restore: json(restore)?,
            item_from_backup: json(item_from_backup)?,
        };
        let answer = self.restore_v1().execute(request).await?.into_inner();
        Ok(RestoreAnswer {
            item: object(&answer.item)?,
            additional_items: ids(answer.additional_items),
            skip: answer.skip_restore,
            operation_id: String::new(),
            wait_for_items: None,
        })
    }

    /// Runs the delete item action `name` on `item`.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn execute_delete(&self, name: &str, item: &Value, backup: &Value) -> Result<(), HostError> {
        let request = generated::DeleteItemActionExecuteRequest {
            plugin: name.to_owned(),
            item: json(item)?,
            backup: json(backup)?,
        };
        Ok(self.delete().execute(request).await.map(drop)?)
    }

    /// What the item block action `name` wants in one block with `item`.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn related_items(&self, name: &str, item: &Value, backup: &Value) -> Result<Vec<ItemId>, HostError> {
        let request = v1::ItemBlockActionGetRelatedItemsRequest {
            plugin: name.to_owned(),
            item: json(item)?,
            backup: json(backup)?,
        };
        Ok(ids(self.item_block().get_related_items(request).await?.into_inner().related_items))
    }

    fn backup(&self) -> v2::backup_item_action_client::BackupItemActionClient<Channel> {
        client!(self, v2::backup_item_action_client::BackupItemActionClient)
    }

    fn restore(&self) -> v2::restore_item_action_client::RestoreItemActionClient<Channel> {
        client!(self, v2::restore_item_action_client::RestoreItemActionClient)
    }

    fn backup_v1(&self) -> generated::backup_item_action_client::BackupItemActionClient<Channel> {
        client!(self, generated::backup_item_action_client::BackupItemActionClient)
    }

    fn restore_v1(&self) -> generated::restore_item_action_client::RestoreItemActionClient<Channel> {
        client!(self, generated::restore_item_action_client::RestoreItemActionClient)
    }

    fn delete(&self) -> generated::delete_item_action_client::DeleteItemActionClient<Channel> {
        client!(self, generated::delete_item_action_client::DeleteItemActionClient)
    }

    fn item_block(&self) -> v1::item_block_action_client::ItemBlockActionClient<Channel> {
        client!(self, v1::item_block_action_client::ItemBlockActionClient)
    }
}

fn json(object: &Value) -> Result<Vec<u8>, HostError> {
    Ok(serde_json::to_vec(object)?)
}

/// An item in an answer: Velero takes nothing but an object with a kind.
fn object(json: &[u8]) -> Result<Value, HostError> {
    let object: Value = serde_json::from_slice(json)?;
    if object["kind"].as_str().is_none_or(str::is_empty) {
        return Err(HostError::Missing("item with a kind"));
    }
    Ok(object)
}

fn ids(ids: Vec<generated::ResourceIdentifier>) -> Vec<ItemId> {
    ids.into_iter().map(Into::into).collect()
}
