//! `cargo xtask bench plugin`: how fast Leeward's plug-in starts and works, beside two plug-ins in Go.
//!
//! What is measured is the program of `cargo xtask image`: released, linked statically with musl, as users run it. The one
//! that calls it and holds the watch is `lab-caller`, released as well.
//!
//! Beside it: `velero-plugin-for-aws`, the plug-in that nearly everybody runs, for the start; and Velero's own
//! `csi-volumesnapshotclass-backupper` for Execute, as it is the one action among Velero's own that speaks the same
//! version of the contract and, like keep-volume without a claim, asks no API server.

use crate::binaries::{must, static_release};
use anyhow::Result;
use clap::Args;
use leeward_lab_parts::{Progress, ensure_parts};
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    /// Starts per program.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Calls of Execute per action.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Rows of the mapping's large table.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Volumes of a restore, whose calls are summed; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    restore: u32,
    /// Measure this program instead of the image's.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) fn run(args: &PluginArgs) -> Result<()> {
    let progress = Progress::stderr();
    let parts = ensure_parts(&progress)?;
    let building = progress.start("the plug-in and its caller, released (cargo)", None);
    let plugin = super::plugin(args.program.as_deref())?;
    let caller = static_release("leeward-lab-caller", "lab-caller")?;
    building.done();
    let PluginArgs { starts, calls, rows, restore, .. } = args;
    let numbers = format!("--starts {starts} --calls {calls} --rows {rows} --restore {restore}");
    let mut call = Command::new(caller);
    call.arg("--plugin").arg(plugin).arg("--aws").arg(parts.velero_plugin_for_aws).arg("--velero").arg(parts.velero);
    must(call.args(numbers.split(' ')))?;
    println!("\nagain: cargo xtask bench plugin {numbers}");
    Ok(())
}
