//! Plain Velero with plug-ins that are configured badly, used otherwise than usual, or refused by the API server. Whatever
//! the fault: no volume lands that points home, no claim gets a new and empty one, and somebody is told what to do.

mod stage;

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt as _;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use leeward_lab::Site::{self, East, West};
use leeward_lab_story::files;
use serde_json::{Value, json};
use stage::{
    plain::{Ended, Ground, PUBLISHED, SOON, delete, nfs, on_ground},
    with_fault,
};
use std::time::{Duration, Instant};

/// Two volumes at east that the lab's mapping covers, one of either kind, and a backup of them that west sees.
async fn covered(ground: &Ground<'_>) -> Result<[String; 2]> {
    let in_tree = ground.volume(East, "web", nfs("10.77.0.1", "/export/t6-web")).await?;
    ground.claim(East, "db", json!({})).await?;
    let claim = ground.bound(East, "db").await?;
    let made = claim["spec"]["volumeName"].as_str().context("a volume")?.to_owned();
    ground.back_up(East, "b", json!({})).await?.completed(&[])?;
    ground.hand_over(East, "b").await?;
    Ok([in_tree, made])
}

/// Both volumes are at west, on west's server, and their claims are bound to them.
async fn landed(ground: &Ground<'_>, [in_tree, made]: &[String; 2]) -> Result<()> {
    for claim in ["web", "db"] {
        ground.bound(West, claim).await?;
    }
    let (at_west, claims) = (ground.volumes(West).await?, ground.claims(West).await?);
    ensure!(claims.len() == 2, "west has {claims:?}");
    let (in_tree, made) = (&at_west[in_tree]["spec"], &at_west[made]["spec"]["csi"]);
    ensure!(at_west.len() == 2, "west has {:?}", at_west.keys());
    ensure!(in_tree["nfs"] == json!({"server": "10.77.0.2", "path": "/vault/t6-web"}), "{in_tree}");
    let attributes = &made["volumeAttributes"];
    ensure!(attributes["server"] == "10.77.0.2" && attributes["share"] == "/vault", "{made}");
    let handle = made["volumeHandle"].as_str().unwrap_or_default();
    ensure!(handle.contains("10.77.0.2") && !handle.contains("10.77.0.1"), "{made}");
    Ok(())
}

#[test]
fn a_config_map_that_says_nothing_usable_restores_nothing() {
    on_ground("t6-config", async |ground| {
        let volumes = covered(ground).await?;
        let mapping = files::mapping();
        let with = |mapping: &str| Some(json!({"site": "west", "mapping.yaml": mapping}));
        let other_version = mapping.replace("leeward.io/v1alpha1", "leeward.io/v9");
        let faults: [(&str, Option<Value>, &[&str]); 6] = [
            ("absent", None, &["LW-0601", "velero/leeward-site does not exist", "create it with the keys"]),
            ("empty", Some(json!({})), &["LW-0602", "has no key `site`; add it"]),
            ("no-mapping", Some(json!({"site": "west"})), &["LW-0602", "has no key `mapping.yaml`; add it"]),
            ("version", with(&other_version), &["LW-0603", "correct the site mapping", "apiVersion", "leeward.io/v9"]),
            ("unparsable", with("rules: [ {"), &["LW-0603", "correct the site mapping", "line 1"]),
            (
                "elsewhere",
                Some(json!({"site": "north", "mapping.yaml": mapping})),
                &["LW-0604", "correct the key `site`"],
            ),
        ];
        for (name, config, saying) in faults {
            ground.configure(West, config.clone()).await?;
            ground.restore(West, "b", name, json!({})).await?.refused(saying)?;
            ground.nothing_at(West).await.context(name)?;
        }
        // At the backup it is the same: what could not be restored is not stored as if it could.
        ground.configure(East, None).await?;
        ground.back_up(East, "absent", json!({})).await?.refused(&["LW-0601", "velero/leeward-site"])?;
        // Two that may be: ours wins, and the other is mentioned.
        ground.configure(West, with(&mapping)).await?;
        let elsewhere = json!({"rule1.path": "spec.nfs.server", "rule1.find": ".*", "rule1.replace": "10.77.0.99"});
        ground.config_map(West, PUBLISHED, Some(elsewhere)).await?;
        let ended = ground.restore(West, "b", "two", json!({})).await?;
        ended.completed(&["leeward-site has a site mapping, so ConfigMap velero-plugin-regex-map is not used"])?;
        landed(ground, &volumes).await
    });
}

