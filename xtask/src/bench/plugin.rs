//! `cargo xtask bench plugin`: how fast Leeward's plug-in starts and works, beside two plug-ins in Go.
//!
//! Velero starts a plug-in for every backup and restore, and once more at its own start; and it calls Execute once per
//! object. Both are measured the way Velero does them: the released binary, its handshake line on stdout, gRPC over its
//! unix socket. The subjects take turns, so that whatever else the machine does hits all of them.
//!
//! What is measured is the program of `cargo xtask image`: released, linked statically with musl, as users run it.
//!
//! Beside it: `velero-plugin-for-aws`, the plug-in that nearly everybody runs, for the start; and Velero's own
//! `csi-volumesnapshotclass-backupper` for Execute, as it is the one action among Velero's own that speaks the same
//! version of the contract and, like keep-volume without a claim, asks no API server.

use super::execute::Hosts;
use super::spread::Spread;
use super::stand_in::StandIn;
use crate::binaries::{must, target_folder};
use anyhow::{Context, Result, ensure};
use clap::Args;
use leeward_lab_parts::{Progress, ensure_parts};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use velero_plugin::harness::{Host, command};

/// MiB of memory that the plug-in may have had in RAM, with the large table.
const MEMORY: f64 = 32.0;

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

/// A plug-in program.
struct Program {
    name: &'static str,
    path: PathBuf,
    args: Vec<String>,
}

/// One start of a program.
struct Started {
    host: Host,
    /// From the start of the process to the line that names its socket.
    handshake: Duration,
    /// From the start of the process to its health service's answer over that socket.
    ready: Duration,
}

impl Program {
    async fn start(&self, sockets: &Path) -> Result<Started> {
        let mut command = command(&self.path, &self.args);
        command.env_remove("KUBECONFIG").env("TMPDIR", sockets).env("PLUGIN_UNIX_SOCKET_DIR", sockets);
        let begin = Instant::now();
        let host = Host::start_command(command).await.with_context(|| format!("start {}", self.name))?;
        ensure!(host.healthy("plugin").await?, "{} started, but says that it does not serve", self.name);
        Ok(Started { handshake: host.started_in(), ready: begin.elapsed(), host })
    }
}

pub(super) async fn run(args: &PluginArgs) -> Result<()> {
    let progress = Progress::stderr();
    let parts = ensure_parts(&progress)?;
    let plugin = match &args.program {
        Some(program) => program.clone(),
        None => {
            let building = progress.start("leeward-velero-plugin, as in the image (cargo)", None);
            let program = of_the_image()?;
            building.done();
            program
        }
    };

    let folder = tempfile::tempdir()?;
    let rows = usize::try_from(args.rows)?;
    let sites = [StandIn::start(0).await?, StandIn::start(1).await?, StandIn::start(rows).await?];
    let quiet = "--log-level=error".to_owned();
    let program = |name, path, args| Program { name, path, args };
    let leeward = |table: &'static str, site: &StandIn| -> Result<Program> {
        let kubeconfig = folder.path().join(format!("kubeconfig-{table}"));
        fs_err::write(&kubeconfig, &site.kubeconfig)?;
        let args = vec![format!("--kubeconfig={}", kubeconfig.display()), quiet.clone()];
        Ok(program("leeward-velero-plugin (Rust)", plugin.clone(), args))
    };
    let [ours, row, table] = [leeward("none", &sites[0])?, leeward("row", &sites[1])?, leeward("large", &sites[2])?];
    let aws = program("velero-plugin-for-aws (Go)", parts.velero_plugin_for_aws, vec![quiet.clone()]);
    let velero = program("velero run-plugins (Go)", parts.velero, vec!["run-plugins".to_owned(), quiet.clone()]);

    let cores = std::thread::available_parallelism()?;
    let load = fs_err::read_to_string("/proc/loadavg")?;
    println!("{cores} cores; load before: {}\n", load.split(' ').next().unwrap_or_default());
    println!("measured: {}\n", plugin.file_name().unwrap_or_default().display());
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
    for host in [hosts.ours, hosts.row, hosts.table, hosts.velero] {
        host.shutdown().await?;
    }
    println!(
        "\nagain: cargo xtask bench plugin --starts {} --calls {} --rows {rows} --restore {}",
        args.starts, args.calls, args.restore
    );
    ensure!(large <= MEMORY, "the plug-in had {large:.1} MiB in RAM with {rows} rows, more than {MEMORY:.0}");
    Ok(())
}

/// The program that `cargo xtask image` puts into the image, built by it.
fn of_the_image() -> Result<PathBuf> {
    let folder = tempfile::tempdir()?;
    let mut image = Command::new(std::env::current_exe()?);
    image.args(["image", "--output"]).arg(folder.path().join("image")).stdout(Stdio::null());
    must(&mut image)?;
    Ok(target_folder().join("x86_64-unknown-linux-musl/release/leeward-velero-plugin"))
}

async fn starts(programs: &[Program; 3], rounds: u32, sockets: &Path) -> Result<()> {
    let mut times = programs.each_ref().map(|_| (Vec::new(), Vec::new()));
    let mut memory = [0.0; 3];
    // The first round only brings the programs into the page cache.
    for round in 0..=rounds {
        for ((program, (handshake, ready)), memory) in programs.iter().zip(&mut times).zip(&mut memory) {
            let started = program.start(sockets).await?;
            if round > 0 {
                handshake.push(started.handshake);
                ready.push(started.ready);
                *memory = self::memory(&started.host, "VmRSS:")?;
            }
            started.host.shutdown().await.with_context(|| format!("stop {}", program.name))?;
        }
    }
    println!("start, {rounds} times each            handshake ms            ready ms              memory  program");
    println!("                                 min  median     max    min  median     max     MiB      MiB");
    let spreads = times.map(|(handshake, ready)| (Spread::from_iter(handshake), Spread::from_iter(ready)));
    for ((program, (handshake, ready)), memory) in programs.iter().zip(&spreads).zip(memory) {
        let size = mebibytes(fs_err::metadata(&program.path)?.len());
        println!("{:<29}{}{}{memory:>8.1}{size:>9.1}", program.name, milliseconds(handshake), milliseconds(ready));
    }
    let median = |at: usize| spreads[at].1.median();
    println!(
        "ready, ratio of medians: {:.1} × velero-plugin-for-aws, {:.1} × velero",
        ratio(median(1), median(0)),
        ratio(median(2), median(0))
    );
    Ok(())
}

/// MiB of the process's memory: in RAM now (`VmRSS:`), or at its highest (`VmHWM:`).
fn memory(host: &Host, which: &str) -> Result<f64> {
    let pid = host.pid().context("the plug-in has ended")?;
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).context("no such memory")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(mebibytes(kibibytes * 1024))
}

#[allow(clippy::cast_precision_loss)] // One digit after the point is shown.
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn milliseconds(spread: &Spread) -> String {
    [0.0, 0.5, 1.0].map(|part| format!("{:>8.1}", spread.quantile(part).as_secs_f64() * 1e3)).concat()
}

pub(super) fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}
