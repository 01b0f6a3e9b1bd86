//! The disaster and the homecoming: east is cut off, west goes on, east comes back.

use super::{Last, Stage, WRITES, moment, now_millis, objective, row, since, total};
use crate::guests::{self, GUESTS};
use anyhow::Result;
use jiff::Timestamp;
use leeward_lab::Site;
use leeward_model::report::EventKind;
use std::time::Duration;

/// Part 4: a cycle, the guests write on, east's link goes down, west goes on from the recovery point.
///
/// # Errors
/// Something does not work at all; what merely does not hold is a failed check.
pub async fn disaster(stage: &Stage<'_>) -> Result<()> {
    let tale = stage.tale;
    tale.heading("disaster: a cycle, the guests write on, then east's link goes down");
    stage.bring_to(Site::East).await?;
    let (began, from) = (Timestamp::now(), tale.checks());
    let before_cycle = stage.last(Site::East, None)?;
    let cycled = stage.leeward.done(&["cycle", "shop"], &stage.hear()).await?;
    tale.run(&cycled.data);
    guests::wait_for_records(stage.lab, Site::East, 10, WRITES).await?;

    let boots = stage.boots(Site::West)?;
    stage.lab.kill_site(Site::East).await?;
    let cut = now_millis();
    tale.note(Some("east"), "east's link is down");
    let called = stage
        .leeward
        .done(
            &["failover", "shop", "--yes", "--reason", "east does not answer (demo)", "--operator", "demo"],
            &stage.hear(),
        )
        .await?;
    tale.run(&called.data);
    guests::wait_for_records(stage.lab, Site::West, 2, WRITES).await?;

    let acknowledged = stage.last(Site::East, Some(cut))?;
    let found = stage.found(Site::West, &boots)?;
    check_loss(stage, &before_cycle, &acknowledged, &found);
    let (lost, seconds) = loss(&acknowledged, &found);
    tale.note(None, &format!("data loss: {lost} records, at most {seconds:.1} s of one disk's work"));
    let (at, outage) = stage.outage(&acknowledged, Site::West)?;
    tale.event(at, None, EventKind::Outage, "failover", outage);
    tale.event(moment(cut), Some("east"), EventKind::Fault, "east is cut off", since(moment(cut)));
    let verdict = tale.verdict(from);
    let mut row = row("failover", "east is lost; west goes on from the newest recovery point", since(began), verdict);
    row.records_before = Some(total(&acknowledged));
    row.records_after = Some(total(&found));
    row.records_lost = Some(lost);
    row.seconds_lost = Some(seconds);
    tale.part(began, row, Some(objective("failover", seconds, None, outage)));
    Ok(())
}

/// Each disk must be a true earlier state: not newer than what was acknowledged, and for what the cycle could snapshot not
/// older than what was acknowledged before the cycle.
fn check_loss(stage: &Stage<'_>, before_cycle: &Last, acknowledged: &Last, found: &Last) {
    for (disk, last) in acknowledged {
        let number = found.get(disk).map(|record| record.number);
        let oldest = if *disk == "web-disk" { 1 } else { before_cycle.get(disk).map_or(1, |record| record.number) };
        let what = if *disk == "web-disk" { "its last stop" } else { "the cycle" };
        stage.tale.check(
            format!("{disk} goes on from {what}"),
            number.is_some_and(|number| (oldest..=last.number).contains(&number)),
            format!("found {number:?}; at the cycle's begin {oldest}, at the disaster {}", last.number),
        );
    }
}

/// Records lost on all disks, and the longest time lost on one, in seconds.
fn loss(acknowledged: &Last, found: &Last) -> (u64, f64) {
    let mut records = 0;
    let mut seconds: f64 = 0.0;
    for (disk, last) in acknowledged {
        let Some(found) = found.get(disk) else { continue };
        records += last.number.saturating_sub(found.number);
        seconds = seconds.max(last.time.saturating_sub(found.time) as f64 / 1000.0);
    }
    (records, seconds)
}

