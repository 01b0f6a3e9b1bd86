//! `cargo xtask bench`: figures, with the command that repeats them.

#[path = "bench/mover.rs"]
mod mover;
#[path = "bench/plugin.rs"]
mod plugin;
#[path = "bench/promote.rs"]
mod promote;
#[path = "bench/restore.rs"]
mod restore;

use crate::binaries::{self, Ready};
use crate::image;
use anyhow::Result;
use clap::Subcommand;
use leeward_lab::Site;
use leeward_lab::velero::NAMESPACE;
use leeward_lab_story::files;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The plug-in beside plug-ins in Go: start to ready, and one Execute of a 3 KB object, with a large
    /// table as well, over the real socket; and its memory.
    Plugin(plugin::PluginArgs),
    /// A restore of many volumes by the real Velero, with the plug-in and without.
    Restore(restore::RestoreArgs),
    /// A backup that promotes many snapshots by the real CSI chain.
    Promote(promote::PromoteArgs),
    /// The mover beside rsync and cp.
    Mover(mover::MoverArgs),
}

pub(crate) async fn run(command: BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Plugin(args) => tokio::task::spawn_blocking(move || plugin::run(&args)).await?,
        BenchCommand::Restore(args) => restore::run(&args).await,
        BenchCommand::Promote(args) => promote::run(&args).await,
        BenchCommand::Mover(args) => tokio::task::spawn_blocking(move || mover::run(&args)).await?,
    }
}

/// The machine's load, of the last minute.
fn load() -> Result<String> {
    let load = fs_err::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}

/// The plug-in to measure: `program`, else the one that goes into the image.
fn plugin(program: Option<&Path>) -> Result<PathBuf> {
    match program {
        Some(program) => Ok(fs_err::canonicalize(program)?),
        None => image::program(),
    }
}

/// What a lab needs, with the plug-in to measure.
fn ready(program: Option<&Path>) -> Result<Ready> {
    let mut ready = binaries::ready()?;
    ready.inputs.plugin = plugin(program)?;
    Ok(ready)
}

/// What the plug-in reads at a site.
fn site_config(site: Site) -> Value {
    files::plugin_config(site, NAMESPACE, &files::mapping())
}
