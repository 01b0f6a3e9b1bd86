//! Waiting until a process does its work.

use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::error::LabError;
use crate::place::Place;
use crate::process::{Probe, Process};
use crate::record::Record;
use crate::root::Root;

/// How long any process may take to be ready: the slowest, an API server, needs 4 s on an idle machine of two cores.
const LIMIT: Duration = Duration::from_secs(90);

/// Waits until `process` is ready; an error when it ends before, or is not ready in time.
pub(crate) async fn ready(root: &Root, process: &Process, record: &Record) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let cluster = match (&process.ready, process.place) {
        (Probe::KubeReady, Place::Site(site)) => Some(Cluster::new(root, site).await?),
        _ => None,
    };
    let mut pause = Duration::from_millis(20);
    loop {
        let seen = match &process.ready {
            Probe::Running => Ok(()),
            Probe::Tcp(address) => connect(TcpStream::connect(address)).await,
            Probe::Unix(path) => connect(UnixStream::connect(path)).await,
            Probe::KubeReady => match &cluster {
                Some(cluster) => cluster.ready().await.map_err(|error| error.to_string()),
                None => Err("the object place has no API server".into()),
            },
        };
        // Asked after the probe: what answers on a dead process's address is somebody else's.
        if !record.alive() {
            return Err(died(root, process).into());
        }
        let Err(last) = seen else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(LabError::NotReady {
                what: process.name.clone(),
                place: process.place.name().into(),
                seconds: LIMIT.as_secs(),
                last,
                log: root.log(process.place, &process.name),
            }
            .into());
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

async fn connect<T>(connection: impl Future<Output = std::io::Result<T>>) -> Result<(), String> {
    match timeout(Duration::from_secs(2), connection).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".into()),
    }
}

/// The error for a process that has ended by itself, with the end of its log.
pub(crate) fn died(root: &Root, process: &Process) -> LabError {
    let log = root.log(process.place, &process.name);
    let text = std::fs::read(&log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(8).map(|line| format!("  {line}")).collect();
    LabError::Died {
        process: process.name.clone(),
        place: process.place.name().into(),
        log,
        tail: lines.into_iter().rev().collect::<Vec<_>>().join("\n"),
    }
}
