use super::*;
use crate::played::Played;
use crate::promoter::Promoter;
use leeward_model::keys::PROMOTE;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const DRIVER: &str = "nfs.csi.k8s.io";

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": name},
        "spec": {"storageClassName": "nfs-csi", "resources": {"requests": {"storage": "1Gi"}}, "volumeName": format!("pv-{name}")},
        "status": {"phase": "Bound"}
    })
}

fn cluster_with(claims: &[&str]) -> Arc<Played> {
    let played = Played::new(claims.iter().map(|c| claim(c)).collect(), Vec::new());
    for name in claims {
        let pv = json!({"metadata": {"name": format!("pv-{name}")}, "spec": {"csi": {"driver": DRIVER, "volumeHandle": name}}});
        played.add("persistentvolumes", pv);
    }
    played.add("volumesnapshotclasses", json!({"metadata": {"name": "quick"}, "driver": DRIVER}));
    Arc::new(played)
}

fn promote(played: &Arc<Played>, name: &str, policy: &str) -> JoinHandle<Result<Option<Value>, String>> {
    let (promoter, claim) = (Promoter::new(played.cluster()), claim(name));
    let backup = json!({
        "metadata": {"namespace": "velero", "name": "b", "uid": "u", "annotations": {
            PROMOTE: policy, leeward_model::keys::RECOVERY_POINT: "rp-1", "leeward.io/promotion-deadline-seconds": "30"
        }},
        "spec": {"includedNamespaces": ["shop"]}
    });
    tokio::spawn(async move {
        let promoted = promoter.promoted(&claim, &backup).await;
        // As Velero shows it: with its causes.
        promoted.map(|p| p.map(|p| p.claim.clone())).map_err(|e| velero_plugin::ActionError::from(e).to_string())
    })
}

