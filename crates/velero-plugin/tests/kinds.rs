//! Every kind of action, by a real child process over its real socket.

#![allow(clippy::unwrap_used)] // Helpers of tests, not only tests.

mod common;

use common::{SPECIMEN, backup, logged, refused, start};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tonic::Code;
use velero_plugin::harness::{self, Host};
use velero_plugin::{ItemId, Kind, Progress};

fn restore() -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": {"name": "r1"},
        "spec": {"namespaceMapping": {"shop": "shop-dr"}},
    })
}

async fn offered(host: &Host, kind: Kind) -> Vec<String> {
    let listed = host.list().await.unwrap();
    listed.into_iter().filter(|l| l.kind == kind.as_str()).map(|l| l.name).collect()
}

#[tokio::test]
async fn lists_every_action_with_the_command_that_started_it() {
    let host = start().await;
    let listed = host.list().await.unwrap();
    assert_eq!(listed.len(), 17, "{listed:?}");
    assert!(listed.iter().all(|plugin| plugin.command == SPECIMEN));
    for (kind, name) in [
        (Kind::BackupItemActionV2, "example.io/echo"),
        (Kind::RestoreItemActionV2, "example.io/restoring"),
        (Kind::BackupItemAction, "example.io/first"),
        (Kind::RestoreItemAction, "example.io/first"),
        (Kind::DeleteItemAction, "example.io/deleting"),
        (Kind::ItemBlockAction, "example.io/blocks"),
    ] {
        assert!(offered(&host, kind).await.iter().any(|of| of == name), "{kind} {name}");
    }
}

/// A host that cannot call item block actions is one without their method's path in its program, as this shell is. (This test
/// has it: it calls one below.)
#[tokio::test]
async fn item_block_actions_are_not_offered_to_who_does_not_know_them() {
    let script = r#""$0" "$@"; exit $?"#;
    let host = Host::start_command(harness::command("/bin/sh".as_ref(), ["-c", script, SPECIMEN])).await.unwrap();
    assert_eq!(offered(&host, Kind::ItemBlockAction).await, [""; 0]);
    assert_eq!(host.list().await.unwrap().len(), 16, "all others are");
    let line = logged(&host, "not offered").await;
    assert_eq!(line["@level"], "info");
    assert!(line["@message"].as_str().unwrap().contains("example.io/blocks (Velero knows it from 1.15 on)"), "{line}");
    let (status, _) = host.shutdown().await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn every_kind_says_what_it_applies_to() {
    let host = start().await;
    for (kind, name, resource) in [
        (Kind::BackupItemAction, "example.io/first", "pods"),
        (Kind::RestoreItemAction, "example.io/first", "pods"),
        (Kind::BackupItemActionV2, "example.io/operating", "volumesnapshots.snapshot.storage.k8s.io"),
        (Kind::RestoreItemActionV2, "example.io/operating", "persistentvolumeclaims"),
        (Kind::DeleteItemAction, "example.io/deleting", "persistentvolumeclaims"),
        (Kind::ItemBlockAction, "example.io/blocks", "virtualmachines.kubevirt.io"),
    ] {
        assert_eq!(host.applies_to(kind, name).await.unwrap().included_resources, [resource], "{kind}");
        let error = refused(host.applies_to(kind, "example.io/nobody").await);
        assert_eq!(error.code, Code::NotFound);
        assert!(error.message.contains(kind.as_str()) && error.message.contains(name), "{}", error.message);
    }
}

#[tokio::test]
async fn the_first_forms_change_bring_and_leave_out() {
    let host = start().await;
    let pod =
        json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}, "unknown": {"deep": [null, 1e300]}});
    let answer = host.execute_backup_v1("example.io/first", &pod, &backup()).await.unwrap();
    let mut expected = pod.clone();
    expected["by"] = "b1".into();
    assert_eq!((answer.item, answer.additional_items), (expected, vec![ItemId::core("secrets", "shop", "key")]));

    let answer = host.execute_restore_v1("example.io/first", &pod, &pod, &restore()).await.unwrap();
    assert_eq!((&answer.item["goes-to"], answer.skip), (&json!("shop-dr"), false));
    let failed = json!({"kind": "Pod", "status": {"phase": "Failed"}});
    let answer = host.execute_restore_v1("example.io/first", &pod, &failed, &restore()).await.unwrap();
    assert_eq!((answer.item, answer.skip), (pod, true));
}

