use super::*;
use crate::played::Played;
use crate::promoter::Promoter;
use crate::retire;
use leeward_model::keys::{PROMOTE, PROMOTION_DEADLINE};
use std::time::Duration;
use tokio::task::JoinHandle;

const DRIVER: &str = "block.example.com";
const GROUPS: &str = "volumegroupsnapshots";
const CLAIM: &str = "persistentvolumeclaims";

fn claim(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "shop", "name": name, "labels": labels},
        "spec": {"storageClassName": "nfs-csi", "resources": {"requests": {"storage": "1Gi"}}, "volumeName": format!("pv-{name}")},
        "status": {"phase": "Bound"}
    })
}

/// Claims of one driver, which has a VolumeGroupSnapshotClass, and the ConfigMap that names it.
fn cluster_with(claims: &[Value]) -> Arc<Played> {
    let played = Played::new(claims.to_vec(), Vec::new());
    for claim in claims {
        let name = view::name(claim);
        let csi = json!({"driver": DRIVER, "volumeHandle": format!("handle-{name}")});
        played.add("persistentvolumes", json!({"metadata": {"name": format!("pv-{name}")}, "spec": {"csi": csi}}));
    }
    played.add("apigroups", json!({
        "metadata": {"name": "groupsnapshot.storage.k8s.io"}, "versions": [{"groupVersion": "groupsnapshot.storage.k8s.io/v1beta1"}]
    }));
    played.add("volumegroupsnapshotclasses", json!({"metadata": {"name": "together"}, "driver": DRIVER}));
    played.add("volumesnapshotclasses", json!({"metadata": {"name": "quick"}, "driver": DRIVER}));
    played.promote(&format!("groupSnapshotClasses: {{ {DRIVER}: together }}"));
    Arc::new(played)
}

fn machine(name: &str, claims: &[&str]) -> Value {
    let volumes: Vec<_> = claims.iter().map(|c| json!({"persistentVolumeClaim": {"claimName": c}})).collect();
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"template": {"spec": {"volumes": volumes}}}})
}

/// Each asks in the same process, as Velero does one after the other.
fn promote(played: &Arc<Played>, names: &[&str], policy: &str) -> Vec<JoinHandle<Result<String, String>>> {
    let promoter = Arc::new(Promoter::new(played.cluster()));
    let backup = json!({
        "metadata": {"namespace": "velero", "name": "b", "uid": "u", "annotations": {
            PROMOTE: policy, RECOVERY_POINT: "rp-1", PROMOTION_DEADLINE: "30"
        }},
        "spec": {"includedNamespaces": ["shop"]}
    });
    let ask = |name: &&str| {
        let (promoter, backup) = (Arc::clone(&promoter), backup.clone());
        let claim = played.object(CLAIM, name).unwrap();
        tokio::spawn(async move {
            let promoted = promoter.promoted(&claim, &backup).await;
            promoted
                .map(|p| view::name(&p.unwrap().claim).to_owned())
                .map_err(|e| velero_plugin::ActionError::from(e).to_string())
        })
    };
    names.iter().map(ask).collect()
}

async fn settled() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn marked(played: &Played) -> Vec<String> {
    let has = |name: &String| {
        let claim = played.object(CLAIM, name).unwrap();
        claim["metadata"]["labels"].to_string().contains(SNAPSHOT_GROUP)
    };
    played.names(CLAIM).into_iter().filter(has).collect()
}

/// As the snapshot controller and the driver would: all claims that have the group's label.
fn carry_out(played: &Played, group: &str) {
    let whole = played.object(GROUPS, group).unwrap();
    let selector = whole["spec"]["source"]["selector"]["matchLabels"].as_object().unwrap();
    let (key, value) = selector.iter().next().unwrap();
    for name in played.names(CLAIM) {
        let claim = played.object(CLAIM, &name).unwrap();
        if claim["metadata"]["labels"][key] != *value {
            continue;
        }
        played.add(
            "volumesnapshots",
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": {
                    "namespace": "shop", "name": format!("snapshot-{group}-{name}"), "uid": format!("uid-{name}"),
                    "ownerReferences": [{"kind": "VolumeGroupSnapshot", "name": group, "uid": whole["metadata"]["uid"]}]
                },
                "spec": {"source": {"persistentVolumeClaimName": name}}
            }),
        );
    }
    played.set(GROUPS, group, |group| {
        group["status"] = json!({"readyToUse": true, "boundVolumeGroupSnapshotContentName": "content"});
    });
}

