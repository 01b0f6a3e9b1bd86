//! `cargo xtask bench plugin`: how fast Leeward's plug-in starts and works, beside two plug-ins in Go.
//!
//! Velero starts a plug-in for every backup and restore, and once more at its own start; and it calls Execute once per
//! object. Both are measured the way Velero does them: the released binary, its handshake line on stdout, gRPC over its
//! unix socket. The subjects take turns, so that whatever else the machine does hits all of them.
//!
//! Beside it: `velero-plugin-for-aws`, the plug-in that nearly everybody runs, for the start; and Velero's own
//! `csi-volumesnapshotclass-backupper` for Execute, as it is the one action among Velero's own that speaks the same
//! version of the contract and, like keep-volume without a claim, asks no API server.

use super::spread::Spread;
use super::stand_in::StandIn;
use crate::binaries::static_release;
use anyhow::{Context, Result, ensure};
use clap::Args;
use leeward_lab_parts::{Progress, ensure_parts};
use leeward_model::keys::SITE;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use velero_plugin::harness::{Host, command};

/// Calls before the first that counts.
const WARM_UP: usize = 100;
/// Calls of one subject in a row, before it is the next one's turn.
const TURN: usize = 100;
/// Bytes of the object given to Execute, as JSON.
const BYTES: usize = 2048;

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    /// Starts per program.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Calls of Execute per action.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
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

/// Which call it is.
#[derive(Clone, Copy)]
enum Call {
    /// No action at all: what the way there and back costs.
    Health,
    Backup,
    Restore,
}

/// One action and what it is given.
struct Action<'a> {
    title: &'static str,
    host: &'a Host,
    call: Call,
    name: &'static str,
    item: Value,
    /// Where in the answer which text has to be: a fast wrong answer is none.
    expect: (&'static str, &'static str),
}

impl Action<'_> {
    async fn call(&self) -> Result<Duration> {
        let run = json!({"metadata": {"namespace": "velero", "name": "bench"}});
        let begin = Instant::now();
        let item = match self.call {
            Call::Health => {
                ensure!(self.host.healthy(self.name).await?, "{} does not serve", self.name);
                return Ok(begin.elapsed());
            }
            Call::Backup => self.host.execute_backup(self.name, &self.item, &run).await?.item,
            Call::Restore => self.host.execute_restore(self.name, &self.item, &self.item, &run).await?.item,
        };
        let took = begin.elapsed();
        let (pointer, expected) = self.expect;
        let found = item.pointer(pointer).and_then(Value::as_str);
        ensure!(found == Some(expected), "{}: {pointer} is {found:?}, not {expected:?}", self.name);
        Ok(took)
    }
}

pub(super) async fn run(args: &PluginArgs) -> Result<()> {
    let progress = Progress::stderr();
    let parts = ensure_parts(&progress)?;
    let building = progress.start("leeward-velero-plugin, released and static (cargo)", None);
    let plugin = static_release("leeward-velero-plugin", "leeward-velero-plugin")?;
    building.done();

    let folder = tempfile::tempdir()?;
    let api = StandIn::start().await?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs_err::write(&kubeconfig, &api.kubeconfig)?;
    let quiet = "--log-level=error".to_owned();
    let program = |name, path, args| Program { name, path, args };
    let leeward = program(
        "leeward-velero-plugin (Rust)",
        plugin,
        vec![format!("--kubeconfig={}", kubeconfig.display()), quiet.clone()],
    );
    let aws = program("velero-plugin-for-aws (Go)", parts.velero_plugin_for_aws, vec![quiet.clone()]);
    let velero = program("velero run-plugins (Go)", parts.velero, vec!["run-plugins".to_owned(), quiet]);

    let cores = std::thread::available_parallelism()?;
    let load = fs_err::read_to_string("/proc/loadavg")?;
    println!("{cores} cores; load before: {}\n", load.split(' ').next().unwrap_or_default());
    starts(&[leeward, aws, velero], args.starts, folder.path(), args.calls).await?;
    println!("\nagain: cargo xtask bench plugin --starts {} --calls {}", args.starts, args.calls);
    Ok(())
}

