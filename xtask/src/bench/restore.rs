//! `cargo xtask bench restore`: what Leeward's plug-in costs a restore by the real Velero.
//!
//! Both sides restore the same backup of the same volumes at the same site, in turns, with and without the plug-in in
//! Velero's folder. The volumes were made by hand and have reclaim policy `Retain`, so that Velero restores them as they
//! stand in the backup also without the plug-in: each makes one PersistentVolume of each, and nobody provisions anything.
//! They are alone in the backup: what else a restore holds is work in which the plug-in has less part, or none.
//!
//! Velero's own clock counts whole seconds, so the time is taken here: from the creation of the Restore until Velero has
//! been through all items. Two restores of one round are as near to each other as can be, so it is their ratio that counts, and
//! the median of all rounds' ratios; on a busy machine look at the processor time of Velero and its plug-ins, and at the
//! requests, which are nearly the same however long it takes.

use super::{load, ready, site_config};
use crate::lab;
use anyhow::{Result, ensure};
use clap::Args;
use leeward_lab::{Lab, PluginSet, Site};
use leeward_lab_story::cost::Cost;
use leeward_lab_story::many;
use leeward_lab_story::stopwatch::{self, Wanted};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const BACKUP: &str = "volumes";
/// Velero looks for new backups once a minute.
const SYNCED: Duration = Duration::from_secs(120);
/// A restore of thousands of objects, on two cores that also run two clusters.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// PersistentVolumes of the backup.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    volumes: u32,
    /// Restores with, and as many without.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this plug-in instead of the image's.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) async fn run(args: &RestoreArgs) -> Result<()> {
    let ready = ready(args.program.as_deref())?;
    lab::on_fresh(&ready, async |sites| compare(sites, args).await).await?;
    println!("\nagain: cargo xtask bench restore --volumes {} --rounds {}", args.volumes, args.rounds);
    Ok(())
}

async fn compare(sites: &Lab, args: &RestoreArgs) -> Result<()> {
    let (east, count) = (sites.cluster(Site::East).await?, usize::try_from(args.volumes)?);
    for site in Site::ALL {
        sites.cluster(site).await?.apply(&site_config(site)).await?;
    }
    many::make_volumes(&east, Site::East, "bench", count).await?;
    let backup = Wanted {
        spec: json!({
            "includedResources": ["persistentvolumes"], "includeClusterResources": true, "snapshotVolumes": false,
            "defaultVolumesToFsBackup": false, "storageLocation": "default", "ttl": "24h0m0s",
        }),
        ..Wanted::default()
    };
    let made = stopwatch::run(&east, "Backup", BACKUP, &backup, LIMIT).await?;
    println!("{count} PersistentVolumes backed up in {:.1} s, with the plug-in\n", made.items.as_secs_f64());
    println!("round     plug-in        s   to the end   CPU s   requests    load");
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        // Each is as often the first of the two as the other.
        for with in [round % 2 == 1, round % 2 == 0] {
            let made = restore(sites, count, round, with).await?;
            let (name, Cost { cpu, requests }) = (if with { "Leeward's" } else { "none" }, made.cost);
            let (items, whole, cpu) = (made.items.as_secs_f64(), made.whole.as_secs_f64(), cpu.as_secs_f64());
            let load = &made.load;
            println!("{:<10}{name:<10}{items:>6.2}{whole:>13.2}{cpu:>8.2}{requests:>11}   {load:>5}", round + 1);
            all[usize::from(with)].push(made);
        }
    }
    tell(&all, args.volumes);
    Ok(())
}

/// Compares the restores without the plug-in and those with it.
fn tell([without, with]: &[Vec<Restored>; 2], volumes: u32) {
    let pairs = || with.iter().zip(without);
    let mut ratios: Vec<_> = pairs().map(|(with, without)| with.items.div_duration_f64(without.items)).collect();
    let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    println!("\nwith the plug-in / without, round by round: {}", each.join(" "));
    println!("median of these: {:.3} (at most 1.05 wanted)", median(&mut ratios));
    let more = |with: Duration, without: Duration| (with.as_secs_f64() - without.as_secs_f64()) / f64::from(volumes);
    let mut wall: Vec<_> = pairs().map(|(with, without)| more(with.items, without.items)).collect();
    let mut cpu: Vec<_> = pairs().map(|(with, without)| more(with.cost.cpu, without.cost.cpu)).collect();
    let (wall, cpu) = (median(&mut wall) * 1000.0, median(&mut cpu) * 1000.0);
    println!("more for each volume, by the medians: {wall:.2} ms, of the processor {cpu:.2} ms");
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    // Of an even number, between the two in the middle.
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

/// A restore, measured.
struct Restored {
    items: Duration,
    whole: Duration,
    cost: Cost,
    /// The machine's before it.
    load: String,
}

/// Restores the backup at west and removes what was restored.
async fn restore(sites: &Lab, count: usize, round: u32, with: bool) -> Result<Restored> {
    let (west, plugins) = (sites.cluster(Site::West).await?, if with { PluginSet::Leeward } else { PluginSet::Plain });
    sites.restart_velero(Site::West, plugins).await?;
    stopwatch::synced(&west, BACKUP, SYNCED).await?;
    let name = format!("{}-{round}", if with { "leeward" } else { "plain" });
    let wanted = Wanted { spec: json!({"backupName": BACKUP}), ..Wanted::default() };
    let (load, before) = (load()?, Cost::of(sites, Site::West).await?);
    let run = stopwatch::run(&west, "Restore", &name, &wanted, LIMIT).await?;
    let cost = Cost::of(sites, Site::West).await?.since(before);
    // A fast restore of something else is none.
    let points_at = if with { Site::West } else { Site::East };
    let found = many::volumes_by_server(&west).await?;
    ensure!(
        found.len() == 1 && found.get(&points_at.address().to_string()) == Some(&count),
        "Restore {name} made other volumes, by server: {found:?}"
    );
    many::clear_volumes(&west).await?;
    Ok(Restored { items: run.items, whole: run.whole, cost, load })
}