#[test]
fn the_published_config_map_works_as_strictly_as_a_mapping() {
    on_ground("t6-rules", async |ground| {
        let volumes = covered(ground).await?;
        let rules = json!({
            "rule1.path": "spec.nfs.server", "rule1.find": "^10\\.77\\.0\\.1$", "rule1.replace": "10.77.0.2",
            "rule2.path": "spec.nfs.path", "rule2.find": "^/export/", "rule2.replace": "/vault/",
            "rule3.path": "spec.csi.volumeHandle", "rule3.find": "^10\\.77\\.0\\.1#export#", "rule3.replace": "10.77.0.2#vault#",
            "rule4.path": "spec.csi.volumeAttributes.server", "rule4.find": "^10\\.77\\.0\\.1$", "rule4.replace": "10.77.0.2",
            // By number, not by name: the tenth rule finds what the ninth has made.
            "rule9.path": "spec.csi.volumeAttributes.share", "rule9.find": "^/export$", "rule9.replace": "/first",
            "rule10.path": "spec.csi.volumeAttributes.share", "rule10.find": "^/first$", "rule10.replace": "/vault",
        });
        ground.config_map(West, PUBLISHED, Some(rules)).await?;
        ground.configure(West, Some(json!({"site": "west"}))).await?;
        ground.restore(West, "b", "no-other", json!({})).await?.refused(&["LW-0602", "has no key `other-site`"])?;
        ground.nothing_at(West).await?;

        ground.configure(West, Some(json!({"site": "west", "other-site": "east"}))).await?;
        let ended = ground.restore(West, "b", "rules", json!({})).await?;
        ended.completed(&["the rules of ConfigMap velero-plugin-regex-map are used from east to west"])?;
        ensure!(ended.lines("level=warning").contains(PUBLISHED), "no warning of {PUBLISHED}");
        landed(ground, &volumes).await?;

        let uncovered = ground.volume(East, "other", nfs("10.77.0.10", "/other/t6")).await?;
        ground.back_up(East, "other", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "other").await?;
        let ended = ground.restore(West, "other", "other", json!({})).await?;
        ended.refused(&["LW-0130", &uncovered, "10.77.0.10"])?;
        // Those that are there already stay as they are.
        landed(ground, &volumes).await
    });
}

#[test]
fn a_test_restore_says_all_and_restores_nothing() {
    on_ground("t6-test", async |ground| {
        let [in_tree, made] = covered(ground).await?;
        let test = || json!({"metadata": {"annotations": {"leeward.io/mode": "test"}}});
        let ended = ground.restore(West, "b", "test", test()).await?;
        ended.completed(&[])?;
        for (volume, field) in [(&in_tree, "/spec/nfs/server"), (&made, "/spec/csi/volumeHandle")] {
            let said = ended.lines(&format!("test, nothing is restored: PersistentVolume {volume}: rule nas changes"));
            ensure!(said.contains(field) && said.contains("10.77.0.2"), "of {volume} it says {said:?}");
        }
        let claim = format!("PersistentVolumeClaim {}/db lands bound to PersistentVolume {made}, class", ground.name);
        ended.completed(&[&claim])?;
        ground.nothing_at(West).await?;

        let uncovered = ground.volume(East, "other", nfs("10.77.0.1", "/exports/t6")).await?;
        ground.back_up(East, "other", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "other").await?;
        let tested = ground.restore(West, "other", "tested", test()).await?;
        let message = message(&tested, &uncovered)?;
        ground.nothing_at(West).await?;
        let earnest = ground.restore(West, "other", "earnest", json!({})).await?;
        earnest.refused(&[&message])?;
        let at_west = ground.volumes(West).await?;
        ensure!(!at_west.contains_key(&uncovered) && at_west.len() == 2, "west has {:?}", at_west.keys());
        Ok(())
    });
}

