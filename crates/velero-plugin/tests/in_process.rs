//! A plug-in in the test's own process.

#![allow(clippy::unwrap_used)] // Helpers of tests, not only tests.

use serde_json::{Value, json};
use std::time::Duration;
use tonic::Code;
use velero_plugin::harness::{Harness, HostError};
use velero_plugin::{
    ActionError, BackupItemAction, BackupOutput, ItemBlockAction, ItemId, Selector, Server, async_trait,
};

/// Panics, hangs, or keeps its thread to itself, as the item's name says.
struct Moody;

#[async_trait]
impl BackupItemAction for Moody {
    fn applies_to(&self) -> Selector {
        panic!("no selector");
    }

    async fn execute(&self, item: Value, _: &Value) -> Result<BackupOutput, ActionError> {
        match item["metadata"]["name"].as_str() {
            Some("panic") => panic!("not today"),
            Some("hang") => std::future::pending().await,
            _ => Ok(BackupOutput::unchanged()),
        }
    }
}

#[async_trait]
impl ItemBlockAction for Moody {
    fn applies_to(&self) -> Selector {
        Selector::default()
    }

    async fn related_items(&self, _: &Value, _: &Value) -> Result<Vec<ItemId>, ActionError> {
        Ok(Vec::new())
    }
}

fn server() -> Server {
    Server::new().backup_item_action("example.io/moody", Moody).item_block_action("example.io/moody", Moody)
}

fn item(name: &str) -> Value {
    json!({"kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test]
async fn a_panic_is_its_call_s_error_wherever_it_happens() {
    let harness = Harness::start(server()).await.unwrap();
    let execute = harness.execute_backup("example.io/moody", &item("panic"), &json!({})).await.unwrap_err();
    let applies = harness.backup_applies_to("example.io/moody").await.unwrap_err();
    for (error, text) in [(execute, "not today"), (applies, "no selector")] {
        let HostError::Refused(refused) = error else { panic!("{error}") };
        assert_eq!((refused.code, refused.message), (Code::Aborted, format!("the plug-in panicked: {text}")));
    }
    harness.execute_backup("example.io/moody", &item("a"), &json!({})).await.unwrap();
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let harness = Harness::start(server()).await.unwrap();
    let client = harness.clone();
    let hanging =
        tokio::spawn(async move { client.execute_backup("example.io/moody", &item("hang"), &json!({})).await });
    let calls = (0..64).map(|n| {
        let client = harness.clone();
        async move { client.execute_backup("example.io/moody", &item(&n.to_string()), &json!({})).await }
    });
    for (n, answer) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().item["metadata"]["name"], n.to_string());
    }
    assert!(!hanging.is_finished());
    // The plug-in's end is the call's.
    drop(harness);
    let ended = tokio::time::timeout(Duration::from_secs(5), hanging).await.expect("it has to end").unwrap();
    assert!(ended.is_err());
}

#[tokio::test]
async fn an_older_velero_can_be_played() {
    let kinds = |listed: Vec<velero_plugin::harness::Listed>| listed.into_iter().map(|l| l.kind).collect::<Vec<_>>();
    let today = Harness::start(server()).await.unwrap().list().await.unwrap();
    assert_eq!(kinds(today), ["BackupItemActionV2", "ItemBlockAction"]);
    let older = Harness::start_before_item_blocks(server()).await.unwrap().list().await.unwrap();
    assert_eq!(kinds(older), ["BackupItemActionV2"]);
}

#[tokio::test]
async fn what_velero_would_not_take_is_told_at_the_start() {
    for (server, text) in [
        (Server::new(), "no action"),
        (Server::new().backup_item_action("moody", Moody), "no '/'"),
        (server().backup_item_action("example.io/moody", Moody), "twice"),
    ] {
        let error = Harness::start(server).await.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
