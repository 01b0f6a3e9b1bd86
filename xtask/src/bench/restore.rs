//! `cargo xtask bench restore`: what Leeward's plug-in costs a restore by the real Velero.
//!
//! All restore the same backup of the same volumes at the same site, in turns: without a plug-in in Velero's folder, with one that
//! is asked about each volume and has nothing to say, and with Leeward's. The second is the price of any plug-in.
//!
//! The volumes were made by hand and have reclaim policy `Retain`, so that Velero restores them as they stand in the backup also
//! without the plug-in: each makes one PersistentVolume of each, and nobody provisions anything. They are alone in the backup: what
//! else a restore holds is work in which the plug-in has less part, or none.
//!
//! Velero's own clock counts whole seconds, so the time is taken here: from the creation of the Restore until Velero has
//! been through all items. Two restores of one round are as near to each other as can be, so it is their ratio that counts, and
//! the median of all rounds' ratios; on a busy machine look at the processor time of Velero and its plug-ins, and at the
//! requests, which are nearly the same however long it takes.

use super::{load, ready, site_config};
use crate::{binaries, lab};
use anyhow::{Result, ensure};
use clap::Args;
use leeward_lab::{Lab, PluginSet, Site};
use leeward_lab_story::cost::Cost;
use leeward_lab_story::many;
use leeward_lab_story::stopwatch::{self, Wanted};
use serde_json::json;
use std::path::{Path, PathBuf};
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
    /// Restores with each.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this plug-in instead of the image's.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) async fn run(args: &RestoreArgs) -> Result<()> {
    let ready = ready(args.program.as_deref())?;
    let idle = binaries::static_release("leeward-lab-caller", "lab-idle-plugin")?;
    lab::on_fresh(&ready, async |sites| compare(sites, &idle, args).await).await?;
    println!("\nagain: cargo xtask bench restore --volumes {} --rounds {}", args.volumes, args.rounds);
    Ok(())
}

async fn compare(sites: &Lab, idle: &Path, args: &RestoreArgs) -> Result<()> {
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
    let mut all = Subject::ALL.map(|_| Vec::new());
    for round in 0..args.rounds {
        for turn in 0..Subject::ALL.len() {
            // Each is as often the first as any other.
            let subject = (turn + usize::try_from(round)?) % Subject::ALL.len();
            let made = restore(sites, count, round, Subject::ALL[subject], idle).await?;
            let (name, Cost { cpu, requests }) = (Subject::ALL[subject].name(), made.cost);
            let (items, whole, cpu) = (made.items.as_secs_f64(), made.whole.as_secs_f64(), cpu.as_secs_f64());
            let load = &made.load;
            println!("{:<10}{name:<10}{items:>6.2}{whole:>13.2}{cpu:>8.2}{requests:>11}   {load:>5}", round + 1);
            all[subject].push(made);
        }
    }
    let [none, idle, leeward] = &all;
    tell("the idle plug-in", none, idle, args.volumes);
    tell("Leeward's plug-in", none, leeward, args.volumes);
    println!("at most 1.05 wanted");
    tell("Leeward's instead of the idle plug-in", idle, leeward, args.volumes);
    Ok(())
}

/// What is in Velero's folder besides the plug-in for the bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    None,
    Idle,
    Leeward,
}

impl Subject {
    const ALL: [Self; 3] = [Self::None, Self::Idle, Self::Leeward];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Idle => "idle",
            Self::Leeward => "leeward",
        }
    }

    fn plugins(self, idle: &Path) -> PluginSet {
        match self {
            Self::None => PluginSet::Plain,
            Self::Idle => PluginSet::With(vec![idle.to_owned()]),
            Self::Leeward => PluginSet::Leeward,
        }
    }

    /// Where the restored volumes point. A fast restore of something else is none.
    const fn points_at(self) -> Site {
        match self {
            Self::None | Self::Idle => Site::East,
            Self::Leeward => Site::West,
        }
    }
}

/// Compares restores with what is `named`, and those without, or with another.
fn tell(named: &str, without: &[Restored], with: &[Restored], volumes: u32) {
    let pairs = || with.iter().zip(without);
    let mut ratios: Vec<_> = pairs().map(|(with, without)| with.items.div_duration_f64(without.items)).collect();
    let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    println!("\n{named}: {:.3} × the time, the median of {}", median(&mut ratios), each.join(" "));
    let more = |with: Duration, without: Duration| (with.as_secs_f64() - without.as_secs_f64()) / f64::from(volumes);
    let mut wall: Vec<_> = pairs().map(|(with, without)| more(with.items, without.items)).collect();
    let mut cpu: Vec<_> = pairs().map(|(with, without)| more(with.cost.cpu, without.cost.cpu)).collect();
    let (wall, cpu) = (median(&mut wall) * 1000.0, median(&mut cpu) * 1000.0);
    println!("more for each volume: {wall:.2} ms, of the processor {cpu:.2} ms");
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
async fn restore(sites: &Lab, count: usize, round: u32, subject: Subject, idle: &Path) -> Result<Restored> {
    let west = sites.cluster(Site::West).await?;
    sites.restart_velero(Site::West, subject.plugins(idle)).await?;
    stopwatch::synced(&west, BACKUP, SYNCED).await?;
    let name = format!("{}-{round}", subject.name());
    let wanted = Wanted { spec: json!({"backupName": BACKUP}), ..Wanted::default() };
    let (load, before) = (load()?, Cost::of(sites, Site::West).await?);
    let run = stopwatch::run(&west, "Restore", &name, &wanted, LIMIT).await?;
    let cost = Cost::of(sites, Site::West).await?.since(before);
    let points_at = subject.points_at();
    let found = many::volumes_by_server(&west).await?;
    ensure!(
        found.len() == 1 && found.get(&points_at.address().to_string()) == Some(&count),
        "Restore {name} made other volumes, by server: {found:?}"
    );
    many::clear_volumes(&west).await?;
    Ok(Restored { items: run.items, whole: run.whole, cost, load })
}
