//! `lab`: brings the lab up from a file of paths, shows it, breaks it, takes it down.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use leeward_lab::{Inputs, Lab, Lines, Place, PluginSet, Root, Site, VeleroBuild};

/// The lab of two sites. Its folder is $LEEWARD_LAB or /var/lib/leeward-lab.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring the lab up, from a JSON file with the paths of its programs.
    Up {
        /// The file.
        inputs: PathBuf,
    },
    /// Take everything down.
    Down,
    /// Show all processes, as a table.
    Status,
    /// Pull the cable of a place.
    Cut {
        /// east, west or object.
        place: Place,
    },
    /// Plug the cable of a place in.
    Plug {
        /// east, west or object.
        place: Place,
    },
    /// Stop a process.
    Stop {
        /// east, west or object.
        place: Place,
        /// Its name.
        process: String,
    },
    /// Start a process.
    Start {
        /// east, west or object.
        place: Place,
        /// Its name.
        process: String,
    },
    /// Make the shop at a site: two virtual machines with three disks.
    Seed {
        /// east or west.
        site: Site,
    },
    /// Start Velero anew at a site.
    Velero {
        /// east or west.
        site: Site,
        /// Without Leeward's plug-ins.
        #[arg(long)]
        plain: bool,
        /// In another version: a JSON file with the paths `velero`, `velero_plugin_for_aws` and `crds`.
        #[arg(long, value_name = "FILE")]
        build: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let root = Root::from_env();
    let progress = Lines::default();
    match Arguments::parse().command {
        Action::Up { inputs } => {
            let inputs: Inputs = read(&inputs)?;
            Lab::up(&root, &inputs, &progress, tokio::signal::ctrl_c()).await.map(drop)
        }
        Action::Down => Lab::down(&root, &progress).await,
        Action::Status => {
            let lab = Lab::attach(&root)?;
            for status in lab.status() {
                let pid = status.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
                let mebibytes = status.resident_bytes >> 20;
                println!(
                    "{:<7}{:<25}{pid:>9}{mebibytes:>6} MiB  {}",
                    status.place.name(),
                    status.name,
                    status.log.display()
                );
            }
            for place in Place::ALL {
                println!("{:<7}cable {}", place.name(), if lab.is_plugged(place) { "plugged" } else { "pulled" });
            }
            Ok(())
        }
        Action::Cut { place } => Lab::attach(&root)?.cut(place).await,
        Action::Plug { place } => Lab::attach(&root)?.plug(place).await,
        Action::Stop { place, process } => Lab::attach(&root)?.stop_proc(place, &process).await,
        Action::Start { place, process } => Lab::attach(&root)?.start_proc(place, &process).await,
        Action::Seed { site } => {
            let lab = Lab::attach(&root)?;
            for disk in leeward_lab::seed_shop(&lab, site).await? {
                println!("{:<5}{:<10}{:<45}{}", disk.machine, disk.claim, disk.volume, disk.image.display());
            }
            Ok(())
        }
        Action::Velero { site, plain, build } => {
            let plugins = if plain { PluginSet::Plain } else { PluginSet::Leeward };
            let lab = Lab::attach(&root)?;
            match build {
                Some(build) => lab.swap_velero(site, &read::<VeleroBuild>(&build)?, plugins).await,
                None => lab.restart_velero(site, plugins).await,
            }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    serde_json::from_slice(&fs_err::read(file)?).with_context(|| format!("reading {}", file.display()))
}