/// What an ended Restore says of a volume that no rule covers.
fn message(ended: &Ended, volume: &str) -> Result<String> {
    ended.refused(&[volume, "LW-0130"])?;
    let error = ended.errors().find(|error| error.contains("LW-0130")).context("an error")?;
    let from = error.find(&format!("PersistentVolume \"{volume}\"")).context("the volume")?;
    let to = error.find("[LW-0130]").context("the code")?;
    Ok(error[from..to].to_owned())
}

#[test]
fn a_backup_in_which_data_would_travel_is_refused_before_it_does() {
    on_ground("t6-data", async |ground| {
        ground.claim(East, "db", json!({})).await?;
        let before = snapshots_since(ground, None).await?.0;
        let faults: [(&str, Value, &[&str]); 4] = [
            ("default", json!({"snapshotVolumes": null}), &["which means true", "set spec.snapshotVolumes: false"]),
            (
                "asked",
                json!({"snapshotVolumes": true}),
                &["spec.snapshotVolumes: true", "set spec.snapshotVolumes: false"],
            ),
            ("moved", json!({"snapshotMoveData": true}), &["set spec.snapshotMoveData: false"]),
            ("files", json!({"defaultVolumesToFsBackup": true}), &["set spec.defaultVolumesToFsBackup: false"]),
        ];
        for (name, spec, saying) in faults {
            let ended = ground.back_up(East, name, json!({"spec": spec})).await?;
            ended.refused(&["LW-0632"])?;
            ended.refused(saying)?;
        }
        pod(ground, json!({"backup.velero.io/backup-volumes": "data"})).await?;
        let ended = ground.back_up(East, "pod", json!({})).await?;
        ended.refused(&["LW-0632", &format!("pod {}/p has the annotation", ground.name), "backup-volumes: data"])?;
        let taken = snapshots_since(ground, Some(&before)).await?.1;
        ensure!(taken.is_empty(), "Velero took {taken:?}");

        delete(&ground.own(East, "Pod").await?, "p").await?;
        let allow = json!({"metadata": {"annotations": {"leeward.io/volume-data": "allow"}}, "spec": {"snapshotVolumes": true}});
        ground.back_up(East, "allowed", allow).await?.completed(&[])?;
        let taken = snapshots_since(ground, Some(&before)).await?.1;
        ensure!(
            !taken.is_empty(),
            "Velero took nothing where it was allowed to, so that its taking nothing says nothing"
        );
        Ok(())
    });
}

/// The state of things now, and the VolumeSnapshots that were made since a state, gone since or not.
async fn snapshots_since(ground: &Ground<'_>, state: Option<&str>) -> Result<(String, Vec<String>)> {
    let cluster = ground.cluster(East).await?;
    let snapshots = cluster.api("snapshot.storage.k8s.io/v1", "VolumeSnapshot", Some(&ground.name));
    let now = snapshots.list(&ListParams::default()).await?.metadata.resource_version.context("a version")?;
    let mut made = Vec::new();
    if let Some(state) = state {
        // The server tells what was from `state` until now, and then waits for more for as long as it is told to.
        let events = snapshots.watch(&WatchParams::default().timeout(2), state).await?;
        let names = events.try_filter_map(async |event| {
            Ok(if let WatchEvent::Added(snapshot) = event { snapshot.metadata.name } else { None })
        });
        made = names.try_collect().await?;
    }
    Ok((now, made))
}

/// A pod with a claim's volume, which nobody starts.
async fn pod(ground: &Ground<'_>, annotations: Value) -> Result<()> {
    // The API server takes no pod before the namespace has its service account.
    let accounts = ground.own(East, "ServiceAccount").await?;
    ground.cluster(East).await?.wait(&accounts, "default", SOON, "kube-controller-manager", |_| true).await?;
    ground
        .cluster(East)
        .await?
        .apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": ground.name, "annotations": annotations},
            "spec": {
                "schedulerName": "nobody", "containers": [{"name": "c", "image": "leeward.io/lab/none"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "db"}}],
            },
        }))
        .await
}

