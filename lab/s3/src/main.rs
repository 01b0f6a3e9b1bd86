//! `lab-s3`: an S3 server for tests, over a folder, with one bucket and one key pair.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use leeward_lab_s3::{Credentials, Server};
use tokio::signal::unix::{SignalKind, signal};

/// S3 server of the lab. The key pair comes from LAB_S3_ACCESS_KEY and LAB_S3_SECRET_KEY.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address and port to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Folder that holds the buckets; made when missing.
    #[arg(long)]
    root: PathBuf,
    /// The bucket made at start.
    #[arg(long, default_value = "leeward")]
    bucket: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "info,s3s=warn,s3s_fs=warn".into()),
        )
        .init();
    let credentials = Credentials {
        access_key: std::env::var("LAB_S3_ACCESS_KEY").context("LAB_S3_ACCESS_KEY must hold the access key")?,
        secret_key: std::env::var("LAB_S3_SECRET_KEY").context("LAB_S3_SECRET_KEY must hold the secret key")?,
    };
    // Both are caught before the port opens: whoever sees the port may already send a signal.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(arguments.listen, &arguments.root, &arguments.bucket, credentials).await?;
    tracing::info!(listen = %server.local_addr()?, bucket = arguments.bucket, "serving");
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    tracing::info!("stopped");
    Ok(())
}
