use super::*;
use crate::cluster::VOLUMES;
use crate::keep_volume::KeepVolume;
use crate::land_claim::LandClaim;
use crate::metadata_only::MetadataOnly;
use crate::played::Played;
use crate::present::Present;
use crate::rewrite_volume::RewriteVolume;
use leeward_model::keys::{PROMOTE, PROMOTED_FROM, PROMOTED_VOLUME, RECOVER_FROM, RECOVERY_POINT};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use velero_plugin::{RestoreInput, RestoreItemAction as _};

const CLAIMS: &str = "persistentvolumeclaims";
const CLAIMS_PATH: &str = "/api/v1/namespaces/shop/persistentvolumeclaims";

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": name},
        "spec": {"storageClassName": "nfs-csi", "resources": {"requests": {"storage": "1Gi"}}, "volumeName": format!("pv-{name}")},
        "status": {"phase": "Bound"}
    })
}

fn snapshot(of: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"namespace": "shop", "name": format!("snap-{of}"), "labels": {RECOVERY_POINT: "rp-1"}},
        "spec": {"source": {"persistentVolumeClaimName": of}}, "status": {"readyToUse": true, "restoreSize": "1Gi"}
    })
}

fn backup_with(annotations: Value) -> Value {
    json!({
        "kind": "Backup", "metadata": {"namespace": "velero", "name": "b", "uid": "b1", "annotations": annotations},
        "spec": {"includedNamespaces": ["shop"], "snapshotVolumes": false}
    })
}

fn backup() -> Value {
    backup_with(json!({RECOVERY_POINT: "rp-1"}))
}

fn with_snapshots(of: &[&str]) -> Arc<Played> {
    Arc::new(Played::new(of.iter().map(|c| claim(c)).collect(), of.iter().map(|c| snapshot(c)).collect()))
}

fn action(played: &Arc<Played>) -> Arc<PromoteSnapshot> {
    Arc::new(PromoteSnapshot(Arc::new(Promoter::new(played.cluster()))))
}

fn execute_in(
    action: &Arc<PromoteSnapshot>,
    name: &str,
    backup: Value,
) -> JoinHandle<Result<BackupOutput, ActionError>> {
    let (action, item) = (Arc::clone(action), claim(name));
    tokio::spawn(async move { action.execute(item, &backup).await })
}

fn execute(action: &Arc<PromoteSnapshot>, name: &str) -> JoinHandle<Result<BackupOutput, ActionError>> {
    execute_in(action, name, backup())
}

fn names(output: &BackupOutput) -> Vec<String> {
    assert_eq!(output.item.as_ref().unwrap()["metadata"]["annotations"][MUST_INCLUDE], "true");
    output.additional_items.iter().map(|item| item.name.clone()).collect()
}

/// As the storage would.
fn bind(played: &Played, name: &str) {
    played.set(CLAIMS, name, |claim| {
        claim["status"] = json!({"phase": "Bound"});
        claim["spec"]["volumeName"] = format!("pv-{name}").into();
    });
}

