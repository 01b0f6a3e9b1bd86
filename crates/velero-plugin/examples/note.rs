//! A whole plug-in, with its test.

use serde_json::Value;
use std::process::ExitCode;
use velero_plugin::{
    ActionError, BackupItemAction, BackupOutput, ItemId, ObjectExt as _, Selector, Server, async_trait,
};

/// Notes on each ConfigMap which backup it is in, and brings the Secret along that it names.
struct Note;

#[async_trait]
impl BackupItemAction for Note {
    fn applies_to(&self) -> Selector {
        Selector::resources(["configmaps"])
    }

    async fn execute(&self, mut item: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        if item.annotation("example.io/final").is_some() {
            return Err(ActionError::new(format!("{} is final; exclude it from the backup", item.title())));
        }
        item.set_annotation("example.io/in", backup.name());
        tracing::info!(backup = backup.name(), "noted");
        let secret = item.text("/data/secret").map(|name| ItemId::core("secrets", item.namespace(), name));
        Ok(BackupOutput::changed(item).with_items(secret))
    }
}

fn server() -> Server {
    Server::new().backup_item_action("example.io/note", Note)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    server().serve().await
}

#[cfg(test)]
#[tokio::test]
async fn notes_and_brings() -> Result<(), velero_plugin::harness::HostError> {
    let plugin = velero_plugin::harness::Harness::start(server()).await?;
    let backup = serde_json::json!({"kind": "Backup", "metadata": {"name": "nightly"}});
    let mut item = serde_json::json!({
        "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "db"}, "data": {"secret": "key"}, "unknown": 1
    });
    let answer = plugin.execute_backup("example.io/note", &item, &backup).await?;
    assert_eq!(answer.item.annotation("example.io/in"), Some("nightly"));
    assert_eq!(answer.item["unknown"], 1);
    assert_eq!(answer.additional_items, [ItemId::core("secrets", "shop", "key")]);

    item.set_annotation("example.io/final", "true");
    let error = plugin.execute_backup("example.io/note", &item, &backup).await.unwrap_err();
    assert!(error.to_string().contains("ConfigMap shop/db is final"));
    Ok(())
}
