//! Which claims a plain backup promotes, in which class, and when what it made goes again.

mod stage;

use anyhow::{Context, Result, ensure};
use leeward_lab::{CLASS, Site};
use leeward_lab_story::promotion::Claims;
use leeward_model::keys::{PROMOTE, PROMOTED_FROM, RECOVERY_POINT, USED_BY};
use serde_json::{Value, json};
use stage::promotion::{Promoted, holds_each, live_claims, names, on_claims, policy};
use std::collections::BTreeSet;

const SITE: Site = Site::East;
const EXCLUDED: &str = "velero.io/exclude-from-backup";

#[test]
fn what_was_promoted_goes_with_its_backup_but_never_the_newest_two_nor_what_others_made() {
    on_claims("retention", async |stage, claims, velero, backups| {
        claims.make(&["data".to_owned()], &json!({})).await?;
        let made: Vec<_> = (0..4).map(|_| backups.name()).collect();
        // Somebody's own, in everything but the mark of who made it.
        let point = "now-20260101-000000-abcdef";
        let alike = format!("data-{point}");
        let labels = json!({PROMOTED_FROM: "data", RECOVERY_POINT: point, EXCLUDED: "true"});
        let mut claim = claims.claim(&alike, CLASS, &labels);
        let used_by = format!("{USED_BY}velero.{}", made[0]);
        claim["metadata"]["annotations"] = json!({PROMOTED_FROM: "data", used_by: format!("velero/{}", made[0])});
        claims.make_these(&[claim]).await?;
        claims.snapshot(&["data".to_owned()], point).await?;

        let mut promoted = Vec::new();
        for backup in &made {
            let phase = velero.back_up(backup, claims.namespace(), &format!("{PROMOTE}=take-now"), &[]).await?;
            ensure!(phase == "Completed", "backup {backup} is {phase}: {:?}", velero.errors(backup).await?);
            promoted.push(Promoted::of(claims, backup).await?);
        }
        // The oldest, the next, and those that are the newest two.
        for (n, backup) in made.iter().enumerate() {
            velero.delete(backup).await?;
            for (m, promoted) in promoted.iter().enumerate() {
                if m <= n && m < 2 {
                    promoted.wait_until_gone(claims).await?;
                } else {
                    let all = promoted.parts(claims).await?;
                    stage.tale.check(
                        format!("with {} of 4 backups deleted, promotion {} is whole", n + 1, m + 1),
                        all.len() == 4,
                        format!("{all:?}"),
                    );
                }
            }
        }
        let left = (claims.snapshots().await?, live_claims(claims).await?);
        let others = left.0.contains(&alike) && left.1.contains(&alike) && left.1.contains("data");
        stage.tale.check("what others made stays", others, format!("{left:?}"));
        stage.tale.check("and nothing more", left.0.len() == 3 && left.1.len() == 4, format!("{left:?}"));
        Ok(())
    });
}

#[test]
fn a_class_that_waits_for_a_consumer_is_refused_and_with_a_twin_it_works() {
    on_claims("late-class", async |stage, claims, velero, backups| {
        let classes = claims.cluster().api("storage.k8s.io/v1", "StorageClass", None);
        let class = serde_json::to_value(classes.get(CLASS).await?)?;
        let late = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "late"},
            "provisioner": class["provisioner"], "parameters": class["parameters"],
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        });
        claims.cluster().apply(&late).await?;
        let tested = async {
            let nodes = claims.cluster().api("v1", "Node", None).list(&Default::default()).await?;
            let node = nodes.items.first().and_then(|node| node.metadata.name.clone()).context("a node")?;
            let mut claim = claims.claim("data", "late", &json!({}));
            // What the scheduler writes for the claim's first consumer.
            claim["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": node});
            claims.make_these(&[claim]).await?;
            claims.snapshot(&["data".to_owned()], "rp").await?;
            let (asked, first, second) = (format!("{RECOVERY_POINT}=rp"), backups.name(), backups.name());
            let phase = velero.back_up(&first, claims.namespace(), &asked, &[]).await?;
            let errors = velero.errors(&first).await?.join("\n");
            stage.tale.check(
                "refused, and the rule to write is named",
                phase == "PartiallyFailed"
                    && ["LW-0623", "late-class/data", "twinClasses: { late:"].iter().all(|part| errors.contains(part)),
                format!("{phase}: {errors}"),
            );
            let none = claims.promoted().await?;
            stage.tale.check("nothing was made that would wait for ever", none.is_empty(), format!("{none:?}"));

            policy(stage, SITE, Some(&format!("twinClasses: {{ late: {CLASS} }}"))).await?;
            let phase = velero.back_up(&second, claims.namespace(), &asked, &[]).await?;
            stage.tale.check("with its twin it is whole", phase == "Completed", phase);
            let promoted = claims.promoted().await?;
            holds_each(stage, "the claim is promoted", claims, &velero.contents(&second).await?, &promoted);
            let promoted = promoted.get("data").and_then(|claims| claims.first()).context("no promoted claim")?;
            let class = promoted["spec"]["storageClassName"].as_str();
            stage.tale.check("in the twin's class", class == Some(CLASS), format!("{class:?}"));
            let data = fs_err::read_to_string(claims.folder(promoted)?.join("name"))?;
            stage.tale.check("with its data", data == "data", data);
            Ok(())
        }
        .await;
        classes.delete("late", &Default::default()).await?;
        tested
    });
}

