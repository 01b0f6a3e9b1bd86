//! `cargo xtask bench promote`: whether many snapshots are promoted at once, or one after the other.
//!
//! The lab's real chain does it: plug-in, csi-provisioner, CSI driver, controller-manager. What each promoted claim took is
//! seen by a watch: from its creation until it is bound. At its best the whole is what the slowest took. But each also waits
//! for the others, where they share a provisioner and a processor; so one alone is promoted first, to compare with.
//!
//! The lab's driver copies in no time, and what takes no time shows nothing of whether it waits: so its StorageClass gives
//! each copy some seconds, another number for each volume. One after the other they would take their sum.

use super::{load, ready, site_config};
use crate::lab;
use anyhow::Result;
use clap::Args;
use leeward_lab::{Cluster, DRIVER, Lab, Site};
use leeward_lab_story::promotion::Claims;
use leeward_lab_story::promotions::Promotions;
use leeward_lab_story::stopwatch::{self, Run, Wanted};
use leeward_model::keys::PROMOTE;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
/// The class whose copies take time.
const SLOW: &str = "slow-copies";

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Claims, each with a snapshot.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    snapshots: u32,
    /// How long a copy takes: `5` seconds, or from `2-20`, for each volume another; `0` is as fast as it goes.
    #[arg(long, value_name = "SECONDS", default_value = "2-20")]
    copies: String,
    /// How often, each time with other claims.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this plug-in instead of the image's.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) async fn run(args: &PromoteArgs) -> Result<()> {
    let ready = ready(args.program.as_deref())?;
    lab::on_fresh(&ready, async |sites| measure(sites, args).await).await?;
    let PromoteArgs { snapshots, copies, rounds, .. } = args;
    println!("\nagain: cargo xtask bench promote --snapshots {snapshots} --copies {copies} --rounds {rounds}");
    Ok(())
}

async fn measure(sites: &Lab, args: &PromoteArgs) -> Result<()> {
    let east = sites.cluster(Site::East).await?;
    east.apply(&site_config(Site::East)).await?;
    east.apply(&slow_class(&args.copies)).await?;
    println!("each copy takes {} s", args.copies);
    for round in 1..=args.rounds {
        println!("round {round}, load {}", load()?);
        for count in [1, usize::try_from(args.snapshots)?] {
            let namespace = format!("promote-{count}-{round}");
            let claims = Claims::begin(sites, Site::East, &namespace).await?;
            let names: Vec<_> = (0..count).map(|number| format!("disk-{number:03}")).collect();
            let these: Vec<_> = names.iter().map(|name| claims.claim(name, SLOW, &json!({}))).collect();
            claims.make_these(&these).await?;
            claims.snapshot(&names, "bench").await?;
            let without = back_up(&east, &namespace, "none").await?;
            let promotions = Promotions::watch(&east, &namespace, count).await?;
            let with = back_up(&east, &namespace, "newest-ready").await?;
            let promoted = promotions.end().await?;
            let slowest = promoted.slowest();
            let median = promoted.each.get(count / 2).copied().unwrap_or_default();
            println!(
                "  {count:>3} promoted in {}: the slowest took {}, the median {}; all were begun in {}",
                seconds(promoted.whole),
                seconds(slowest),
                seconds(median),
                seconds(promoted.begun)
            );
            println!("      one after the other they would take {}", seconds(promoted.each.iter().sum()));
            println!(
                "      the whole beyond the slowest: {} (at most 2 s wanted); the backup {}, without promotions {}",
                seconds(promoted.whole.saturating_sub(slowest)),
                seconds(with.items),
                seconds(without.items)
            );
        }
    }
    Ok(())
}

/// The lab's class with copies that take their time.
fn slow_class(copies: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": SLOW}, "provisioner": DRIVER,
        "parameters": {"server": Site::East.address().to_string(), "share": Site::East.share(), "copySeconds": copies},
        "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    })
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

async fn back_up(east: &Cluster, namespace: &str, policy: &str) -> Result<Run> {
    let wanted = Wanted {
        annotations: json!({PROMOTE: policy}),
        spec: json!({
            "includedNamespaces": [namespace], "snapshotVolumes": false, "defaultVolumesToFsBackup": false,
            "excludedResources": ["volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"],
            "storageLocation": "default", "ttl": "24h0m0s",
        }),
    };
    stopwatch::run(east, "Backup", &format!("{namespace}-{policy}"), &wanted, LIMIT).await
}
