//! Plays Velero's side with a stopwatch: starts Leeward's plug-in and two in Go, and calls their actions.
//!
//! Velero starts a plug-in for every backup and restore, and once more at its own start; and it calls Execute once per
//! object and action. Both are measured the way Velero does them: the handshake line on stdout, gRPC over the plug-in's
//! unix socket, one call at a time. The subjects take turns, so that whatever else the machine does hits all of them.
//!
//! One thread for all: the caller does nothing while the plug-in works, and neither does the stand-in for the API server
//! while either of them does. More threads would only add the price of waking each other.

mod execute;
mod object;
mod spread;
mod stand_in;
mod start;

use anyhow::{Result, ensure};
use clap::Parser;
use execute::Hosts;
use stand_in::StandIn;
use start::{Program, memory, starts};
use std::path::{Path, PathBuf};

/// MiB of memory that the plug-in may have had in RAM, with the large table.
const MEMORY: f64 = 32.0;

/// How fast plug-ins start and work; called by `cargo xtask bench plugin`.
#[derive(Debug, Parser)]
struct Args {
    /// Leeward's plug-in.
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// velero-plugin-for-aws.
    #[arg(long, value_name = "FILE")]
    aws: PathBuf,
    /// velero, which serves its own plug-ins.
    #[arg(long, value_name = "FILE")]
    velero: PathBuf,
    /// Starts per program.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Calls of Execute per action.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Rows of the mapping's large table.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Volumes of a restore, whose calls are summed; 0 leaves it out.
    #[arg(long)]
    restore: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let rows = usize::try_from(args.rows)?;
    let sites = [StandIn::start(0).await?, StandIn::start(1).await?, StandIn::start(rows).await?];
    let quiet = "--log-level=error".to_owned();
    let leeward = |table: &'static str, site: &StandIn| -> Result<Program> {
        let kubeconfig = folder.path().join(format!("kubeconfig-{table}"));
        fs_err::write(&kubeconfig, &site.kubeconfig)?;
        let flags = vec![format!("--kubeconfig={}", kubeconfig.display()), quiet.clone()];
        Ok(Program { name: "leeward-velero-plugin (Rust)", path: args.plugin.clone(), args: flags })
    };
    let [ours, row, table] = [leeward("none", &sites[0])?, leeward("row", &sites[1])?, leeward("large", &sites[2])?];
    let aws = Program { name: "velero-plugin-for-aws (Go)", path: args.aws.clone(), args: vec![quiet.clone()] };
    let own = vec!["run-plugins".to_owned(), quiet.clone()];
    let velero = Program { name: "velero run-plugins (Go)", path: args.velero.clone(), args: own };

    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores; load before: {}", load()?);
    println!("measured: {}\n", args.plugin.file_name().unwrap_or_default().display());
    if cfg!(debug_assertions) {
        println!("the caller is not optimized: its gRPC and JSON are most of each time of Execute\n");
    }
    let programs = [ours, aws, velero];
    starts(&programs, args.starts, folder.path()).await?;

    let start = async |program: &Program| Ok::<_, anyhow::Error>(program.start(folder.path()).await?.host);
    let hosts = Hosts {
        ours: start(&programs[0]).await?,
        row: start(&row).await?,
        table: start(&table).await?,
        velero: start(&programs[2]).await?,
        rows,
    };
    hosts.executes(args.calls).await?;
    if args.restore > 0 {
        hosts.restore(args.restore).await?;
    }
    let [none, large] = [memory(&hosts.ours, "VmHWM:")?, memory(&hosts.table, "VmHWM:")?];
    println!(
        "memory at its highest: {none:.1} MiB without a table, {large:.1} MiB with {rows} rows (at most {MEMORY:.0})"
    );
    println!("load after: {}", load()?);
    for host in [hosts.ours, hosts.row, hosts.table, hosts.velero] {
        host.shutdown().await?;
    }
    ensure!(large <= MEMORY, "the plug-in had {large:.1} MiB in RAM with {rows} rows, more than {MEMORY:.0}");
    Ok(())
}

/// The machine's load, of the last minute.
fn load() -> Result<String> {
    let load = fs_err::read_to_string(Path::new("/proc/loadavg"))?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}
