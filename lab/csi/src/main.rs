//! `lab-csi`: serves one NFS export's folder as CSI volumes.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use leeward_lab_csi::endpoint::Endpoint;
use leeward_lab_csi::handle::Export;
use leeward_lab_csi::service::Driver;
use leeward_lab_csi::store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tracing_subscriber::EnvFilter;

/// The lab's CSI driver, known to Kubernetes as nfs.csi.k8s.io. Ends on SIGTERM, when the requests under way are done.
#[derive(Debug, Parser)]
#[command(name = "lab-csi", version)]
struct Args {
    /// The socket to serve on: unix:///absolute/path.
    #[arg(long)]
    endpoint: Endpoint,
    /// The address from which clients mount the export; the StorageClass's `server` must be the same.
    #[arg(long)]
    server: String,
    /// The exported path as clients see it; the StorageClass's `share` must be the same.
    #[arg(long)]
    share: String,
    /// The export's folder on this machine.
    #[arg(long)]
    path: PathBuf,
    /// The node's name; this machine's if not given.
    #[arg(long)]
    node_id: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr).init();
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-csi: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    // Before anything is served: a signal that comes meanwhile is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let export = Export::new(&args.server, &args.share);
    let node_id = args.node_id.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let path = args.path.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&path, export)).await??;
    // After the store is locked: the socket of a driver that still serves this export is not taken away.
    let (listener, _socket) = args.endpoint.listen()?;
    tracing::info!(
        endpoint = %args.endpoint.path().display(),
        export = %store.export(),
        path = %args.path.display(),
        node_id,
        "serving"
    );
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending when the requests under way are done");
    };
    tonic::transport::Server::builder()
        .add_routes(Driver::new(store, &node_id).router())
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await
        .context("serving stopped")?;
    Ok(())
}