#[tokio::test]
async fn deletions_are_seen_and_fail_alone() {
    let host = start().await;
    let claim = |name: &str| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop"}});
    host.execute_delete("example.io/deleting", &claim("db"), &backup()).await.unwrap();
    let line = logged(&host, "deleted").await;
    assert_eq!((&line["of"], &line["name"], &line["namespace"]), (&json!("b1"), &json!("db"), &json!("shop")));
    let error = refused(host.execute_delete("example.io/deleting", &claim("stuck"), &backup()).await);
    assert_eq!((error.code, &*error.message), (Code::Unknown, "PVC shop/stuck is in use"));
    assert_eq!(error.to_string(), "rpc error: code = Unknown desc = PVC shop/stuck is in use");
    let error = refused(host.execute_delete("example.io/deleting", &claim("panic"), &backup()).await);
    assert_eq!(error.code, Code::Aborted);
    host.execute_delete("example.io/deleting", &claim("db"), &backup()).await.unwrap();
}

#[tokio::test]
async fn item_blocks_are_named() {
    let host = start().await;
    let vm = json!({
        "kind": "VirtualMachine", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"template": {"spec": {"volumes": [
            {"persistentVolumeClaim": {"claimName": "root"}}, {"cloudInitNoCloud": {}}, {"persistentVolumeClaim": {"claimName": "data"}},
        ]}}},
    });
    let related = host.related_items("example.io/blocks", &vm, &backup()).await.unwrap();
    assert_eq!(related, ["root", "data"].map(|claim| ItemId::core("persistentvolumeclaims", "shop", claim)));
    let none = host.related_items("example.io/blocks", &json!({"kind": "VirtualMachine"}), &backup()).await.unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn operations_begin_get_on_end_and_are_stopped() {
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let half = Progress::running(5, 10, "bytes").doing("copying").at(began, began + Duration::from_secs(7));
    let host = start().await;
    let name = "example.io/operating";
    let snapshot = json!({"kind": "VolumeSnapshot", "metadata": {"name": "half"}});
    let answer = host.execute_backup(name, &snapshot, &backup()).await.unwrap();
    assert_eq!((&*answer.operation_id, &*answer.post_operation_items[0].name), ("half", "half"));
    let answer = host.execute_restore(name, &snapshot, &snapshot, &restore()).await.unwrap();
    assert_eq!((&*answer.operation_id, answer.wait_for_items), ("half", Some(Duration::from_millis(1500))));
    for ready in [false, true] {
        let items = [ItemId::core("secrets", "shop", if ready { "ready" } else { "late" })];
        assert_eq!(host.items_ready(name, &items, &restore()).await.unwrap(), ready);
    }
    // Velero asks a new process.
    host.shutdown().await.unwrap();
    let host = start().await;
    let (b, r) = (backup(), restore());
    for (id, expected) in
        [("half", half), ("done", Progress::completed()), ("failed", Progress::failed("the disk is full"))]
    {
        assert_eq!(host.backup_progress(name, id, &b).await.unwrap(), expected);
        assert_eq!(host.restore_progress(name, id, &r).await.unwrap(), expected);
    }
    for (id, code) in [("lost", Code::Unknown), ("panic", Code::Aborted)] {
        assert_eq!(refused(host.backup_progress(name, id, &b).await).code, code);
        assert_eq!(refused(host.restore_progress(name, id, &r).await).code, code);
    }
    host.cancel_backup(name, "one", &b).await.unwrap();
    host.cancel_restore(name, "two", &r).await.unwrap();
    assert_eq!(logged(&host, "stopped one").await["by"], "b1");
    assert_eq!(logged(&host, "stopped two").await["by"], "r1");
    for error in [
        refused(host.cancel_backup(name, "forever", &b).await),
        refused(host.cancel_restore(name, "forever", &r).await),
    ] {
        assert_eq!(error.message, "it cannot be stopped");
    }
    // An action that has none.
    let error = refused(host.backup_progress("example.io/echo", "x", &b).await);
    assert!(error.message.contains("no asynchronous operations"), "{}", error.message);
    host.cancel_backup("example.io/echo", "x", &b).await.unwrap();
}

#[tokio::test]
async fn what_velero_panics_on_after_an_operation_never_leaves() {
    let host = start().await;
    for resource in ["pods", "persistentvolumes", "persistentvolumeclaims"] {
        let item = json!({"kind": "VolumeSnapshot", "metadata": {"name": "s", "labels": {"after": resource}}});
        let error = refused(host.execute_backup("example.io/operating", &item, &backup()).await);
        assert!(error.message.contains("Velero panics"), "{}", error.message);
    }
}
