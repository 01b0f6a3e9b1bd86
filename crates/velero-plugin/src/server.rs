//! The plug-in process: from the handshake to the exit.

use crate::arguments::Arguments;
use crate::backup_item_action::{self, BackupItemAction};
use crate::call::Actions;
use crate::handshake::{self, Refusal};
use crate::kind::Kind;
use crate::lifecycle::Lifecycle;
use crate::lister::Lister;
use crate::name::{self, InvalidName};
use crate::proto::{generated, health, plugin, v2};
use crate::restore_item_action::{self, RestoreItemAction};
use crate::socket::{SocketError, SocketFile};
use crate::{hclog, panic};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::future::Future;
use std::io::{self, Write as _};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{self, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

/// What calls in flight get to end in; then they are dropped. The host waits for two seconds before it kills.
const GRACE: Duration = Duration::from_millis(300);
/// An action that blocks its thread would hold up the exit; past this the process ends with it.
const LAST_RESORT: Duration = Duration::from_millis(800);

/// A Velero plug-in: register actions, then [`serve`](Self::serve).
#[must_use]
pub struct Server {
    backup: Actions<dyn BackupItemAction>,
    restore: Actions<dyn RestoreItemAction>,
    problem: Option<ServeError>,
}

/// Why a plug-in process ended badly.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Name(InvalidName),
    #[error("the {kind} {name:?} was registered twice")]
    Duplicate { kind: Kind, name: String },
    #[error("no action was registered")]
    Nothing,
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Socket(SocketError),
    #[error("handle signals")]
    Signals(#[source] io::Error),
    #[error("write the handshake line to stdout")]
    Handshake(#[source] io::Error),
    #[error("start the gRPC server's thread")]
    Runtime(#[source] io::Error),
    #[error("the gRPC server's thread panicked")]
    Ended,
    #[error("serve gRPC")]
    Transport(#[source] tonic::transport::Error),
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A plug-in without actions.
    pub fn new() -> Self {
        Self {
            backup: Actions::new(Kind::BackupItemActionV2),
            restore: Actions::new(Kind::RestoreItemActionV2),
            problem: None,
        }
    }

    /// Serves `action` as `name`, e.g. `example.io/keep-labels`. A name that Velero would not take, or one given twice, is
    /// told by [`serve`](Self::serve).
    pub fn backup_item_action(mut self, name: &str, action: impl BackupItemAction) -> Self {
        let new = self.backup.insert(name, Arc::new(action));
        self.registered(Kind::BackupItemActionV2, name, new)
    }

    /// Like [`backup_item_action`](Self::backup_item_action), for restores.
    pub fn restore_item_action(mut self, name: &str, action: impl RestoreItemAction) -> Self {
        let new = self.restore.insert(name, Arc::new(action));
        self.registered(Kind::RestoreItemActionV2, name, new)
    }

    fn registered(mut self, kind: Kind, name: &str, new: bool) -> Self {
        let problem = match name::check(name) {
            Err(invalid) => Some(ServeError::Name(invalid)),
            Ok(()) if !new => Some(ServeError::Duplicate { kind, name: name.to_owned() }),
            Ok(()) => None,
        };
        self.problem = self.problem.or(problem);
        self
    }

    /// Serves until Velero ends it; return the result from `main`. Started by anything but Velero, it says what it is and
    /// fails.
    ///
    /// Sets the process's panic hook, takes SIGINT and SIGTERM, and sets up logging if the program has not. Stdout belongs
    /// to the handshake: print nothing.
    pub async fn serve(self) -> ExitCode {
        let Err(error) = self.run().await else { return ExitCode::SUCCESS };
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        if matches!(error, ServeError::Refused(Refusal::NotStartedByVelero)) {
            eprintln!("{text}.");
        } else {
            hclog::install(Arguments::of_process().log_level());
            tracing::error!("the plug-in cannot serve: {text}");
        }
        ExitCode::FAILURE
    }

    async fn run(mut self) -> Result<(), ServeError> {
        if let Err(refusal) = handshake::accept(|name| std::env::var(name).ok()) {
            if refusal == Refusal::NotStartedByVelero {
                self.explain();
            }
            return Err(ServeError::Refused(refusal));
        }
        hclog::install(Arguments::of_process().log_level());
        panic::install_hook();
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.backup.is_empty() && self.restore.is_empty() {
            return Err(ServeError::Nothing);
        }

        let program = Handle::current();
        let server = thread::Builder::new().name("grpc".to_owned());
        let (tell, told) = oneshot::channel();
        let serving = move || {
            let result = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(ServeError::Runtime)
                .and_then(|own| own.block_on(self.listen(program)));
            // The program may have given up waiting; then nobody is to be told.
            drop(tell.send(result));
        };
        server.spawn(serving).map_err(ServeError::Runtime)?;
        told.await.unwrap_or(Err(ServeError::Ended))
    }

    /// Serves until the end, running actions on `program`.
    async fn listen(self, program: Handle) -> Result<(), ServeError> {
        let stop = CancellationToken::new();
        let end = end_of_host().map_err(ServeError::Signals)?;
        let (file, listener) = SocketFile::bind(&handshake::socket_dir()).map_err(ServeError::Socket)?;
        let router = self.router(&stop, &program);
        let serving =
            router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.clone().cancelled_owned());
        announce(&file).map_err(ServeError::Handshake)?;

        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result.map_err(ServeError::Transport),
            () = end => stop.cancel(),
            () = stop.cancelled() => {}
        }
        // Open connections need no file; nobody else shall find it.
        drop(file);
        thread::spawn(|| {
            thread::sleep(LAST_RESORT);
            process::exit(0);
        });
        match tokio::time::timeout(GRACE, serving).await {
            Ok(result) => result.map_err(ServeError::Transport),
            Err(_) => {
                tracing::debug!("stopped with calls in flight");
                Ok(())
            }
        }
    }

    fn router(self, stop: &CancellationToken, program: &Handle) -> tonic::transport::server::Router {
        let lifecycle = Lifecycle { stop: stop.clone() };
        let lister = Lister::new(self.backup.names().chain(self.restore.names()));
        let mut router = tonic::transport::Server::builder()
            // Go's client opens streams for the whole life of the connection; items may be megabytes.
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .add_service(health::health_server::HealthServer::new(lifecycle.clone()))
            .add_service(plugin::grpc_controller_server::GrpcControllerServer::new(lifecycle.clone()))
            .add_service(plugin::grpc_stdio_server::GrpcStdioServer::new(lifecycle.clone()))
            .add_service(plugin::grpc_broker_server::GrpcBrokerServer::new(lifecycle))
            .add_service(generated::plugin_lister_server::PluginListerServer::new(lister));
        // tonic takes 4 MiB by default; Velero sets no limit, and large ConfigMaps and CRDs reach it.
        if !self.backup.is_empty() {
            let service = backup_item_action::Service { actions: self.backup, program: program.clone() };
            router = router.add_service(
                v2::backup_item_action_server::BackupItemActionServer::new(service)
                    .max_decoding_message_size(usize::MAX)
                    .max_encoding_message_size(usize::MAX),
            );
        }
        if !self.restore.is_empty() {
            let service = restore_item_action::Service { actions: self.restore, program: program.clone() };
            router = router.add_service(
                v2::restore_item_action_server::RestoreItemActionServer::new(service)
                    .max_decoding_message_size(usize::MAX)
                    .max_encoding_message_size(usize::MAX),
            );
        }
        router
    }

    /// Help for who runs the binary by hand; on stderr, as the host expects.
    fn explain(&self) {
        eprintln!("Copy this file, executable, into the Velero server's plug-in directory (/plugins). It serves:");
        for (kind, name) in self.backup.names().chain(self.restore.names()) {
            eprintln!("  {kind:20} {name}");
        }
        eprintln!();
    }
}

fn announce(socket: &SocketFile) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(handshake::line(socket.path()).as_bytes())?;
    stdout.flush()
}

/// Ends when nobody needs the plug-in any more: on SIGTERM, or when the host is gone without having said so. SIGINT is for
/// the host to act on and is passed over, as Go plug-ins do.
fn end_of_host() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let gone = CancellationToken::new();
    watch_stdout(gone.clone())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                () = gone.cancelled() => return,
                _ = interrupt.recv() => {}
            }
        }
    })
}

/// Cancels `gone` once the other end of stdout is closed. The host holds it for as long as it lives, so this is how a
/// plug-in learns that its host was killed; its parent's id would tell only when asked.
fn watch_stdout(gone: CancellationToken) -> io::Result<()> {
    let watch = move || {
        let stdout = io::stdout();
        // Errors and hang-ups are reported without being asked for; a file or a terminal never has any.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        while let Err(Errno::INTR) = poll(&mut polled, None) {}
        if polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            gone.cancel();
        }
    };
    thread::Builder::new().name("host-watch".to_owned()).spawn(watch).map(drop)
}
