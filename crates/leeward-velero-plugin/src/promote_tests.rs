use super::*;

const BACKUP: &str = "velero/nightly";

fn point() -> Policy {
    Policy::Point(PointId::parse("rp-20261122-180501").unwrap())
}

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "storageClassName": "nfs-csi", "accessModes": ["ReadWriteMany"], "volumeMode": "Block", "volumeName": "pvc-1",
            "resources": {"requests": {"storage": "10Gi"}}, "dataSource": {"kind": "VolumeSnapshot", "name": "elder"}
        }
    })
}

fn snapshot(name: &str, of: &str) -> Value {
    json!({
        "kind": "VolumeSnapshot",
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
            "labels": {RECOVERY_POINT: "rp-20261122-180501", GROUP: "shop"}
        },
        "spec": {"source": {"persistentVolumeClaimName": of}},
        "status": {"readyToUse": true, "restoreSize": "10Gi"}
    })
}

fn one(claim: &Value, snapshot: &Value) -> Result<Value, PromoteError> {
    promoted(claim, snapshot, Some("nfs-csi"), &point(), BACKUP)
}

#[test]
fn a_promoted_claim_is_like_its_claim_and_comes_from_the_snapshot() {
    let expected = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": "shop", "name": "db-data-rp-20261122-180501",
            "labels": {
                RECOVERY_POINT: "rp-20261122-180501", MADE_BY: "velero-plugin", EXCLUDED: "true", PROMOTED_FROM: "db-data",
                GROUP: "shop"
            },
            "annotations": {"used-by.leeward.io/velero.nightly": BACKUP, PROMOTED_FROM: "db-data"}
        },
        "spec": {
            "storageClassName": "nfs-csi", "accessModes": ["ReadWriteMany"], "volumeMode": "Block",
            "resources": {"requests": {"storage": "10Gi"}},
            "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s1"}
        }
    });
    assert_eq!(one(&claim("db-data"), &snapshot("s1", "db-data")), Ok(expected));
    // What a plain backup makes is none of the group's cycles' business.
    let plain = promoted(&claim("a"), &snapshot("s", "a"), None, &Policy::NewestReady, BACKUP).unwrap();
    assert!(plain["metadata"]["labels"].get(GROUP).is_none() && plain["spec"].get("storageClassName").is_none());
}

#[test]
fn it_is_as_large_as_the_larger_of_both() {
    for (asked, needed, size) in
        [("10Gi", "11Gi", "11Gi"), ("10Gi", "10737418241", "10737418241"), ("1Ti", "2Gi", "1Ti"), ("1Gi", "", "1Gi")]
    {
        let (mut claim, mut snapshot) = (claim("a"), snapshot("s", "a"));
        claim["spec"]["resources"]["requests"]["storage"] = asked.into();
        snapshot["status"]["restoreSize"] = needed.into();
        assert_eq!(one(&claim, &snapshot).unwrap()["spec"]["resources"]["requests"]["storage"], size);
    }
    let mut claim = claim("a");
    claim["spec"]["resources"]["requests"]["storage"] = "much".into();
    let mut snapshot = snapshot("s", "a");
    snapshot["status"] = json!({});
    assert!(one(&claim, &snapshot).unwrap_err().to_string().contains("shop/a"));
}

#[test]
fn of_a_point_each_claim_has_one_snapshot_or_none() {
    let snapshots = [snapshot("s1", "a"), snapshot("s2", "b"), snapshot("s3", "b")];
    assert_eq!(choose(&point(), &snapshots, &claim("a")).unwrap(), Choice::Snapshot(&snapshots[0]));
    assert_eq!(choose(&point(), &snapshots, &claim("c")).unwrap(), Choice::Nothing);
    let text = choose(&point(), &snapshots, &claim("b")).unwrap_err().to_string();
    assert!(text.contains("s2, s3") && text.contains("shop/b") && text.contains("LW-0611"), "{text}");
}

