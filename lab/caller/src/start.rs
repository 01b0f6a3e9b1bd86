//! The start of a plug-in: to its handshake line, and to the answer of its health service.
//!
//! Beside Leeward's: `velero-plugin-for-aws`, the plug-in that nearly everybody runs, and Velero's own.

use crate::spread::{Spread, ratio};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use velero_plugin::harness::{Host, command};

/// A plug-in program.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    pub(super) args: Vec<String>,
}

/// One start of a program.
pub(super) struct Started {
    pub(super) host: Host,
    /// From the start of the process to the line that names its socket.
    handshake: Duration,
    /// From the start of the process to its health service's answer over that socket.
    ready: Duration,
}

impl Program {
    pub(super) async fn start(&self, sockets: &Path) -> Result<Started> {
        let mut command = command(&self.path, &self.args);
        command.env_remove("KUBECONFIG").env("TMPDIR", sockets).env("PLUGIN_UNIX_SOCKET_DIR", sockets);
        let begin = Instant::now();
        let host = Host::start_command(command).await.with_context(|| format!("start {}", self.name))?;
        ensure!(host.healthy("plugin").await?, "{} started, but says that it does not serve", self.name);
        Ok(Started { handshake: host.started_in(), ready: begin.elapsed(), host })
    }
}

/// Starts each program in its turn, and says how long that took.
pub(super) async fn starts(programs: &[Program; 3], rounds: u32, sockets: &Path) -> Result<()> {
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
pub(super) fn memory(host: &Host, which: &str) -> Result<f64> {
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
