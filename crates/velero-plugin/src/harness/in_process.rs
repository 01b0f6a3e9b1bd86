//! [`Harness`]: a plug-in in the test's own process.

use super::{Client, HostError, connect};
use crate::known_kinds::KnownKinds;
use crate::server::{Server, router};
use crate::socket::SocketFile;
use std::ops::Deref;
use std::{env, thread};
use tokio::runtime::{self, Handle};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

/// A plug-in that runs in this process and is called over a real socket, by the calls of a [`Client`]. Ends when dropped.
///
/// Nothing of the process is touched: neither its log, nor its panic hook, nor its stdout. So the place of a panic is not
/// known here as it is to Velero, and log lines go wherever the test sends them.
#[derive(Debug)]
pub struct Harness {
    client: Client,
    stop: CancellationToken,
}

impl Harness {
    /// Serves `server`'s actions to a host that knows every kind. They run on the test's runtime.
    ///
    /// # Errors
    /// If the actions cannot be served, as when a name is not one for Velero.
    pub async fn start(server: Server) -> Result<Self, HostError> {
        Self::serve(server, KnownKinds::ItemBlocks(true)).await
    }

    /// The same for a host that does not know item block actions, which is Velero before 1.15.
    ///
    /// # Errors
    /// Like [`start`](Self::start).
    pub async fn start_before_item_blocks(server: Server) -> Result<Self, HostError> {
        Self::serve(server, KnownKinds::ItemBlocks(false)).await
    }

    async fn serve(mut server: Server, known: KnownKinds) -> Result<Self, HostError> {
        let registered = server.registered().map_err(|problem| HostError::Server(problem.to_string()))?;
        let stop = CancellationToken::new();
        let program = Handle::current();
        let (tell, told) = tokio::sync::oneshot::channel();
        let stopped = stop.clone();
        // As in a process of its own: an action that blocks its thread does not hold up the plug-in's answers.
        let serving = async move {
            let bound = SocketFile::bind(&env::temp_dir());
            let (file, listener) = match bound {
                Ok(bound) => bound,
                Err(error) => return drop(tell.send(Err(HostError::Server(error.to_string())))),
            };
            let router = router(registered, &stopped, &program, known);
            drop(tell.send(Ok(file.path().to_owned())));
            let incoming = UnixListenerStream::new(listener);
            tokio::select! {
                served = router.serve_with_incoming(incoming) => drop(served),
                () = stopped.cancelled() => {}
            }
            drop(file);
        };
        let server = thread::Builder::new().name("grpc".to_owned());
        let spawned = server.spawn(move || {
            // Without a runtime nothing is told, which is an error to who waits.
            if let Ok(own) = runtime::Builder::new_current_thread().enable_all().build() {
                own.block_on(serving);
            }
        });
        spawned.map_err(|error| HostError::Server(error.to_string()))?;
        let socket = told.await.map_err(|_| HostError::Server("the gRPC server's thread ended".to_owned()))??;
        let channel = connect(socket).await.map_err(HostError::Connect)?;
        Ok(Self { client: Client { channel }, stop })
    }
}

impl Deref for Harness {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