#[test]
fn a_backup_by_label_promotes_what_it_selects_and_nothing_else() {
    on_claims("by-label", async |stage, claims, velero, backups| {
        let (gold, tin) = (names("gold", 2), names("tin", 2));
        claims.make(&gold, &json!({"tier": "gold"})).await?;
        claims.make(&tin, &json!({"tier": "tin"})).await?;
        claims.snapshot(&[gold, tin].concat(), "rp").await?;
        let backup = backups.name();
        let selector = ["--selector", "tier=gold"];
        let phase = velero.back_up(&backup, claims.namespace(), &format!("{RECOVERY_POINT}=rp"), &selector).await?;
        stage.tale.check("the backup is whole", phase == "Completed", phase);
        let held = velero.contents(&backup).await?;
        only(stage, claims, &held, &["gold-00", "gold-01"]).await
    });
}

#[test]
fn a_backup_of_one_machine_promotes_its_disks_and_nothing_of_the_others() {
    on_claims("one-machine", async |stage, claims, velero, backups| {
        let (one, two) = (names("one", 2), names("two", 2));
        // As a wizard makes them: the claims do not have their machine's label.
        claims.make(&[one.clone(), two.clone()].concat(), &json!({})).await?;
        for (name, disks) in [("one", &one), ("two", &two)] {
            claims.cluster().apply(&machine(claims, name, disks)).await?;
        }
        claims.snapshot(&[one, two].concat(), "rp").await?;
        let backup = backups.name();
        let selector = ["--selector", "app=one"];
        let phase = velero.back_up(&backup, claims.namespace(), &format!("{RECOVERY_POINT}=rp"), &selector).await?;
        stage.tale.check("the backup is whole", phase == "Completed", phase);
        let held = velero.contents(&backup).await?;
        let machines: Vec<_> = held.iter().filter(|name| name.starts_with("virtualmachines.kubevirt.io/")).collect();
        stage.tale.check("it has the one machine", machines.len() == 1, format!("{machines:?}"));
        only(stage, claims, &held, &["one-00", "one-01"]).await
    });
}

/// Checks that exactly these claims are promoted, and that a backup has them, what they are promoted to, and no others.
async fn only(
    stage: &leeward_lab_story::parts::Stage<'_>,
    claims: &Claims<'_>,
    held: &BTreeSet<String>,
    wanted: &[&str],
) -> Result<()> {
    let promoted = claims.promoted().await?;
    stage.tale.check("exactly those are promoted", promoted.keys().eq(wanted.iter()), format!("{:?}", promoted.keys()));
    holds_each(stage, "and in the backup", claims, held, &promoted);
    for kind in ["persistentvolumeclaims/", "persistentvolumes/"] {
        let of_kind: Vec<_> = held.iter().filter(|name| name.starts_with(kind)).collect();
        stage.tale.check(format!("no other {kind}"), of_kind.len() == 2 * wanted.len(), format!("{of_kind:?}"));
    }
    Ok(())
}

/// A machine that does not run.
fn machine(claims: &Claims<'_>, name: &str, disks: &[String]) -> Value {
    let volumes: Vec<_> =
        disks.iter().map(|disk| json!({"name": disk, "persistentVolumeClaim": {"claimName": disk}})).collect();
    let disks: Vec<_> = disks.iter().map(|disk| json!({"name": disk, "disk": {"bus": "virtio"}})).collect();
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"namespace": claims.namespace(), "name": name, "labels": {"app": name}},
        "spec": {
            "runStrategy": "Halted",
            "template": {"spec": {
                "domain": {"devices": {"disks": disks}, "resources": {"requests": {"memory": "64Mi"}}},
                "volumes": volumes,
            }},
        },
    })
}
