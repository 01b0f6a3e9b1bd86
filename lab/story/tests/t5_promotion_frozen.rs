//! `take-now-frozen`: the disks of a running machine are promoted from one VirtualMachineSnapshot, for which KubeVirt's
//! controller has the guest frozen.

mod stage;

use anyhow::{Context, Result, ensure};
use leeward_lab::Site;
use leeward_lab_guest::chain;
use leeward_lab_story::{
    guests::{self, NAMESPACE},
    parts::{self, Stage},
    promotion::{Claims, MADE},
    velero::Velero,
};
use leeward_model::keys::{MADE_BY, PROMOTE, USED_BY};
use serde_json::Value;
use stage::{
    at_home, on_the_lab,
    promotion::{beside_velero, holds_each, unique},
    virt_api::VirtApi,
};
use std::time::{Duration, Instant};

const SITE: Site = Site::East;
const DISKS: [&str; 2] = ["db-data", "db-log"];
const MACHINE_SNAPSHOT: (&str, &str) = ("snapshot.kubevirt.io/v1beta1", "VirtualMachineSnapshot");
const CLAIM: (&str, &str) = ("v1", "PersistentVolumeClaim");
/// What the other site makes for itself.
const EXCLUDED: &str = "pods,events,events.events.k8s.io,virtualmachineinstances.kubevirt.io";

#[test]
fn a_running_machine_is_frozen_for_the_snapshot_that_its_disks_are_promoted_from() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        beside_velero(stage, SITE).await?;
        let (claims, backup) = (Claims::of(stage.lab, SITE, NAMESPACE).await?, format!("frozen-{}", unique()));
        let api = VirtApi::join(stage.lab, SITE).await?;
        let tested = frozen(stage, &api, &claims, &backup).await;
        api.leave().await?;
        let cleared = clear(stage, &claims, &backup).await;
        tested.and(cleared)
    });
}

async fn frozen(stage: &Stage<'_>, api: &VirtApi, claims: &Claims<'_>, backup: &str) -> Result<()> {
    let velero = Velero::at(stage.lab, SITE);
    let more = ["--selector", "tier=db", "--exclude-resources", EXCLUDED];
    let phase = velero.back_up(backup, NAMESPACE, &format!("{PROMOTE}=take-now-frozen"), &more).await?;
    ensure!(phase == "Completed", "backup {backup} is {phase}: {:?}", velero.errors(backup).await?);
    let ours = of_backup(claims, MACHINE_SNAPSHOT, backup).await?;
    let [snapshot] = ours.as_slice() else { anyhow::bail!("{} VirtualMachineSnapshots of the backup", ours.len()) };
    let status = &snapshot["status"];
    let indications: Vec<_> =
        status["indications"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    stage.tale.check(
        "the machine's snapshot is ready, and KubeVirt had the guest agent freeze it",
        status["readyToUse"] == true && indications == ["GuestAgent", "Online"],
        status.to_string(),
    );
    let heard = api.heard();
    let calls: Vec<_> = heard.iter().map(|heard| heard.call.as_str()).collect();
    let (freeze, unfreeze) = (format!("{NAMESPACE}/db/freeze"), format!("{NAMESPACE}/db/unfreeze"));
    // KubeVirt thaws again when it looks before it has seen what it did; that changes nothing.
    let thawed = |calls: &[&str]| !calls.is_empty() && calls.iter().all(|call| *call == unfreeze);
    let once = calls.split_first().is_some_and(|(first, then)| *first == freeze && thawed(then));
    stage.tale.check("it was frozen once, then thawed", once, format!("{calls:?}"));
    let said = &heard.first().context("no freeze was heard")?.boot;

    let content = status["virtualMachineSnapshotContentName"].as_str().context("a content")?;
    let contents = claims.cluster().api(MACHINE_SNAPSHOT.0, "VirtualMachineSnapshotContent", Some(NAMESPACE));
    let content = serde_json::to_value(contents.get(content).await?)?;
    let inside = content["spec"]["volumeBackups"].as_array().cloned().unwrap_or_default();
    let mut promoted = claims.promoted().await?;
    promoted.values_mut().for_each(|claims| claims.retain(|claim| is_of(claim, backup)));
    promoted.retain(|_, claims| !claims.is_empty());
    stage.tale.check("its two disks are promoted", promoted.keys().eq(DISKS.iter()), format!("{:?}", promoted.keys()));
    holds_each(stage, "and in the backup", claims, &velero.contents(backup).await?, &promoted);
    for (disk, claims_of) in &promoted {
        let from = claims_of[0].pointer("/spec/dataSource/name").and_then(Value::as_str).unwrap_or_default();
        let own = |of: &&Value| of["persistentVolumeClaim"]["metadata"]["name"] == **disk;
        let taken = inside.iter().find(own).and_then(|of| of["volumeSnapshotName"].as_str());
        stage.tale.check(format!("{disk}: from the machine's snapshot"), taken == Some(from), format!("{taken:?}"));
        let image = fs_err::File::open(claims.folder(&claims_of[0])?.join("disk.img"))?;
        let found = chain::scan(std::io::BufReader::new(image))?;
        let acknowledged = said.last(disk, None).context("an acknowledged record")?.number;
        // One more may have been written and not yet acknowledged.
        stage.tale.check(
            format!("{disk}: whole, and of the moment of the freeze"),
            found.is_whole() && (acknowledged..=acknowledged + 1).contains(&found.records),
            format!("{acknowledged} acknowledged, {} found", found.records),
        );
    }
    // The thawed guest goes on.
    guests::wait_for_records_of(&[("db", &DISKS)], stage.lab, SITE, 1, parts::WRITES).await
}

fn is_of(object: &Value, backup: &str) -> bool {
    object["metadata"]["annotations"].get(format!("{USED_BY}velero.{backup}")).is_some()
        && object["metadata"]["labels"].get(MADE_BY).is_some()
}

async fn of_backup(claims: &Claims<'_>, kind: (&str, &str), backup: &str) -> Result<Vec<Value>> {
    let mut all = claims.all(kind.0, kind.1).await?;
    all.retain(|object| is_of(object, backup));
    Ok(all)
}

/// Takes away what the backup has left in the shop: its promotions are the newest, which the plug-in never deletes.
async fn clear(stage: &Stage<'_>, claims: &Claims<'_>, backup: &str) -> Result<()> {
    let velero = Velero::at(stage.lab, SITE);
    if velero.phase("Backup", backup).await.is_ok() {
        velero.delete(backup).await?;
    }
    let began = Instant::now();
    for kind in [CLAIM, MACHINE_SNAPSHOT] {
        let api = claims.cluster().api(kind.0, kind.1, Some(NAMESPACE));
        loop {
            let left = of_backup(claims, kind, backup).await?;
            if left.is_empty() {
                break;
            }
            ensure!(began.elapsed() < MADE, "{} {} of the backup do not go away", left.len(), kind.1);
            for object in left.iter().filter(|object| object["metadata"]["deletionTimestamp"].is_null()) {
                api.delete(object["metadata"]["name"].as_str().unwrap_or_default(), &Default::default()).await?;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}
