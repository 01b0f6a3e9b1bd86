//! Cycle, migrate and failback: the planned parts.

use super::{Stage, WRITES, objective, row, since, total};
use crate::guests::{self, GUESTS};
use anyhow::{Context, Result};
use jiff::Timestamp;
use leeward_lab::{CLASS, Site};
use leeward_model::report::EventKind;
use serde_json::Value;

/// Part 1: a recovery point is made at west while the guests go on writing at east.
///
/// # Errors
/// Something does not work at all; what merely does not hold is a failed check.
pub async fn cycle(stage: &Stage<'_>) -> Result<()> {
    let tale = stage.tale;
    tale.heading("cycle: snapshot, promote, back up, replicate, stage at west");
    stage.bring_to(Site::East).await?;
    let (began, from) = (Timestamp::now(), tale.checks());
    let boots = stage.boots(Site::West)?;
    let called = stage.leeward.done(&["cycle", "shop"], &stage.hear()).await?;
    tale.run(&called.data);
    let point = called.data.get("point").and_then(Value::as_str).context("the cycle names no point")?.to_owned();

    let east = stage.lab.cluster(Site::East).await?;
    for claim in ["db-data", "db-log"] {
        let promoted = east
            .api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE))
            .get_opt(&format!("{claim}-{point}"))
            .await?;
        let promoted = promoted.map(serde_json::to_value).transpose()?.unwrap_or_default();
        let source = promoted.pointer("/spec/dataSource/kind").and_then(Value::as_str).unwrap_or("nothing");
        let bound = promoted.pointer("/status/phase").and_then(Value::as_str).unwrap_or("absent");
        tale.check(
            format!("the snapshot of {claim} was promoted to a claim of its own"),
            source == "VolumeSnapshot" && bound == "Bound",
            format!("{claim}-{point}: {bound}, made from {source}, class {CLASS}"),
        );
    }
    let west = stage.lab.cluster(Site::West).await?;
    for (vm, disks) in GUESTS {
        let staged = west.api("kubevirt.io/v1", "VirtualMachine", Some(guests::NAMESPACE)).get_opt(vm).await?;
        let staged = staged.map(serde_json::to_value).transpose()?.unwrap_or_default();
        let strategy = staged.pointer("/spec/runStrategy").and_then(Value::as_str).unwrap_or("absent");
        tale.check(
            format!("VM {vm} is staged at west and halted"),
            strategy == "Halted",
            format!("runStrategy {strategy}"),
        );
        for disk in disks {
            let address = address_at(stage, Site::West, disk).await?;
            let at_west = address.starts_with(&format!("{}:{}/", Site::West.address(), Site::West.share()));
            tale.check(format!("{disk} at west points to the copy"), at_west, address);
        }
    }
    tale.check("no guest was started at west", stage.boots(Site::West)? == boots, "no new boot on any console there");
    let verdict = tale.verdict(from);
    tale.part(
        began,
        row("cycle", "a recovery point is made at west while the guests write on at east", since(began), verdict),
        None,
    );
    Ok(())
}

/// Server and directory that the volume bound to a claim names.
pub(super) async fn address_at(stage: &Stage<'_>, site: Site, claim: &str) -> Result<String> {
    let cluster = stage.lab.cluster(site).await?;
    let claim = cluster.api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE)).get_opt(claim).await?;
    let claim = claim.map(serde_json::to_value).transpose()?.unwrap_or_default();
    let Some(volume) = claim.pointer("/spec/volumeName").and_then(Value::as_str) else {
        return Ok("not bound".to_owned());
    };
    let volume = serde_json::to_value(cluster.api("v1", "PersistentVolume", None).get(volume).await?)?;
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(match volume.pointer("/spec/nfs") {
        Some(_) => format!("{}:{}", text("/spec/nfs/server"), text("/spec/nfs/path")),
        None => {
            let attribute = |name: &str| text(&format!("/spec/csi/volumeAttributes/{name}")).to_owned();
            format!("{}:{}/{}", attribute("server"), attribute("share"), attribute("subdir"))
        }
    })
}

/// Part 2: the group moves to west, planned.
///
/// # Errors
/// As [`cycle`].
pub async fn migrate(stage: &Stage<'_>) -> Result<()> {
    stage.tale.heading("migrate: east → west, planned, nothing may be lost");
    stage.bring_to(Site::East).await?;
    move_to(stage, "migrate", Site::West, &["migrate", "shop", "--yes"]).await
}

/// Part 3: the group moves back home, by the same engine with the sites swapped.
///
/// # Errors
/// As [`cycle`].
pub async fn failback(stage: &Stage<'_>) -> Result<()> {
    stage.tale.heading("failback: west → east, the same the other way round");
    stage.bring_to(Site::West).await?;
    move_to(stage, "failback", Site::East, &["failback", "shop", "--yes"]).await
}

/// A planned move, and the proof from the guests' own chains that nothing was lost.
pub(super) async fn move_to(stage: &Stage<'_>, part: &str, target: Site, args: &[&str]) -> Result<()> {
    let tale = stage.tale;
    let source = target.other();
    let (began, from) = (Timestamp::now(), tale.checks());
    let boots = stage.boots(target)?;
    let called = stage.leeward.done(args, &stage.hear()).await?;
    tale.run(&called.data);
    guests::wait_for_records(stage.lab, target, 2, WRITES).await?;

    let steps = called.data.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
    let proof = steps.iter().find(|step| step.get("step").and_then(Value::as_str) == Some("fenceSource"));
    let refused = proof.and_then(|step| step.pointer("/output/refused_by")).and_then(Value::as_str).unwrap_or_default();
    tale.check(format!("a write at {source} is refused"), !refused.is_empty(), refused);
    for (vm, _) in GUESTS {
        let stopped = guests::newest(stage.lab, source, vm)?.stopped;
        tale.check(
            format!("{vm} was shut down in order at {source}"),
            stopped,
            "the guest's last word there is `LW stop`",
        );
    }
    let acknowledged = stage.last(source, None)?;
    let found = stage.found(target, &boots)?;
    stage.nothing_lost(&acknowledged, &found);
    let (at, outage) = stage.outage(&acknowledged, target)?;
    tale.event(at, None, EventKind::Outage, part, outage);
    let verdict = tale.verdict(from);
    let mut row = row(part, &format!("planned move {source} → {target}"), since(began), verdict);
    row.records_before = Some(total(&acknowledged));
    row.records_after = Some(total(&found));
    row.records_lost = Some(total(&acknowledged).saturating_sub(total(&found)));
    row.seconds_lost = Some(0.0);
    tale.part(began, row, Some(objective(part, 0.0, Some(0.0), outage)));
    Ok(())
}
