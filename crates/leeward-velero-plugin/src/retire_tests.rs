use super::*;
use crate::played::Played;
use serde_json::json;

const CLAIM: &str = "persistentvolumeclaims";

/// The promotion of claim `a` at `hour`, by the plug-in, for these Backups of Velero's namespace.
fn promoted(hour: u32, users: &[&str]) -> Value {
    let marks = users.iter().map(|user| format!("velero/{user}"));
    let mut annotations: serde_json::Map<_, _> = marks.map(|user| (naming::used_by(&user), user.into())).collect();
    annotations.insert(PROMOTED_FROM.to_owned(), "a".into());
    json!({
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": "shop", "name": format!("a-rp-{hour}"), "uid": format!("u{hour}"),
            "creationTimestamp": format!("2026-11-22T{hour:02}:00:00Z"), "annotations": annotations,
            "labels": {MADE_BY: PLUG_IN, PROMOTED_FROM: "a", RECOVERY_POINT: format!("rp-{hour}")}
        },
        "spec": {"volumeName": format!("pv{hour}")}, "status": {"phase": "Bound"}
    })
}

fn snapshot(hour: u32, users: &[&str]) -> Value {
    let mut snapshot = promoted(hour, users);
    snapshot["kind"] = "VolumeSnapshot".into();
    snapshot["metadata"]["name"] = format!("snap-{hour}").into();
    snapshot
}

fn backup(name: &str, phase: &str) -> Value {
    json!({"metadata": {"namespace": "velero", "name": name}, "status": {"phase": phase}})
}

fn played(claims: &[Value], backups: &[Value]) -> Arc<Played> {
    let played = Played::new(claims.to_vec(), Vec::new());
    played.promote("keepNewest: 1");
    backups.iter().for_each(|backup| played.add("backups", backup.clone()));
    for (name, path) in [("pv10", "/a"), ("pv11", "/b"), ("pv12", "/c")] {
        played.add(
            "persistentvolumes",
            json!({"metadata": {"name": name}, "spec": {"nfs": {"server": "s", "path": path}}}),
        );
    }
    Arc::new(played)
}

#[tokio::test]
async fn what_an_interrupted_backup_promoted_goes_with_it_though_its_archive_has_no_claim() {
    let played = played(
        &[promoted(10, &["broken"]), promoted(11, &["new"])],
        &[backup("broken", "Deleting"), backup("new", "Completed")],
    );
    let retire = Retire::new(played.cluster());
    assert!(retire.applies_to().included_resources.iter().any(|resource| resource == "namespaces"));
    let namespace = json!({"kind": "Namespace", "metadata": {"name": "shop"}});
    retire.execute(namespace, &backup("broken", "Deleting")).await.unwrap();
    assert!(played.object(CLAIM, "a-rp-10").is_none());
    assert!(played.object(CLAIM, "a-rp-11").is_some());
}