#[test]
fn what_the_api_server_refuses_is_told_and_the_repeat_is_whole() {
    on_ground("t6-denied", async |ground| {
        ground.claim(East, "db", json!({})).await?;
        let promote = || json!({"metadata": {"annotations": {"leeward.io/promote": "take-now"}}});
        let of_ours = "has(object.metadata.labels) && 'leeward.io/made-by' in object.metadata.labels";
        let claims = format!("object.metadata.namespace == '{}' && {of_ours}", ground.name);
        denying(ground, East, "persistentvolumeclaims", "CREATE", &claims, async {
            let ended = ground.back_up(East, "denied", promote()).await?;
            let promoted = format!("create PersistentVolumeClaim {}/db-", ground.name);
            ended.refused(&["LW-0614", "LW-0606", &promoted, "this lab refuses", "then repeat"])
        })
        .await?;
        ensure!(ground.claims(East).await? == ["db"], "{:?}", ground.claims(East).await?);
        ground.back_up(East, "whole", promote()).await?.completed(&[])?;
        let claims = ground.claims(East).await?;
        ensure!(claims.len() == 2, "of one claim there are {claims:?}");
        for claim in &claims {
            ground.bound(East, claim).await?;
        }

        ground.hand_over(East, "whole").await?;
        ground.restore(West, "whole", "first", json!({})).await?.completed(&[])?;
        let bound = ground.bound(West, "db").await?;
        let volume = bound["spec"]["volumeName"].as_str().context("a volume")?;
        delete(&ground.own(West, "PersistentVolumeClaim").await?, "db").await?;
        ground.volume_is(West, volume, "Released").await?;
        let it = format!("object.metadata.name == '{volume}'");
        denying(ground, West, "persistentvolumes", "UPDATE", &it, async {
            let ended = ground.restore(West, "whole", "denied", json!({})).await?;
            ended.refused(&[
                "LW-0606",
                &format!("patch PersistentVolume {volume}"),
                "this lab refuses",
                "then repeat",
            ])?;
            let claims = ground.claims(West).await?;
            ensure!(claims.is_empty(), "claims without their volume: {claims:?}");
            Ok(())
        })
        .await?;
        ground.restore(West, "whole", "again", json!({})).await?.completed(&[])?;
        let again = ground.bound(West, "db").await?;
        ensure!(again["spec"]["volumeName"] == volume, "bound to {}", again["spec"]["volumeName"]);
        Ok(())
    });
}

/// Does `work` while a site's API server refuses an operation on what the CEL condition says.
async fn denying(
    ground: &Ground<'_>,
    site: Site,
    resource: &str,
    operation: &str,
    condition: &str,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let cluster = ground.cluster(site).await?;
    let api = |kind: &str| cluster.api("admissionregistration.k8s.io/v1", kind, None);
    let (policies, bindings) = (api("ValidatingAdmissionPolicy"), api("ValidatingAdmissionPolicyBinding"));
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": ground.name}, "spec": spec,
        })
    };
    // A policy takes a moment to be in force. Whether it is, this tells; it needs nothing that the work needs.
    let probe =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "namespace": ground.name}});
    let rule = |resource: &str, operation: &str| json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": [resource]});
    let policy = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule(resource, operation), rule("configmaps", "CREATE")]},
        "validations": [{
            "expression": format!("object.kind == 'ConfigMap' ? object.metadata.name != 'probe' : !({condition})"),
            "message": "this lab refuses",
        }],
    });
    let in_force = async |wanted: bool| {
        let maps = ground.own(site, "ConfigMap").await?;
        let (dry, probe) = (PostParams { dry_run: true, ..Default::default() }, serde_json::from_value(probe.clone())?);
        let began = Instant::now();
        while maps.create(&dry, &probe).await.is_err() != wanted {
            ensure!(began.elapsed() < SOON, "{}: the policy is in force: {}", ground.name, !wanted);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    let fault = async {
        cluster.apply(&object("ValidatingAdmissionPolicy", policy)).await?;
        let binding = json!({"policyName": ground.name, "validationActions": ["Deny"]});
        cluster.apply(&object("ValidatingAdmissionPolicyBinding", binding)).await?;
        in_force(true).await
    };
    let undo = async {
        delete(&bindings, &ground.name).await?;
        delete(&policies, &ground.name).await?;
        in_force(false).await
    };
    with_fault(fault, work, undo).await
}