fn ready(played: &Played) {
    for name in played.names("volumesnapshots") {
        played.set("volumesnapshots", &name, |s| s["status"] = json!({"readyToUse": true, "restoreSize": "1Gi"}));
    }
}

fn bind(played: &Played) {
    for name in played.names(CLAIM).iter().filter(|name| name.ends_with("-rp-1")) {
        played.set(CLAIM, name, |claim| claim["status"] = json!({"phase": "Bound"}));
    }
}

#[tokio::test(start_paused = true)]
async fn the_disks_of_one_vm_are_taken_by_one_group_and_bear_its_label_no_longer_than_that() {
    let played =
        cluster_with(&[claim("root", json!({"app": "db"})), claim("data", json!({})), claim("loose", json!({}))]);
    played.add("virtualmachines", machine("db", &["root", "data"]));
    let calls = promote(&played, &["root", "data", "loose"], "take-now");
    settled().await;
    let [group] = &played.names(GROUPS)[..] else { panic!("{:?}", played.names(GROUPS)) };
    let whole = played.object(GROUPS, group).unwrap();
    assert_eq!(whole["apiVersion"], "groupsnapshot.storage.k8s.io/v1beta1", "what the cluster serves");
    assert_eq!(whole["spec"]["volumeGroupSnapshotClassName"], "together");
    assert_eq!(view::label(&whole, MADE_BY), Some(PLUG_IN));
    assert_eq!(marked(&played), ["root", "data"]);
    assert_eq!(played.object(CLAIM, "root").unwrap()["metadata"]["labels"]["app"], "db");
    assert_eq!(played.names("volumesnapshots"), ["loose-rp-1"], "what belongs to nothing is taken by itself");

    carry_out(&played, group);
    settled().await;
    assert_eq!(marked(&played), Vec::<String>::new());
    let claim = played.object(CLAIM, "root").unwrap();
    assert_eq!(claim["metadata"]["annotations"], json!({}), "nothing of ours is left");
    ready(&played);
    settled().await;
    bind(&played);
    for (call, name) in calls.into_iter().zip(["root-rp-1", "data-rp-1", "loose-rp-1"]) {
        assert_eq!(call.await.unwrap().unwrap(), name);
    }
    let promoted = played.object(CLAIM, "data-rp-1").unwrap();
    assert_eq!(promoted["spec"]["dataSource"]["name"], format!("snapshot-{group}-data"));
    let snapshot = played.object("volumesnapshots", &format!("snapshot-{group}-data")).unwrap();
    assert_eq!(snapshot["metadata"]["labels"], json!({RECOVERY_POINT: "rp-1", EXCLUDED: "true"}));
}

