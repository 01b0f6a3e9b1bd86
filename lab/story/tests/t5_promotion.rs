//! Promotion by plain Velero, of many claims at once and through every accident: one that cannot be provisioned, a plug-in
//! or a Velero that is killed, two Veleros that back up the same at the same time. What a failed backup has begun, the next
//! one finishes, and nothing is promoted twice.

mod stage;

use anyhow::{Context, Result, ensure};
use leeward_lab::{PluginSet, Record, Site};
use leeward_lab_story::{
    parts::Stage,
    promotion::{self, Claims},
    velero::Velero,
};
use leeward_model::keys::{PROMOTE, PROMOTION_DEADLINE, RECOVERY_POINT, USED_BY};
use rustix::process::Signal;
use serde_json::{Value, json};
use stage::promotion::{
    PLUG_IN, Promoted, beside_velero, holds_each, live_claims, names, on_claims, plug_in, plug_ins, uids,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SITE: Site = Site::East;
const PROVISIONER: &str = "csi-provisioner";
/// Time for a killed process's remains to be noticed.
const NOTICED: Duration = Duration::from_secs(30);

#[test]
fn one_of_fifty_that_cannot_be_provisioned_is_named_and_the_others_are_in_the_backup() {
    on_claims("one-of-fifty", async |stage, claims, velero, backups| {
        let names = names("c", 50);
        claims.make(&names, &json!({})).await?;
        claims.snapshot(&names, "rp").await?;
        // Its data is gone from the storage, as after a snapshot schedule of the array itself.
        let data = claims.data_of("c-17-rp").await?;
        let aside = data.with_file_name("aside");
        fs_err::rename(&data, &aside)?;
        let first = backups.name();
        let asked = format!("{RECOVERY_POINT}=rp,{PROMOTION_DEADLINE}=60");
        let phase = velero.back_up(&first, claims.namespace(), &asked, &[]).await?;
        fs_err::rename(&aside, &data)?;
        stage.tale.check("the backup says that it is not whole", phase == "PartiallyFailed", phase);
        let errors = velero.errors(&first).await?;
        let named =
            |error: &&String| error.contains("c-17-rp") && error.contains("LW-0616") && error.contains("NotFound");
        stage.tale.check(
            "one error, and it names the claim and the provisioner's reason",
            errors.len() == 1 && errors.iter().filter(named).count() == 1,
            errors.join("\n"),
        );
        let before = claims.promoted().await?;
        let mut others = before.clone();
        others.remove("c-17").context("c-17's promoted claim waits for its data")?;
        let held = velero.contents(&first).await?;
        holds_each(stage, "the other 49 promoted claims and their volumes are in it", claims, &held, &others);
        let of_it = |name: &&String| name.starts_with("persistentvolumeclaims/") && name.contains("/c-17");
        let of_it: Vec<_> = held.iter().filter(of_it).collect();
        stage.tale.check("c-17 and its promoted claim are not", of_it.is_empty(), format!("{of_it:?}"));

        let second = backups.name();
        let phase = velero.back_up(&second, claims.namespace(), &asked, &[]).await?;
        stage.tale.check("mended, the repeat is whole", phase == "Completed", phase);
        let after = claims.promoted().await?;
        holds_each(stage, "it has all 50", claims, &velero.contents(&second).await?, &after);
        stage.tale.check("none was promoted twice", uids(&before) == uids(&after) && after.len() == 50, "");
        let mended = after.get("c-17").and_then(|claims| claims.first()).context("c-17 has no promoted claim")?;
        let copied = fs_err::read_to_string(claims.folder(mended)?.join("name"))?;
        stage.tale.check("c-17's has c-17's data", copied == "c-17", copied);
        Ok(())
    });
}

#[test]
fn fifty_are_promoted_at_once() {
    stage::on_the_lab(async |stage| {
        beside_velero(stage, SITE).await?;
        let (promoted, backup) = promotion::measure(stage.lab, SITE, "fifty-at-once", 50).await?;
        // Numbers are for `cargo xtask bench`; a busy machine must not fail a test.
        stage.tale.note(
            Some(SITE.name()),
            &format!(
                "{} promotions in {:.1} s, the slowest one {:.1} s, the backup {:.1} s",
                promoted.each.len(),
                promoted.whole.as_secs_f64(),
                promoted.slowest().as_secs_f64(),
                backup.as_secs_f64()
            ),
        );
        Ok(())
    });
}

#[test]
fn a_plug_in_that_is_killed_does_not_end_the_backup_and_the_repeat_is_whole() {
    on_claims("plug-in-killed", async |stage, claims, velero, backups| {
        let (names, first) = (six(claims).await?, backups.name());
        let begun = without_provisioner(stage, async || {
            let (begun, running) = waiting(stage, claims, velero, &first, names.len()).await?;
            running.signal(Signal::KILL)?;
            // The promotions still wait, so Velero must have started it again for the next claim.
            let began = Instant::now();
            while plug_ins(stage.lab, SITE)?.iter().all(|record| *record == running) {
                ensure!(began.elapsed() < NOTICED, "Velero does not go on after {PLUG_IN} was killed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(begun)
        })
        .await?;
        let phase = velero.end_of(&first).await?;
        let mut errors = velero.errors(&first).await?;
        // Velero also says that the process has exited.
        errors.retain(|error| error.contains("Error backing up item"));
        stage.tale.check(
            "the backup says that it is not whole, and for which items",
            // The claim that was at hand, and the next items, until Velero notices that the process is gone.
            phase == "PartiallyFailed" && (1..names.len()).contains(&errors.len()),
            format!("{phase}: {}", errors.join("\n")),
        );
        let held = velero.contents(&first).await?;
        let promoted = |name: &&String| name.starts_with("persistentvolumeclaims/") && name.ends_with("-rp");
        let count = held.iter().filter(promoted).count();
        stage.tale.check("Velero goes on with the next claims", count + errors.len() == names.len(), count.to_string());
        whole(stage, claims, velero, &backups.name(), "rp", &begun).await
    });
}

#[test]
fn what_an_interrupted_backup_has_taken_goes_with_it() {
    on_claims("interrupted", async |stage, claims, velero, backups| {
        claims.make(&["data".to_owned()], &json!({})).await?;
        let (asked, first) = (format!("{PROMOTE}=take-now"), backups.name());
        without_provisioner(stage, async || {
            velero.begin(&first, claims.namespace(), &asked, &[]).await?;
            claims.wait_for_promoted(1).await?;
            plug_in(stage.lab, SITE).await?.signal(Signal::KILL)?;
            Ok(())
        })
        .await?;
        let phase = velero.end_of(&first).await?;
        stage.tale.check("the backup says that it is not whole", phase == "PartiallyFailed", phase);
        let begun = Promoted::of(claims, &first).await?;
        for _ in 0..2 {
            let backup = backups.name();
            let phase = velero.back_up(&backup, claims.namespace(), &asked, &[]).await?;
            stage.tale.check("a repeat is whole, of its own moment", phase == "Completed", phase);
        }
        stage.tale.check("what the first has taken is there", begun.parts(claims).await?.len() == 4, "");
        velero.delete(&first).await?;
        begun.wait_until_gone(claims).await?;
        let left = (claims.snapshots().await?, live_claims(claims).await?);
        stage.tale.check(
            "the repeats' are all that is left",
            left.0.len() == 2 && left.1.len() == 3,
            format!("{left:?}"),
        );
        Ok(())
    });
}

#[test]
fn a_velero_that_is_killed_leaves_no_plug_in_behind_and_the_repeat_is_whole() {
    on_claims("velero-killed", async |stage, claims, velero, backups| {
        let (names, first) = (six(claims).await?, backups.name());
        let begun = without_provisioner(stage, async || {
            let (begun, running) = waiting(stage, claims, velero, &first, names.len()).await?;
            stage.lab.kill_proc(SITE, "velero").await?;
            let ended = running.ended(NOTICED).await?;
            stage.tale.check("the plug-in ends with its Velero", ended, format!("{running:?}"));
            // Starts it, too.
            stage.lab.restart_velero(SITE, PluginSet::Leeward).await?;
            Ok(begun)
        })
        .await?;
        let phase = velero.end_of(&first).await?;
        stage.tale.check("the backup that was cut off has failed", phase == "Failed", phase);
        whole(stage, claims, velero, &backups.name(), "rp", &begun).await
    });
}

#[test]
fn backups_of_one_point_at_the_same_time_share_one_promotion_of_each_claim() {
    on_claims("same-time", async |stage, claims, velero, backups| {
        let names = names("c", 4);
        claims.make(&names, &json!({})).await?;
        claims.snapshot(&names, "rp").await?;
        let asked = format!("{RECOVERY_POINT}=rp");
        // One Velero never runs two backups of a namespace at once, whatever its --concurrent-backups: the second of
        // these waits in its queue. Two Veleros do.
        let other = stage::promotion::another_velero(stage, SITE).await?;
        let tested = async {
            let (first, queued, beside) = (backups.name(), backups.name(), backups.name());
            without_provisioner(stage, async || {
                velero.begin(&first, claims.namespace(), &asked, &[]).await?;
                velero.begin(&queued, claims.namespace(), &asked, &[]).await?;
                other.begin(&beside, claims.namespace(), &asked, &[]).await?;
                let both = [format!("velero.{first}"), format!("{}.{beside}", stage::promotion::OTHER)];
                let began = Instant::now();
                loop {
                    let promoted = claims.promoted().await?;
                    let used = |claim: &Value| {
                        both.iter().all(|by| claim["metadata"]["annotations"].get(format!("{USED_BY}{by}")).is_some())
                    };
                    if promoted.len() == names.len() && promoted.values().flatten().all(used) {
                        return Ok(());
                    }
                    ensure!(began.elapsed() < promotion::MADE, "not both backups promote: {promoted:?}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            })
            .await?;
            let after = async |velero: &Velero<'_>, backup: &str| -> Result<()> {
                let phase = velero.end_of(backup).await?;
                stage.tale.check(format!("{backup} is whole"), phase == "Completed", phase);
                let promoted = claims.promoted().await?;
                holds_each(stage, "each claim once", claims, &velero.contents(backup).await?, &promoted);
                Ok(())
            };
            after(velero, &first).await?;
            after(velero, &queued).await?;
            after(&other, &beside).await
        }
        .await;
        stage::promotion::end_another_velero(stage, SITE).await?;
        tested
    });
}

/// Six claims, each with a snapshot of the recovery point `rp`.
async fn six(claims: &Claims<'_>) -> Result<Vec<String>> {
    let names = names("c", 6);
    claims.make(&names, &json!({})).await?;
    claims.snapshot(&names, "rp").await?;
    Ok(names)
}

/// Begins a backup and waits until it waits for `count` promotions: these, and the plug-in.
async fn waiting(
    stage: &Stage<'_>,
    claims: &Claims<'_>,
    velero: &Velero<'_>,
    backup: &str,
    count: usize,
) -> Result<(BTreeMap<String, Vec<Value>>, Record)> {
    velero.begin(backup, claims.namespace(), &format!("{RECOVERY_POINT}=rp"), &[]).await?;
    let begun = claims.wait_for_promoted(count).await?;
    Ok((begun, plug_in(stage.lab, SITE).await?))
}

/// Does `work` while nothing is provisioned at the site.
async fn without_provisioner<T>(stage: &Stage<'_>, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    stage.lab.stop_proc(SITE, PROVISIONER).await?;
    let done = work().await;
    stage.lab.start_proc(SITE, PROVISIONER).await?;
    done
}

/// The backup after one that was interrupted has everything, made once.
async fn whole(
    stage: &Stage<'_>,
    claims: &Claims<'_>,
    velero: &Velero<'_>,
    backup: &str,
    point: &str,
    begun: &BTreeMap<String, Vec<Value>>,
) -> Result<()> {
    let phase = velero.back_up(backup, claims.namespace(), &format!("{RECOVERY_POINT}={point}"), &[]).await?;
    stage.tale.check("the repeat is whole", phase == "Completed", phase);
    let promoted = claims.promoted().await?;
    holds_each(stage, "it has every claim's promotion", claims, &velero.contents(backup).await?, &promoted);
    let (before, after) = (uids(begun), uids(&promoted));
    stage.tale.check("nothing was promoted twice", before == after, format!("{before:?} → {after:?}"));
    let left: Vec<Record> = plug_ins(stage.lab, SITE)?;
    stage.tale.check("no plug-in is left", left.is_empty(), format!("{left:?}"));
    Ok(())
}
