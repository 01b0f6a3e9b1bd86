//! The calls that Velero makes.

use super::HostError;
use crate::item_id::ItemId;
use crate::proto::{generated, health, v2};
use crate::selector::Selector;
use serde_json::Value;
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

    /// What the backup item action `name` wants to see.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn backup_applies_to(&self, name: &str) -> Result<Selector, HostError> {
        let request = v2::BackupItemActionAppliesToRequest { plugin: name.to_owned() };
        let answer = self.backup().applies_to(request).await?.into_inner();
        Ok(answer.resource_selector.unwrap_or_default().into())
    }

    /// What the restore item action `name` wants to see.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn restore_applies_to(&self, name: &str) -> Result<Selector, HostError> {
        let request = v2::RestoreItemActionAppliesToRequest { plugin: name.to_owned() };
        let answer = self.restore().applies_to(request).await?.into_inner();
        Ok(answer.resource_selector.unwrap_or_default().into())
    }

    /// Runs the backup item action `name` on `item`.
    ///
    /// # Errors
    /// If the action fails.
    pub async fn execute_backup(&self, name: &str, item: &Value, backup: &Value) -> Result<BackupAnswer, HostError> {
        let request = v2::ExecuteRequest {
            plugin: name.to_owned(),
            item: serde_json::to_vec(item)?,
            backup: serde_json::to_vec(backup)?,
        };
        let answer = self.backup().execute(request).await?.into_inner();
        Ok(BackupAnswer {
            item: serde_json::from_slice(&answer.item)?,
            additional_items: answer.additional_items.into_iter().map(Into::into).collect(),
            operation_id: answer.operation_id,
            post_operation_items: answer.post_operation_items.into_iter().map(Into::into).collect(),
        })
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
            item: serde_json::to_vec(item)?,
            restore: serde_json::to_vec(restore)?,
            item_from_backup: serde_json::to_vec(item_from_backup)?,
        };
        let answer = self.restore().execute(request).await?.into_inner();
        Ok(RestoreAnswer {
            item: serde_json::from_slice(&answer.item)?,
            additional_items: answer.additional_items.into_iter().map(Into::into).collect(),
            skip: answer.skip_restore,
            operation_id: answer.operation_id,
        })
    }

    fn backup(&self) -> v2::backup_item_action_client::BackupItemActionClient<Channel> {
        v2::backup_item_action_client::BackupItemActionClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    fn restore(&self) -> v2::restore_item_action_client::RestoreItemActionClient<Channel> {
        v2::restore_item_action_client::RestoreItemActionClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }
}
