//! A plug-in with one action for each thing that can happen in a call. The contract tests talk to it.

use serde_json::{Value, json};
use std::process::ExitCode;
use velero_plugin::{
    ActionError, BackupItemAction, BackupOutput, ItemId, RestoreInput, RestoreItemAction, RestoreOutput, Selector,
    Server, async_trait,
};

/// What to do with an item.
enum Specimen {
    Echo,
    Annotate,
    Fail,
    Panic,
    Hang,
    Block,
    DropKind,
    Log,
}

#[async_trait]
impl BackupItemAction for Specimen {
    fn applies_to(&self) -> Selector {
        Selector::resources(["configmaps", "persistentvolumes"]).labelled("app=shop")
    }

    async fn execute(&self, mut item: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        match self {
            Self::Echo => Ok(BackupOutput::unchanged()),
            Self::Annotate => {
                item["metadata"]["annotations"]["example.io/backup"] = backup["metadata"]["name"].clone();
                let also = ItemId::core("persistentvolumeclaims", "shop", "db-data");
                Ok(BackupOutput::changed(item).with_items([also]))
            }
            Self::Fail => {
                let number: i32 = "seven".parse()?;
                Ok(BackupOutput::changed(json!(number)))
            }
            Self::Panic => panic!("specimen {} fell over", item["metadata"]["name"]),
            Self::Hang => {
                tracing::info!("begun");
                std::future::pending().await
            }
            Self::Block => {
                tracing::info!("begun");
                loop {
                    std::thread::park();
                }
            }
            Self::DropKind => Ok(BackupOutput::changed(json!({"metadata": {}}))),
            Self::Log => {
                tracing::debug!("too fine");
                tracing::info!(name = 1, resource = ?Some("x"), "seen {}", "it");
                println!("stdout is the host's: this must not matter");
                Ok(BackupOutput::unchanged())
            }
        }
    }
}

/// Leaves out what is labelled so, and brings a Secret with the rest.
struct Restoring;

#[async_trait]
impl RestoreItemAction for Restoring {
    fn applies_to(&self) -> Selector {
        Selector::resources(["virtualmachines.kubevirt.io"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let RestoreInput { mut item, item_from_backup, restore } = input;
        if item["metadata"]["labels"]["leave"] == "out" {
            return Ok(RestoreOutput::skip());
        }
        item["spec"]["was"] = item_from_backup["status"]["phase"].clone();
        item["spec"]["by"] = restore["metadata"]["name"].clone();
        Ok(RestoreOutput::changed(item).with_items([ItemId::core("secrets", "shop", "key")]))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    Server::new()
        .backup_item_action("example.io/echo", Specimen::Echo)
        .backup_item_action("example.io/annotate", Specimen::Annotate)
        .backup_item_action("example.io/fail", Specimen::Fail)
        .backup_item_action("example.io/panic", Specimen::Panic)
        .backup_item_action("example.io/hang", Specimen::Hang)
        .backup_item_action("example.io/block", Specimen::Block)
        .backup_item_action("example.io/drop-kind", Specimen::DropKind)
        .backup_item_action("example.io/log", Specimen::Log)
        .restore_item_action("example.io/restoring", Restoring)
        .serve()
        .await
}