async fn starts(programs: &[Program; 3], rounds: u32, sockets: &Path, calls: u32) -> Result<()> {
    let mut times = programs.each_ref().map(|_| (Vec::new(), Vec::new()));
    let mut memory = [0.0; 3];
    // The first round only brings the programs into the page cache.
    for round in 0..=rounds {
        for ((program, (handshake, ready)), memory) in programs.iter().zip(&mut times).zip(&mut memory) {
            let started = program.start(sockets).await?;
            if round > 0 {
                handshake.push(started.handshake);
                ready.push(started.ready);
                *memory = resident(&started.host)?;
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

    let (ours, theirs) = (programs[0].start(sockets).await?.host, programs[2].start(sockets).await?.host);
    executes(&ours, &theirs, calls).await?;
    for host in [ours, theirs] {
        host.shutdown().await?;
    }
    Ok(())
}

async fn executes(ours: &Host, theirs: &Host, calls: u32) -> Result<()> {
    let retained = ("/spec/persistentVolumeReclaimPolicy", "Retain");
    let keep = |title, item| Action {
        title,
        host: ours,
        name: "leeward.io/keep-volume",
        call: Call::Backup,
        item,
        expect: retained,
    };
    let alone =
        |title, host| Action { title, host, call: Call::Health, name: "plugin", item: json!({}), expect: ("", "") };
    let actions = [
        alone("round trip alone (Rust)", ours),
        alone("round trip alone (Go)", theirs),
        keep("keep-volume, no claim (Rust)", volume("10.77.0.2", "/vault", None)),
        Action {
            title: "snapshotclass-backupper (Go)",
            host: theirs,
            name: "velero.io/csi-volumesnapshotclass-backupper",
            call: Call::Backup,
            item: snapshot_class(),
            expect: ("/deletionPolicy", "Delete"),
        },
        keep("keep-volume, claim: 1 GET", volume("10.77.0.2", "/vault", Some("db-data"))),
        Action {
            title: "rewrite-volume: 1 GET",
            host: ours,
            name: "leeward.io/rewrite-volume",
            call: Call::Restore,
            item: volume("10.77.0.1", "/export", Some("db-data")),
            expect: ("/spec/csi/volumeAttributes/share", "/vault"),
        },
    ];
    let calls = usize::try_from(calls)?;
    let mut times = actions.each_ref().map(|_| Vec::with_capacity(calls));
    for action in &actions {
        for _ in 0..WARM_UP {
            action.call().await?;
        }
    }
    for turn in (0..calls).step_by(TURN) {
        for (action, times) in actions.iter().zip(&mut times) {
            for _ in turn..calls.min(turn + TURN) {
                times.push(action.call().await?);
            }
        }
    }
    println!("\none Execute, {BYTES} bytes, {calls} times each     min  median     p99     max  µs");
    let spreads = times.map(Spread::from_iter);
    for (action, spread) in actions.iter().zip(&spreads) {
        let columns = [0.0, 0.5, 0.99, 1.0].map(|part| format!("{:>8.0}", spread.quantile(part).as_secs_f64() * 1e6));
        println!("{:<43}{}", action.title, columns.concat());
    }
    // Not less the round trips: a difference of two such medians is smaller than their noise.
    let ratio = ratio(spreads[3].median(), spreads[2].median());
    println!("without API server, ratio of medians: {ratio:.1} × Velero's own");
    println!("each time is the caller's as well: its gRPC and JSON, not optimized unless it is built with --release");
    println!("GET: of a stand-in for the API server, plain HTTP on loopback, in this process");
    Ok(())
}

/// A PV of csi-driver-nfs.
fn volume(server: &str, share: &str, claim: Option<&str>) -> Value {
    let site = if share == "/export" { "east" } else { "west" };
    let mut pv = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "pvc-1", "annotations": {SITE: site, "pv.kubernetes.io/provisioned-by": "nfs.csi.k8s.io"}},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "nfs-csi", "volumeMode": "Filesystem",
            "csi": {
                "driver": "nfs.csi.k8s.io", "volumeHandle": format!("{server}#{}#pvc-1##", share.trim_start_matches('/')),
                "volumeAttributes": {"server": server, "share": share, "subdir": "pvc-1"},
            },
        },
    });
    if let Some(claim) = claim {
        pv["spec"]["claimRef"] =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": claim});
    }
    padded(pv)
}

fn snapshot_class() -> Value {
    padded(json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
        "metadata": {"name": "nfs-csi", "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": "nfs.csi.k8s.io", "deletionPolicy": "Delete",
    }))
}

/// Exactly [`BYTES`] long as JSON, by annotations of a usual size.
fn padded(mut object: Value) -> Value {
    for n in 0.. {
        let missing = BYTES.saturating_sub(object.to_string().len());
        let key = format!("bench.leeward.io/padding-{n:02}");
        // Quotes, colon and comma.
        let around = key.len() + 6;
        if missing < around {
            break;
        }
        let rest = missing - around;
        // The last one takes what would be too little for another.
        let length = if rest < 2 * 120 { rest } else { 120 };
        object["metadata"]["annotations"][key] = "x".repeat(length).into();
    }
    object
}

/// MiB of the process's memory that is in RAM now.
fn resident(host: &Host) -> Result<f64> {
    let pid = host.pid().context("the plug-in has ended")?;
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
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

fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_as_long_as_the_table_says() {
        for object in
            [volume("10.77.0.1", "/export", Some("db-data")), volume("10.77.0.2", "/vault", None), snapshot_class()]
        {
            assert_eq!(object.to_string().len(), BYTES);
        }
    }
}