/// Part 5: east comes back, is found running, is stopped, and the group goes home.
///
/// # Errors
/// As [`disaster`].
pub async fn homecoming(stage: &Stage<'_>) -> Result<()> {
    let tale = stage.tale;
    tale.heading("homecoming: east comes back and still runs its VMs");
    let (began, from) = (Timestamp::now(), tale.checks());
    let parted = stage.last(Site::East, None)?;
    stage.lab.heal_site(Site::East).await?;
    tale.note(Some("east"), "east's link is up again");
    // East went on all the time: its guests wrote to its own disks.
    guests::wait_for_records(stage.lab, Site::East, 1, WRITES).await?;
    wait_until_it_answers(stage, Site::East).await?;

    let plan = stage.leeward.done(&["plan", "failback", "shop"], &stage.hear()).await;
    if let Err(refused) = plan {
        let text = refused.to_string();
        tale.check(
            "a plan is refused while east's VMs run beside west's",
            text.contains("LW-0167"),
            first_error(&text),
        );
    } else {
        tale.check("a plan is refused while east's VMs run beside west's", false, "it was not refused");
    }
    let boots = stage.boots(Site::East)?;
    let called = stage.leeward.done(&["failback", "shop", "--yes"], &stage.hear()).await?;
    tale.run(&called.data);
    guests::wait_for_records(stage.lab, Site::East, 2, WRITES).await?;

    let stopped = called.data.get("putRight").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    tale.check(
        "east's VMs were stopped before anything else",
        stopped == GUESTS.len(),
        format!("{:?}", called.data.get("putRight")),
    );
    let given_up = called.data.get("givenUp").cloned().unwrap_or_default();
    let said = given_up.as_array().map_or(0, Vec::len);
    tale.check("failback says what east wrote that is given up", said > 0, given_up.to_string());
    let acknowledged = stage.last(Site::West, None)?;
    let found = stage.found(Site::East, &boots)?;
    stage.nothing_lost(&acknowledged, &found);
    let wrote_on = stage_given_up(stage, &parted)?;
    tale.note(Some("east"), &format!("east wrote {wrote_on} more records while it was cut off; they are given up"));
    let (at, outage) = stage.outage(&acknowledged, Site::East)?;
    tale.event(at, None, EventKind::Outage, "failback", outage);
    let verdict = tale.verdict(from);
    let mut row = row("homecoming", "east comes back, is stopped first, then west → east", since(began), verdict);
    row.records_before = Some(total(&acknowledged));
    row.records_after = Some(total(&found));
    row.records_lost = Some(total(&acknowledged).saturating_sub(total(&found)));
    row.seconds_lost = Some(0.0);
    tale.part(began, row, Some(objective("homecoming", 0.0, Some(0.0), outage)));
    Ok(())
}

/// Records that east's guests wrote after `parted` in the boot before the last one there.
fn stage_given_up(stage: &Stage<'_>, parted: &Last) -> Result<u64> {
    let mut records = 0;
    for (vm, disks) in GUESTS {
        let boots = guests::boots(stage.lab, Site::East, vm)?;
        let Some(cut_off) = boots.len().checked_sub(2).and_then(|index| boots.get(index)) else { continue };
        for disk in disks {
            let last = cut_off.last(disk, None).map_or(0, |record| record.number);
            records += last.saturating_sub(parted.get(disk).map_or(0, |record| record.number));
        }
    }
    Ok(records)
}

/// Waits until `leeward` sees a site: a link that comes up takes a moment to carry packets again.
///
/// # Errors
/// It does not answer within 30 s.
pub async fn wait_until_it_answers(stage: &Stage<'_>, site: Site) -> Result<()> {
    let began = std::time::Instant::now();
    loop {
        let status = stage.leeward.done(&["status", "shop"], &|_| {}).await?;
        let sites =
            status.data.pointer("/groups/0/sites").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let fenced =
            sites.iter().find(|seen| seen.get("site").and_then(serde_json::Value::as_str) == Some(site.name()));
        if fenced.and_then(|site| site.get("fenced")).is_some_and(serde_json::Value::is_boolean) {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(30) {
            anyhow::bail!("{site} does not answer 30 s after its link came up");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn first_error(text: &str) -> String {
    text.lines().find(|line| line.starts_with("error:")).unwrap_or(text).to_owned()
}
