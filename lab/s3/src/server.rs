//! [`Server`]: the listening server over one folder with one bucket.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::Ordered;

/// How long requests in flight may take once the server was told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// The one key pair the server knows.
#[derive(Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
}

/// A bound S3 server.
pub struct Server {
    listener: TcpListener,
    service: S3Service,
}

impl Server {
    /// Binds `listen`, makes `root` and the folder of `bucket` in it.
    pub async fn bind(listen: SocketAddr, root: &Path, bucket: &str, credentials: Credentials) -> Result<Self> {
        fs_err::create_dir_all(root.join(bucket)).context("making the bucket")?;
        let files = FileSystem::new(root).map_err(|error| anyhow!("opening {}: {error:?}", root.display()))?;
        let mut builder = S3ServiceBuilder::new(Ordered::new(files));
        builder.set_auth(SimpleAuth::from_single(credentials.access_key, credentials.secret_key));
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        Ok(Self { listener, service: builder.build() })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop` resolves, then lets requests in flight end within a few seconds.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let http = Builder::new(TokioExecutor::new());
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.as_mut() => break,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    continue;
                }
            };
            // Latency counts here, not the number of packets: answers are small.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            let connection = http.serve_connection(TokioIo::new(socket), self.service.clone());
            let connection = graceful.watch(connection.into_owned());
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end within {} s and are cut off", GRACE.as_secs());
        }
    }
}