async fn settled() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn all_snapshots_are_taken_at_once_and_promoted_when_they_are_ready() {
    let played = cluster_with(&["a", "b"]);
    let call = promote(&played, "a", "take-now");
    settled().await;
    assert_eq!(played.names("volumesnapshots"), ["a-rp-1", "b-rp-1"]);
    let taken = played.object("volumesnapshots", "a-rp-1").unwrap();
    assert_eq!(
        taken["spec"],
        json!({"volumeSnapshotClassName": "quick", "source": {"persistentVolumeClaimName": "a"}})
    );
    assert_eq!(taken["metadata"]["labels"][crate::selection::EXCLUDED], "true", "no backup may take it along");
    assert_eq!(played.names("persistentvolumeclaims"), ["a", "b"], "not before it is ready");

    // Killed and started again: it finds what it had begun.
    call.abort();
    let call = promote(&played, "a", "take-now");
    settled().await;
    played.set("volumesnapshots", "a-rp-1", |s| s["status"] = json!({"readyToUse": true, "restoreSize": "2Gi"}));
    settled().await;
    let made = played.object("persistentvolumeclaims", "a-rp-1").unwrap();
    assert_eq!(made["spec"]["resources"]["requests"]["storage"], "2Gi", "a ready snapshot knows its size");
    played.set("persistentvolumeclaims", "a-rp-1", |c| c["status"] = json!({"phase": "Bound"}));
    assert_eq!(call.await.unwrap().unwrap().unwrap()["metadata"]["name"], "a-rp-1");
    assert_eq!(played.names("volumesnapshots").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_told_with_the_snapshotter_s_own_reason() {
    let played = cluster_with(&["a"]);
    let call = promote(&played, "a", "take-now");
    settled().await;
    // Not the end: the snapshotter tries again.
    played.set("volumesnapshots", "a-rp-1", |s| {
        s["status"] = json!({"readyToUse": false, "error": {"message": "pool is full"}})
    });
    let text = call.await.unwrap().unwrap_err();
    for part in ["shop/a-rp-1", "shop/a ", "30 s", "pool is full", "LW-0629"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }

    let played = cluster_with(&["a"]);
    played.set("persistentvolumes", "pv-a", |pv| pv["spec"] = json!({"nfs": {}}));
    let text = promote(&played, "a", "take-now").await.unwrap().unwrap_err();
    assert!(text.contains("shop/a") && text.contains("pv-a") && text.contains("LW-0626"), "{text}");

    let played = cluster_with(&["a"]);
    played.add("volumesnapshots", json!({"metadata": {"namespace": "shop", "name": "a-rp-1"}}));
    let text = promote(&played, "a", "take-now").await.unwrap().unwrap_err();
    assert!(text.contains("shop/a-rp-1") && text.contains("LW-0628"), "{text}");
}

#[test]
fn a_guest_that_was_not_frozen_is_told() {
    let of = |indications: Value| unfrozen(&json!({"status": {"indications": indications}}));
    assert_eq!(of(json!(["Online", "GuestAgent"])), None);
    assert_eq!(of(Value::Null), None, "a machine that is off needs no freezing");
    assert!(of(json!(["Online", "NoGuestAgent"])).unwrap().contains("no agent"));
    for failed in ["QuiesceTimeout", "QuiesceFailed"] {
        assert!(of(json!(["Online", "GuestAgent", failed])).unwrap().contains("could not be frozen"));
    }
    assert!(of(json!(["Online", "Paused"])).unwrap().contains("paused"), "KubeVirt does not ask the agent then");
}

#[test]
fn the_class_is_the_marked_one_the_default_or_the_only_one() {
    let class = |name: &str, driver: &str| json!({"metadata": {"name": name}, "driver": driver});
    let mut classes = vec![class("a", DRIVER), class("x", "other")];
    assert_eq!(pick(&classes, DRIVER), Ok("a"));
    classes.push(class("b", DRIVER));
    assert!(pick(&classes, DRIVER).unwrap_err().contains("a, b"));
    classes[2]["metadata"]["annotations"] = json!({DEFAULT_CLASS: "true"});
    assert_eq!(pick(&classes, DRIVER), Ok("b"));
    classes[0]["metadata"]["labels"] = json!({VELERO_CLASS: "true"});
    assert_eq!(pick(&classes, DRIVER), Ok("a"));
    assert!(pick(&classes, "third").unwrap_err().contains("no VolumeSnapshotClass"));
}

#[tokio::test(start_paused = true)]
async fn frozen_a_machine_s_disks_come_from_one_snapshot_of_the_machine() {
    let played = cluster_with(&["root", "data", "loose"]);
    played.add("virtualmachines", json!({
        "metadata": {"namespace": "shop", "name": "db"},
        "spec": {"template": {"spec": {"volumes": [{"dataVolume": {"name": "root"}}, {"persistentVolumeClaim": {"claimName": "data"}}]}}}
    }));
    let call = promote(&played, "root", "take-now-frozen");
    settled().await;
    assert_eq!(played.names("virtualmachinesnapshots"), ["db-rp-1"], "one for both disks");
    assert_eq!(played.names("volumesnapshots"), ["loose-rp-1"], "what no machine has is taken by itself");
    let volume = |claim: &str| json!({"persistentVolumeClaim": {"metadata": {"name": claim}}, "volumeSnapshotName": format!("vs-{claim}")});
    played.add(
        "virtualmachinesnapshotcontents",
        json!({
            "metadata": {"namespace": "shop", "name": "content"}, "spec": {"volumeBackups": [volume("root")]}
        }),
    );
    played.add("volumesnapshots", json!({
        "metadata": {"namespace": "shop", "name": "vs-root", "uid": "1"},
        "spec": {"source": {"persistentVolumeClaimName": "root"}}, "status": {"readyToUse": true, "restoreSize": "1Gi"}
    }));
    played.set("virtualmachinesnapshots", "db-rp-1", |s| {
        s["status"] = json!({"readyToUse": true, "virtualMachineSnapshotContentName": "content"});
    });
    settled().await;
    let made = played.object("persistentvolumeclaims", "root-rp-1").unwrap();
    assert_eq!(made["spec"]["dataSource"]["name"], "vs-root");
    played.set("persistentvolumeclaims", "root-rp-1", |c| c["status"] = json!({"phase": "Bound"}));
    assert!(call.await.unwrap().is_ok());
    let text = promote(&played, "data", "take-now-frozen").await.unwrap().unwrap_err();
    assert!(text.contains("shop/db-rp-1") && text.contains("shop/data") && text.contains("LW-0631"), "{text}");
}