#[test]
fn the_newest_is_the_one_whose_data_is_newest_and_a_claim_without_one_is_told() {
    let at = |name: &str, created: &str, cut: &str, ready: bool| {
        let mut snapshot = snapshot(name, "a");
        snapshot["metadata"]["creationTimestamp"] = created.into();
        snapshot["status"] = json!({"readyToUse": ready, "creationTime": cut});
        snapshot
    };
    let mut dying = at("dying", "2026-11-22T10:30:00Z", "2026-11-22T10:30:00Z", true);
    dying["metadata"]["deletionTimestamp"] = "2026-11-22T11:00:00Z".into();
    let snapshots = [
        at("old", "2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z", true),
        // Imported late, cut early.
        at("imported", "2026-11-22T10:50:00Z", "2026-11-22T08:00:00Z", true),
        at("new", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", true),
        at("unfinished", "2026-11-22T10:59:00Z", "2026-11-22T10:59:00Z", false),
        dying,
    ];
    for policy in [Policy::NewestReady, Policy::Labels("tier=gold".into())] {
        assert_eq!(choose(&policy, &snapshots, &claim("a")).unwrap(), Choice::Snapshot(&snapshots[2]));
    }
    let text = choose(&Policy::NewestReady, &snapshots[3..4], &claim("a")).unwrap_err().to_string();
    assert!(text.contains("shop/a") && text.contains("unfinished not ready") && text.contains("LW-0619"), "{text}");
    let text = choose(&Policy::Labels("tier=gold".into()), &snapshots, &claim("b")).unwrap_err().to_string();
    assert!(text.contains("matches tier=gold") && text.contains("it has none"), "{text}");
    assert_eq!(choose(&Policy::TakeNow { frozen: false }, &[], &claim("b")).unwrap(), Choice::Take);
    assert_eq!(choose(&Policy::None, &snapshots, &claim("a")).unwrap(), Choice::Nothing);
}

#[test]
fn a_snapshot_without_point_has_one_of_its_own() {
    let mut a = snapshot("s1", "a");
    assert_eq!(point_of(&a), "rp-20261122-180501");
    for labels in [Value::Null, json!({RECOVERY_POINT: "Not A Name"})] {
        a["metadata"]["labels"] = labels;
        assert_eq!(point_of(&a), format!("s-{}", naming::hash("uid-s1")));
    }
    let wanted = one(&claim("db"), &a).unwrap();
    assert_eq!(wanted["metadata"]["name"], format!("db-s-{}", naming::hash("uid-s1")));
}

#[test]
fn a_failed_snapshot_is_told_with_its_reason() {
    let mut snapshot = snapshot("s1", "a");
    snapshot["status"] = json!({"readyToUse": false, "error": {"message": "pool is full"}});
    let text = one(&claim("a"), &snapshot).unwrap_err().to_string();
    assert!(text.contains("pool is full") && text.contains("LW-0612"), "{text}");
    // An error that was overcome stands there for a while.
    snapshot["status"]["readyToUse"] = true.into();
    assert!(one(&claim("a"), &snapshot).is_ok());
}

#[test]
fn long_names_fit_and_are_known_again() {
    let name = format!("{}.{}", "x".repeat(150), "y".repeat(102));
    let wanted = one(&claim(&name), &snapshot("s", &name)).unwrap();
    assert!(wanted["metadata"]["name"].as_str().unwrap().len() <= 250);
    assert_eq!(wanted["metadata"]["labels"][PROMOTED_FROM].as_str().unwrap().len(), 63);
    assert_eq!(wanted["metadata"]["annotations"][PROMOTED_FROM], name, "whole, where there is room");
    assert!(is_promoted(&wanted));
}

#[test]
fn only_what_an_earlier_attempt_made_is_used_again() {
    let wanted = one(&claim("a"), &snapshot("s1", "a")).unwrap();
    let mut existing = wanted.clone();
    existing["metadata"]["uid"] = "u".into();
    existing["spec"]["volumeName"] = "pvc-9".into();
    assert!(is_same(&existing, &wanted));
    for (pointer, value) in
        [("/spec/dataSource/name", json!("s2")), ("/metadata/labels", json!({})), ("/spec/dataSource", Value::Null)]
    {
        let mut other = existing.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(!is_same(&other, &wanted), "{pointer}");
    }
}

#[test]
fn states() {
    let claim = |phase: &str| json!({"status": {"phase": phase}});
    assert_eq!(state(Some(&claim("Bound"))), State::Bound);
    assert_eq!(state(Some(&claim("Pending"))), State::Waiting);
    assert_eq!(state(Some(&json!({}))), State::Waiting);
    assert_eq!(state(Some(&claim("Lost"))), State::Lost);
    assert_eq!(state(None), State::Gone);
    let dying = json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Bound"}});
    assert_eq!(state(Some(&dying)), State::Gone);
}

#[test]
fn the_newest_warning_tells_most() {
    let event = |kind: &str, at: &str, message: &str| json!({"type": kind, "lastTimestamp": at, "reason": "R", "message": message});
    let events = [
        event("Warning", "2026-11-22T10:00:00Z", "old"),
        event("Warning", "2026-11-22T10:00:09Z", "no space left"),
        event("Normal", "2026-11-22T10:00:30Z", "waiting for a volume"),
    ];
    assert_eq!(telling(&events).unwrap(), "R: no space left");
    assert_eq!(telling(&events[2..]).unwrap(), "R: waiting for a volume");
    assert_eq!(telling(&[]), None);
}
