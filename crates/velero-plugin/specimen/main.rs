//! A plug-in with one action for each thing that can happen in a call. The contract tests talk to it.

mod others;

use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use velero_plugin::{BackupItemAction, BackupOutput, ItemId, Selector, Server, async_trait};

use others::{Blocks, Deleting, First, Operating, Restoring};
use velero_plugin::ActionError;

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
    HostileLog,
    Die,
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
            Self::HostileLog => {
                hostile_log();
                Ok(BackupOutput::unchanged())
            }
            Self::Die => std::process::exit(3),
        }
    }
}

/// All that a careless action, or a library below it, may write.
fn hostile_log() {
    // Escapes of a terminal, ends of lines of every sort, a byte order mark, the other direction, not a character.
    tracing::info!(
        name = "\0\u{7f}\u{1b}[2J",
        text = "a\nb\r\nc\u{2028}\u{2029}\u{85}d",
        "\u{feff}\u{202e}\"\\{{}}\n\u{ffff}"
    );
    tracing::info!(namespace = ?None::<()>, name = true, resource = 1.5, error = %"e", time = 1, level = 2, "odd fields");
    tracing::info!(other = "x".repeat(10 << 20), "{}", "ü\"\n".repeat(1 << 20));
    // Past the log, straight to stderr: what Velero would panic on, no text, and a line without an end.
    let stderr = std::io::stderr();
    let mut stderr = stderr.lock();
    let _ = stderr.write_all(b"{\"@level\":\"error\",\"@message\":7}\n");
    let _ = stderr.write_all(b"{\"@level\":\"warn\",\"@message\":\"m\",\"name\":null}\n");
    let _ = stderr.write_all(b"\xff\xfe\xc3( not text\n");
    let _ = stderr.write_all(&[b'z'; 200_000]);
    let _ = stderr.write_all(b"\nthe end\n");
    drop(stderr);
    tracing::info!("still here");
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
        .backup_item_action("example.io/hostile-log", Specimen::HostileLog)
        .backup_item_action("example.io/die", Specimen::Die)
        .backup_item_action("example.io/operating", Operating)
        .restore_item_action("example.io/operating", Operating)
        .restore_item_action("example.io/restoring", Restoring)
        .backup_item_action_v1("example.io/first", First)
        .restore_item_action_v1("example.io/first", First)
        .delete_item_action("example.io/deleting", Deleting)
        .item_block_action("example.io/blocks", Blocks)
        .serve()
        .await
}
