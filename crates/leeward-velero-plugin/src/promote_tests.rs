use super::*;

fn point() -> PointId {
    PointId::parse("rp-20261122-180501").unwrap()
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
        "metadata": {"namespace": "shop", "name": name, "labels": {RECOVERY_POINT: point().as_str(), GROUP: "shop"}},
        "spec": {"source": {"persistentVolumeClaimName": of}},
        "status": {"readyToUse": true, "restoreSize": "10Gi"}
    })
}

fn one(claim: &Value, snapshot: &Value) -> Result<Value, PromoteError> {
    let (mut promotions, orphans) = plan(std::slice::from_ref(snapshot), std::slice::from_ref(claim), &point());
    assert!(orphans.is_empty());
    promotions.pop().unwrap().promoted
}

#[test]
fn a_promoted_claim_is_like_its_claim_and_comes_from_the_snapshot() {
    let expected = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": "shop", "name": "db-data-rp-20261122-180501",
            "labels": {RECOVERY_POINT: "rp-20261122-180501", PROMOTED_FROM: "db-data", GROUP: "shop"}
        },
        "spec": {
            "storageClassName": "nfs-csi", "accessModes": ["ReadWriteMany"], "volumeMode": "Block",
            "resources": {"requests": {"storage": "10Gi"}},
            "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s1"}
        }
    });
    assert_eq!(one(&claim("db-data"), &snapshot("s1", "db-data")), Ok(expected));
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
fn all_snapshots_of_the_point_are_planned_at_once() {
    let claims = [claim("a"), claim("b"), claim("c")];
    let (promotions, orphans) =
        plan(&[snapshot("s1", "a"), snapshot("s2", "c"), snapshot("s3", "gone")], &claims, &point());
    assert_eq!(promotions.iter().map(|p| p.claim.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(orphans, [("s3".to_owned(), "gone".to_owned())]);
}

#[test]
fn two_snapshots_of_a_claim_fail_that_claim_alone() {
    let claims = [claim("a"), claim("b")];
    let (promotions, _) = plan(&[snapshot("s1", "a"), snapshot("s2", "b"), snapshot("s3", "a")], &claims, &point());
    let text = promotions[0].promoted.as_ref().unwrap_err().to_string();
    assert!(text.contains("s1, s3") && text.contains("shop/a") && text.contains("LW-0611"), "{text}");
    assert!(promotions[1].promoted.is_ok());
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
fn a_name_that_no_label_can_hold_is_refused() {
    let name = "x".repeat(64);
    assert!(one(&claim(&name), &snapshot("s", &name)).unwrap_err().to_string().contains("LW-0613"));
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
    existing["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z".into();
    assert!(!is_same(&existing, &wanted), "it is going away");
}

#[test]
fn a_backup_says_which_point_and_how_long() {
    let backup = |annotations: Value| json!({"kind": "Backup", "metadata": {"annotations": annotations}});
    assert_eq!(request(&backup(json!({}))), Ok(None));
    let of = |annotations| request(&backup(annotations)).map(|r| r.unwrap().deadline.as_secs());
    assert_eq!(of(json!({RECOVERY_POINT: "rp-1"})), Ok(300));
    assert_eq!(of(json!({RECOVERY_POINT: "rp-1", PROMOTION_DEADLINE: "7"})), Ok(7));
    for bad in ["0", "-1", "5m", "86401"] {
        let text = of(json!({RECOVERY_POINT: "rp-1", PROMOTION_DEADLINE: bad})).unwrap_err().to_string();
        assert!(text.contains(bad) && text.contains("LW-0610"), "{text}");
    }
    assert!(of(json!({RECOVERY_POINT: "RP 1"})).is_err());
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