#[tokio::test(start_paused = true)]
async fn a_label_of_velero_s_groups_claims_across_vms_and_drivers_without_a_class_are_taken_one_by_one() {
    let label = |group: &str| json!({VOLUME_GROUP: group});
    let claims =
        [claim("a", label("Shop_1")), claim("b", label("Shop_1")), claim("c", label("other")), claim("d", json!({}))];
    let played = cluster_with(&claims);
    played.add("virtualmachines", machine("one", &["a"]));
    played.add("virtualmachines", machine("two", &["b", "c", "d"]));
    promote(&played, &["a"], "take-now");
    settled().await;
    let groups = played.names(GROUPS);
    assert!(groups.len() == 1 && groups[0].starts_with("shop-1-") && groups[0].ends_with("-rp-1"), "{groups:?}");
    assert_eq!(marked(&played), ["a", "b"]);
    assert_eq!(played.names("volumesnapshots"), ["c-rp-1", "d-rp-1"], "one alone is no group");

    let played = cluster_with(&claims[..2]);
    played.promote("groupSnapshotClasses: { other.example.com: together }");
    promote(&played, &["a"], "take-now");
    settled().await;
    assert_eq!((played.names(GROUPS).len(), marked(&played).len()), (0, 0));
    assert_eq!(played.names("volumesnapshots"), ["a-rp-1", "b-rp-1"]);

    // Frozen, a VM's disks are KubeVirt's to take.
    let played = cluster_with(&claims[..2]);
    played.add("virtualmachines", machine("one", &["a", "b"]));
    promote(&played, &["a"], "take-now-frozen");
    settled().await;
    assert_eq!((played.names(GROUPS).len(), played.names("virtualmachinesnapshots").len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn killed_and_started_again_it_finds_its_group() {
    let played = cluster_with(&[claim("a", json!({})), claim("b", json!({}))]);
    played.add("virtualmachines", machine("db", &["a", "b"]));
    let calls = promote(&played, &["a"], "take-now");
    settled().await;
    let group = played.names(GROUPS)[0].clone();
    calls.iter().for_each(JoinHandle::abort);
    carry_out(&played, &group);
    ready(&played);
    let calls = promote(&played, &["b"], "take-now");
    settled().await;
    bind(&played);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "b-rp-1");
    }
    assert_eq!((played.names(GROUPS), marked(&played)), (vec![group], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_comes_to_nothing_fails_each_of_its_claims_and_leaves_nothing() {
    let played = cluster_with(&[claim("a", json!({})), claim("b", json!({}))]);
    played.add("virtualmachines", machine("db", &["a", "b"]));
    let calls = promote(&played, &["a", "b"], "take-now");
    settled().await;
    let group = played.names(GROUPS)[0].clone();
    played.set(GROUPS, &group, |group| {
        group["status"] = json!({"readyToUse": false, "error": {"message": "a consistency group holds 1 volume"}});
    });
    for call in calls {
        let text = call.await.unwrap().unwrap_err();
        for part in [&group, "shop/a, shop/b", "30 s", "a consistency group holds 1 volume", "LW-0629"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }
    assert_eq!(
        (played.names(GROUPS).len(), marked(&played).len()),
        (0, 0),
        "it must not be cut later, without its claims"
    );

    // Begun, but slow: it stays, for a repeat to find.
    let calls = promote(&played, &["a"], "take-now");
    settled().await;
    played.set(GROUPS, &group, |g| g["status"] = json!({"boundVolumeGroupSnapshotContentName": "content"}));
    for call in calls {
        assert!(call.await.unwrap().unwrap_err().contains("LW-0629"));
    }
    assert_eq!((played.names(GROUPS).len(), marked(&played).len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_has_not_is_told_at_once() {
    type Change = fn(&Played);
    let cases: [(Change, &str, &str); 5] = [
        (|p| p.remove("apigroups", "groupsnapshot.storage.k8s.io"), "does not serve", "LW-0634"),
        (|p| p.remove("volumegroupsnapshotclasses", "together"), "none of that name", "LW-0634"),
        (|p| p.set("volumegroupsnapshotclasses", "together", |c| c["driver"] = "x".into()), "of driver x", "LW-0634"),
        (
            |p| p.fail("POST /apis/groupsnapshot.storage.k8s.io/v1beta1/namespaces/shop/volumegroupsnapshots"),
            "create",
            "LW-0606",
        ),
        (|p| p.fail("PATCH /api/v1/namespaces/shop/persistentvolumeclaims/b"), "patch", "LW-0606"),
    ];
    for (change, part, code) in cases {
        let played = cluster_with(&[claim("a", json!({})), claim("b", json!({}))]);
        played.add("virtualmachines", machine("db", &["a", "b"]));
        change(&played);
        for call in promote(&played, &["a", "b"], "take-now") {
            let text = call.await.unwrap().unwrap_err();
            assert!(text.contains("shop/a, shop/b") && text.contains(part) && text.contains(code), "{text}");
        }
        assert_eq!((played.names(GROUPS).len(), marked(&played).len()), (0, 0), "{part}");
        assert_eq!(played.names("volumesnapshots").len(), 0, "one moment was asked for: none rather than two");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_the_group_does_not_hold_is_told() {
    let played = cluster_with(&[claim("a", json!({})), claim("b", json!({}))]);
    played.add("virtualmachines", machine("db", &["a", "b"]));
    let calls = promote(&played, &["b"], "take-now");
    settled().await;
    played.set(CLAIM, "b", |claim| claim["metadata"]["labels"] = json!({}));
    carry_out(&played, &played.names(GROUPS)[0].clone());
    for call in calls {
        let text = call.await.unwrap().unwrap_err();
        assert!(text.contains("shop/b,") && text.contains("LW-0635"), "{text}");
    }
}

#[test]
fn a_snapshot_without_its_claim_s_name_is_known_by_its_own() {
    let group = Group {
        stem: String::new(),
        driver: String::new(),
        class: String::new(),
        claims: vec![Member { claim: claim("a", json!({})), handle: "vol-1".to_owned() }],
        taken: OnceCell::new(),
    };
    // As snapshot-controller 8.6 names it.
    let name = format!("snapshot-{}", naming::sha256("uid-1vol-1"));
    let snapshots = vec![json!({"metadata": {"name": name}, "spec": {"source": {"persistentVolumeClaimName": ""}}})];
    let taken = Taken { whole: json!({"metadata": {"uid": "uid-1"}}), snapshots };
    assert_eq!(member(&group, &taken, "a").map(view::name), Some(name.as_str()));
    assert_eq!(member(&group, &taken, "b"), None);
}

#[tokio::test]
async fn what_a_killed_plug_in_left_is_taken_off_when_its_backup_is_over() {
    let mark = format!("{SNAPSHOT_GROUP}0123456789ab");
    for (backup, status, goes) in [
        ("velero/gone", None, true),
        ("velero/b", Some(json!({"completionTimestamp": "2026-11-22T18:05:01Z"})), true),
        ("velero/b", Some(json!({"phase": "InProgress"})), false),
        ("other/b", None, false),
    ] {
        let mut claim = claim("a", json!({&mark: "true", "app": "db"}));
        claim["metadata"]["annotations"] = json!({&mark: backup});
        let played = cluster_with(&[claim.clone()]);
        if let Some(status) = status {
            played.add("backups", json!({"metadata": {"namespace": "velero", "name": "b"}, "status": status}));
        }
        tidy(&played.cluster(), &[claim.clone()]).await;
        assert_eq!(marked(&played).is_empty(), goes, "{backup}");
        assert_eq!(played.object(CLAIM, "a").unwrap()["metadata"]["labels"]["app"], "db");
        // Never in a backup, which the other site would restore.
        unmark(&mut claim);
        assert_eq!(claim["metadata"]["labels"], json!({"app": "db"}));
        assert_eq!(claim["metadata"]["annotations"], json!({}));
    }
}

#[tokio::test]
async fn a_group_goes_with_its_backup_and_its_snapshots_are_left_to_it() {
    let played = cluster_with(&[claim("a", json!({}))]);
    let ours = |backup: &str| {
        json!({
            "namespace": "shop", "name": format!("db-{backup}"), "uid": format!("u-{backup}"),
            "labels": {MADE_BY: PLUG_IN, RECOVERY_POINT: backup},
            "annotations": {naming::used_by(&format!("velero/{backup}")): format!("velero/{backup}")}
        })
    };
    for backup in ["gone", "here"] {
        played.add(GROUPS, json!({"kind": "VolumeGroupSnapshot", "metadata": ours(backup)}));
    }
    let mut foreign = ours("gone");
    foreign["name"] = "mine".into();
    foreign["labels"] = json!({});
    played.add(GROUPS, json!({"kind": "VolumeGroupSnapshot", "metadata": foreign}));
    played.add(
        "volumesnapshots",
        json!({"metadata": {"namespace": "shop", "name": "member", "labels": {RECOVERY_POINT: "gone"}}}),
    );
    played
        .add("backups", json!({"metadata": {"namespace": "velero", "name": "here"}, "status": {"phase": "Completed"}}));
    retire::sweep(played.cluster(), vec!["shop".to_owned()], "velero/now".to_owned()).await;
    assert_eq!(played.names(GROUPS), ["db-here", "mine"]);
    assert_eq!(played.names("volumesnapshots"), ["member"], "it goes with its owner");
    assert_eq!(played.count("DELETE"), 1);
}