#[tokio::test(start_paused = true)]
async fn the_first_claim_begins_all_and_each_waits_for_its_own() {
    let played = with_snapshots(&["a", "b", "c"]);
    let action = action(&played);
    let first = execute(&action, "a");
    // Long after the first call, nothing but one watch is open.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(played.count(&format!("POST {CLAIMS_PATH}")), 3);
    assert_eq!(played.count("WATCH"), 1, "one for all");
    assert!(!first.is_finished());
    let asked = played.asked.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(played.asked.lock().unwrap().len(), asked, "it must not poll: {:?}", played.asked.lock().unwrap());

    bind(&played, "b-rp-1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!first.is_finished(), "b's volume is not a's");
    bind(&played, "a-rp-1");
    assert_eq!(names(&first.await.unwrap().unwrap()), ["a-rp-1"]);
    assert_eq!(names(&execute(&action, "b").await.unwrap().unwrap()), ["b-rp-1"]);
    assert_eq!(played.count("POST"), 3, "each once");
}

#[tokio::test(start_paused = true)]
async fn one_of_fifty_fails_and_the_others_do_not_wait_for_it() {
    let all: Vec<String> = (0..50).map(|i| format!("c{i}")).collect();
    let played = with_snapshots(&all.iter().map(String::as_str).collect::<Vec<_>>());
    played.fail(&format!("POST {CLAIMS_PATH}"));
    let action = action(&played);
    let calls: Vec<_> = all.iter().map(|name| execute(&action, name)).collect();
    played.was_asked(&format!("POST {CLAIMS_PATH}"), 50).await;
    let begun = Instant::now();
    played.names(CLAIMS).iter().filter(|name| name.ends_with("-rp-1")).for_each(|name| bind(&played, name));
    let mut failed = Vec::new();
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            failed.push(error.to_string());
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(failed.len(), 1);
    assert!(failed[0].contains("shop/c") && failed[0].contains("LW-0614"), "{}", failed[0]);
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_the_error_names_all_and_the_next_claim_does_not_wait_again() {
    let played = with_snapshots(&["a", "b"]);
    played.add(
        "events",
        json!({
            "metadata": {"namespace": "shop", "name": "e"}, "involvedObject": {"name": "a-rp-1"},
            "type": "Warning", "reason": "ProvisioningFailed", "message": "pool p1 is full"
        }),
    );
    let action = action(&played);
    let begun = Instant::now();
    let text = execute(&action, "a").await.unwrap().unwrap_err().to_string();
    assert_eq!(begun.elapsed().as_secs(), 300);
    for part in ["shop/a-rp-1", "snap-a", "shop/a ", "pool p1 is full", "300 s", "LW-0616"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let begun = Instant::now();
    assert!(execute(&action, "b").await.unwrap().is_err());
    assert!(begun.elapsed().as_secs() < 1, "the promotions ran side by side, so their deadline is one");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_loses_its_volume_or_is_deleted_fails_at_once() {
    let played = with_snapshots(&["a", "b"]);
    let action = action(&played);
    let (a, b) = (execute(&action, "a"), execute(&action, "b"));
    played.was_asked("WATCH", 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    played.set(CLAIMS, "a-rp-1", |claim| claim["status"] = json!({"phase": "Lost"}));
    played.remove(CLAIMS, "b-rp-1");
    let begun = Instant::now();
    for (call, how) in [(a, "lost its volume"), (b, "deleted meanwhile")] {
        let text = call.await.unwrap().unwrap_err().to_string();
        assert!(text.contains("LW-0617") && text.contains(how), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_refuses_once_fails_that_claim_and_no_other() {
    let played = with_snapshots(&["a", "b"]);
    played.fail(&format!("GET {CLAIMS_PATH}"));
    let action = action(&played);
    let text = execute(&action, "a").await.unwrap().unwrap_err().to_string();
    assert!(text.contains("list persistentvolumeclaims in shop") && text.contains("LW-0606"), "{text}");
    assert_eq!(played.count("POST"), 0);
    let b = execute(&action, "b");
    played.was_asked("POST", 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bind(&played, "b-rp-1");
    assert_eq!(names(&b.await.unwrap().unwrap()), ["b-rp-1"]);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_it_fails_at_once_and_names_the_right() {
    let played = with_snapshots(&["a"]);
    played.fail(&format!("WATCH {CLAIMS_PATH}"));
    let begun = Instant::now();
    let text = execute(&action(&played), "a").await.unwrap().unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for part in ["shop/a", "watch persistentvolumeclaims in shop", "LW-0606"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn twice_concurrently_and_again_after_a_kill_promote_once() {
    let played = with_snapshots(&["a"]);
    // Two backups of the same point by two processes, and a third process that goes on for the first.
    let other = {
        let mut other = backup();
        other["metadata"]["name"] = "b2".into();
        other["metadata"]["uid"] = "b2".into();
        other
    };
    let calls =
        [execute(&action(&played), "a"), execute_in(&action(&played), "a", other), execute(&action(&played), "a")];
    played.was_asked(&format!("POST {CLAIMS_PATH}"), 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bind(&played, "a-rp-1");
    for call in calls {
        assert_eq!(names(&call.await.unwrap().unwrap()), ["a-rp-1"]);
    }
    assert_eq!(played.names(CLAIMS), ["a", "a-rp-1"]);
    let users = played.object(CLAIMS, "a-rp-1").unwrap()["metadata"]["annotations"].clone();
    for user in ["b", "b2"] {
        assert_eq!(users[format!("used-by.leeward.io/velero.{user}")], format!("velero/{user}"), "{users}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_claim_is_refused_and_one_on_its_way_out_is_waited_for() {
    let played = with_snapshots(&["a", "b"]);
    played.add(CLAIMS, {
        let mut foreign = claim("a-rp-1");
        foreign["metadata"]["labels"] = json!({});
        foreign
    });
    let text = execute(&action(&played), "a").await.unwrap().unwrap_err().to_string();
    assert!(text.contains("LW-0615") && text.contains("shop/a-rp-1"), "{text}");

    played.set(CLAIMS, "b-rp-1", |claim| claim["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z".into());
    let call = execute(&action(&played), "b");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!call.is_finished());
    played.remove(CLAIMS, "b-rp-1");
    played.was_asked(&format!("POST {CLAIMS_PATH}"), 4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bind(&played, "b-rp-1");
    assert_eq!(names(&call.await.unwrap().unwrap()), ["b-rp-1"]);
}

#[tokio::test]
async fn what_has_nothing_to_promote_passes_unchanged() {
    let played = with_snapshots(&["a"]);
    let action = PromoteSnapshot(Arc::new(Promoter::new(played.cluster())));
    let unchanged = BackupOutput::unchanged();
    assert_eq!(action.execute(claim("a"), &backup_with(json!({}))).await.unwrap(), unchanged);
    for change in [
        json!({"metadata": {"labels": {PROMOTED_FROM: "a"}}}),
        json!({"metadata": {"annotations": {PROMOTE: "none"}}}),
        json!({"spec": {"volumeName": null}}),
    ] {
        let mut product = claim("a-rp-0");
        for part in ["metadata", "spec"] {
            for (key, value) in change[part].as_object().into_iter().flatten() {
                product[part][key] = value.clone();
            }
        }
        assert_eq!(action.execute(product, &backup()).await.unwrap(), unchanged);
    }
    assert_eq!(played.asked.lock().unwrap().len(), 1, "the ConfigMap, once");
    assert_eq!(action.execute(claim("other"), &backup()).await.unwrap(), unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_all_namespaces_begins_with_the_claims_of_those_that_it_takes() {
    let mut elsewhere = [claim("b"), snapshot("b"), claim("c"), snapshot("c")];
    for (object, namespace) in elsewhere.iter_mut().zip(["bank", "bank", "left-out", "left-out"]) {
        object["metadata"]["namespace"] = namespace.into();
    }
    let [bank, banks, out, outs] = elsewhere;
    let played = Arc::new(Played::new(vec![claim("a"), bank, out], vec![snapshot("a"), banks, outs]));
    for namespace in ["shop", "bank", "left-out"] {
        played.add("namespaces", json!({"metadata": {"name": namespace}}));
    }
    let mut backup = backup();
    backup["spec"] = json!({"excludedNamespaces": ["left-out"], "snapshotVolumes": false});
    let call = execute_in(&action(&played), "a", backup);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(played.names(CLAIMS), ["a", "b", "c", "a-rp-1", "b-rp-1"]);
    bind(&played, "a-rp-1");
    assert_eq!(names(&call.await.unwrap().unwrap()), ["a-rp-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_backup_by_label_begins_with_the_disks_of_its_machines_and_takes_what_else_comes() {
    let played = with_snapshots(&["disk", "other", "pod-data"]);
    played.add(
        "virtualmachines",
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"namespace": "shop", "name": "db", "labels": {"app": "db"}},
            "spec": {"template": {"spec": {"volumes": [{"dataVolume": {"name": "disk"}}]}}}
        }),
    );
    let mut backup = backup();
    backup["spec"]["labelSelector"] = json!({"matchLabels": {"app": "db"}});
    let action = action(&played);
    let disk = execute_in(&action, "disk", backup.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        played.names(CLAIMS),
        ["disk", "other", "pod-data", "disk-rp-1"],
        "nothing that the backup does not take"
    );
    // Velero comes to it by a pod that was selected.
    let late = execute_in(&action, "pod-data", backup);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (call, name) in [(disk, "disk-rp-1"), (late, "pod-data-rp-1")] {
        bind(&played, name);
        assert_eq!(names(&call.await.unwrap().unwrap()), [name]);
    }
}

#[tokio::test(start_paused = true)]
async fn classes_that_wait_for_a_consumer_need_a_twin() {
    let lazy = json!({"metadata": {"name": "lazy"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    let try_with = async |promote: &str| {
        let played = with_snapshots(&["a"]);
        played.add("storageclasses", lazy.clone());
        played.add("storageclasses", json!({"metadata": {"name": "eager"}, "provisioner": "x"}));
        played.promote(promote);
        played.set(CLAIMS, "a", |claim| claim["spec"]["storageClassName"] = "lazy".into());
        let call = execute(&action(&played), "a");
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(claim) = played.object(CLAIMS, "a-rp-1") {
            bind(&played, "a-rp-1");
            call.await.unwrap().unwrap();
            return claim["spec"]["storageClassName"].as_str().unwrap().to_owned();
        }
        call.await.unwrap().unwrap_err().to_string()
    };
    assert_eq!(try_with("twinClasses: { lazy: eager }").await, "eager");
    for (promote, part) in [
        ("none", "StorageClass lazy has volumeBindingMode WaitForFirstConsumer"),
        ("twinClasses: { lazy: gone }", "no class of that name"),
        ("twinClasses: { lazy: lazy }", "waits for a first consumer, too"),
        ("twinClasses: { lazy: nfs-csi }", "another provisioner"),
    ] {
        let text = try_with(promote).await;
        assert!(text.contains(part) && text.contains("shop/a") && text.contains("LW-0623"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn recovered_from_promoted_the_stored_live_volume_says_where_the_copy_is() {
    let played = with_snapshots(&["a"]);
    let pv = |name: &str, claim: &str, path: &str| {
        json!({
            "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "persistentVolumeReclaimPolicy": "Delete", "nfs": {"server": "10.77.0.1", "path": path},
                "claimRef": {"namespace": "shop", "name": claim}
            }
        })
    };
    played.add("persistentvolumes", pv("pv-a-rp-1", "a-rp-1", "/export/copy"));
    let cluster = played.cluster();
    let keep = Arc::new(KeepVolume {
        cluster: Arc::clone(&cluster),
        promoter: Arc::new(Promoter::new(Arc::clone(&cluster))),
        metadata_only: Arc::new(MetadataOnly::new(cluster)),
    });
    let backup = backup_with(json!({PROMOTE: "newest-ready", RECOVER_FROM: "promoted"}));
    let call = {
        let (keep, backup) = (Arc::clone(&keep), backup.clone());
        tokio::spawn(async move { keep.execute(pv("pv-a", "a", "/export/live"), &backup).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!call.is_finished(), "Velero stores the volume before our action on the claim, so it has to wait here");
    bind(&played, "a-rp-1");
    let stored = call.await.unwrap().unwrap().item.unwrap();
    assert_eq!(stored["spec"]["nfs"]["path"], "/export/live");
    assert_eq!(stored["metadata"]["annotations"][RECOVER_FROM], "promoted");
    assert!(stored["metadata"]["annotations"][PROMOTED_VOLUME].as_str().unwrap().contains("/export/copy"));

    // A plain restore at the other site: the claim's own volume, by its own name, is the copy of the promoted one.
    let west = Arc::new(Played::empty());
    west.set("configmaps", "leeward-site", |map| map["data"]["site"] = "west".into());
    let mut alias = pv("promoted-here-once", "a-rp-0", "/vault/copy");
    alias["spec"]["nfs"]["server"] = "10.77.0.2".into();
    west.add("persistentvolumes", alias);
    west.add("persistentvolumes", pv("unrelated", "x", "/export/live"));
    let cluster = west.cluster();
    let restore = json!({"kind": "Restore"});
    let input = |item: &Value| RestoreInput { item: item.clone(), item_from_backup: item.clone(), restore: &restore };
    let fates = Arc::new(crate::fate::Fates::default());
    let volumes = Arc::new(Present::new(&VOLUMES));
    let rewrite =
        RewriteVolume { cluster: Arc::clone(&cluster), fates: Arc::clone(&fates), volumes: Arc::clone(&volumes) };
    let landed = rewrite.execute(input(&stored)).await.unwrap().item.unwrap();
    assert_eq!(landed["metadata"]["name"], "pv-a");
    assert_eq!(landed["spec"]["nfs"], json!({"server": "10.77.0.2", "path": "/vault/copy"}));
    assert_eq!(landed["spec"]["claimRef"], json!({"namespace": "shop", "name": "a"}));
    assert!(!landed.to_string().contains("/export/live"), "{landed}");
    let policy =
        |name: &str| west.object("persistentvolumes", name).unwrap()["spec"]["persistentVolumeReclaimPolicy"].clone();
    assert_eq!(policy("promoted-here-once"), "Retain", "nobody else may delete the machine's disk");
    assert_eq!(policy("unrelated"), "Delete");
    let mut stored_claim = keep.execute(claim("a"), &backup).await.unwrap().item.unwrap();
    stored_claim["metadata"]["annotations"][MUST_INCLUDE] = "true".into();
    stored_claim["spec"]["storageClassName"] = "gold".into();
    let land = LandClaim { cluster, fates, volumes, claims: Present::new(&crate::cluster::CLAIMS) };
    let landed_claim = land.execute(input(&stored_claim)).await.unwrap().item.unwrap();
    assert_eq!(landed_claim["spec"]["volumeName"], landed["metadata"]["name"]);
    assert!(landed_claim["metadata"]["annotations"].get(MUST_INCLUDE).is_none(), "Velero leaves it in");

    // Once more, and then live: nothing of the former choice stays.
    let live = keep.execute(stored, &backup_with(json!({PROMOTE: "newest-ready"}))).await.unwrap().item.unwrap();
    assert!(live["metadata"]["annotations"].get(PROMOTED_VOLUME).is_none());

    // A claim without a snapshot in the point is a gap, and told.
    played.add(CLAIMS, claim("new"));
    let mut backup = backup_with(json!({RECOVERY_POINT: "rp-1", RECOVER_FROM: "promoted"}));
    backup["metadata"]["uid"] = "b3".into();
    let error = keep.execute(pv("pv-new", "new", "/export/new"), &backup).await.unwrap_err().to_string();
    assert!(error.contains("shop/new") && error.contains("LW-0625"), "{error}");
}