async fn delete_backup(played: &Arc<Played>, name: &str) -> Result<(), String> {
    let retire = Retire::new(played.cluster());
    let item = json!({"metadata": {"namespace": "shop", "name": "a"}});
    for _ in 0..2 {
        let done = retire.execute(item.clone(), &backup(name, "Deleting")).await;
        done.map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_backup_promoted_goes_with_it_but_not_before_a_newer_point_is_verified() {
    for (newer, goes) in [("Completed", true), ("InProgress", false), ("PartiallyFailed", false)] {
        let played = played(
            &[promoted(10, &["old"]), promoted(11, &["new"])],
            &[backup("old", "Deleting"), backup("new", newer)],
        );
        played.add("volumesnapshots", snapshot(10, &["old"]));
        delete_backup(&played, "old").await.unwrap();
        assert_eq!(played.object(CLAIM, "a-rp-10").is_none(), goes, "{newer}");
        assert_eq!(played.object("volumesnapshots", "snap-10").is_none(), goes, "{newer}");
        // The newest itself stays, whoever deletes its backup.
        delete_backup(&played, "new").await.unwrap();
        assert!(played.object(CLAIM, "a-rp-11").is_some());
    }
}

#[tokio::test]
async fn an_older_point_is_no_reason_to_let_the_newest_go() {
    let played = played(
        &[promoted(10, &["old"]), promoted(11, &["new"])],
        &[backup("old", "Completed"), backup("new", "Deleting")],
    );
    delete_backup(&played, "new").await.unwrap();
    assert_eq!(played.names(CLAIM), ["a-rp-10", "a-rp-11"]);
}

#[tokio::test]
async fn as_many_newer_ones_as_the_site_keeps() {
    for (keep, goes) in [("none", false), ("keepNewest: 1", true)] {
        let played = played(
            &[promoted(10, &["old"]), promoted(11, &["new"])],
            &[backup("old", "Deleting"), backup("new", "Completed")],
        );
        played.promote(keep);
        delete_backup(&played, "old").await.unwrap();
        assert_eq!(
            played.object(CLAIM, "a-rp-10").is_none(),
            goes,
            "{keep}: the storage may not be done with the newest"
        );
    }
}

#[tokio::test]
async fn what_another_backup_needs_or_nobody_of_us_made_stays() {
    let old = [backup("old", "Deleting"), backup("new", "Completed"), backup("too", "Completed")];
    let mut foreign = promoted(10, &["old"]);
    foreign["metadata"]["labels"].as_object_mut().unwrap().remove(MADE_BY);
    let mut of_another_velero = promoted(10, &["old"]);
    of_another_velero["metadata"]["annotations"][naming::used_by("oadp/x")] = "oadp/x".into();
    for claim in [promoted(10, &["old", "too"]), promoted(10, &["other"]), foreign, of_another_velero] {
        let played = played(&[claim.clone(), promoted(11, &["new"])], &old);
        delete_backup(&played, "old").await.unwrap();
        assert!(played.object(CLAIM, "a-rp-10").is_some(), "{claim}");
    }
}

#[tokio::test]
async fn what_is_in_use_stays_and_is_told() {
    type Change = fn(&Played);
    let cases: [(Change, &str); 3] = [
        (
            |p| {
                p.add(
                    "pods",
                    json!({
                        "metadata": {"namespace": "shop", "name": "virt-launcher"},
                        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "a-rp-10"}}]}
                    }),
                )
            },
            "pod virt-launcher",
        ),
        (|p| p.set(CLAIM, "a-rp-10", |c| c["metadata"]["ownerReferences"] = json!([{"kind": "DataVolume"}])), "owner"),
        // The VM was recovered from it at this site.
        (
            |p| {
                p.add(
                    "persistentvolumes",
                    json!({"metadata": {"name": "live"}, "spec": {"nfs": {"server": "s", "path": "/a"}}}),
                )
            },
            "PersistentVolume live",
        ),
    ];
    for (change, part) in cases {
        let played = played(
            &[promoted(10, &["old"]), promoted(11, &["new"])],
            &[backup("old", "Deleting"), backup("new", "Completed")],
        );
        change(&played);
        let text = delete_backup(&played, "old").await.unwrap_err();
        assert!(text.contains("shop/a-rp-10") && text.contains(part) && text.contains("LW-0624"), "{text}");
        assert!(played.object(CLAIM, "a-rp-10").is_some());
    }
}

#[tokio::test]
async fn what_changes_in_the_last_moment_is_not_deleted() {
    let played = played(&[promoted(10, &["old"])], &[]);
    let seen = played.object(CLAIM, "a-rp-10").unwrap();
    // Another backup finds the claim and marks it as its own, between our look and our deletion.
    played.set(CLAIM, "a-rp-10", |c| c["metadata"]["annotations"]["x"] = "y".into());
    assert!(!played.cluster().delete(&CLAIMS, &seen).await.unwrap());
    assert!(played.object(CLAIM, "a-rp-10").is_some());
}

#[tokio::test]
async fn the_sweep_takes_what_the_deletion_of_backups_left_behind() {
    let played = played(
        &[promoted(10, &["gone"]), promoted(11, &["running"]), promoted(12, &["new"])],
        &[backup("new", "Completed"), backup("running", "InProgress")],
    );
    // Taken for a backup that failed before anything was promoted from it.
    let mut orphan = snapshot(9, &["gone"]);
    orphan["metadata"]["name"] = "orphan".into();
    played.add("volumesnapshots", orphan);
    // This backup's own, which is not among the Backups that were listed.
    let mut own = snapshot(13, &["own"]);
    own["metadata"]["name"] = "own".into();
    played.add("volumesnapshots", own);
    let mut of_machine = snapshot(9, &["gone"]);
    of_machine["kind"] = "VirtualMachineSnapshot".into();
    played.add("virtualmachinesnapshots", of_machine);
    sweep(played.cluster(), vec!["shop".to_owned()], "velero/own".to_owned()).await;
    assert_eq!(played.names(CLAIM), ["a-rp-11", "a-rp-12"]);
    assert_eq!(played.names("volumesnapshots"), ["own"]);
    assert_eq!(played.names("virtualmachinesnapshots"), [""; 0]);
}
