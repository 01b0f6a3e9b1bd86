//! The plug-in process: from the handshake to the exit.

use crate::arguments::Arguments;
use crate::backup_item_action::BackupItemAction;
use crate::delete_item_action::DeleteItemAction;
use crate::handshake::{self, Refusal};
use crate::install::{self, InstallError};
use crate::item_block_action::ItemBlockAction;
use crate::kind::Kind;
use crate::known_kinds::KnownKinds;
use crate::lifecycle::Lifecycle;
use crate::lister::Lister;
use crate::proto::{generated, health, plugin};
use crate::registered::{NotRegistered, Registered};
use crate::restore_item_action::RestoreItemAction;
use crate::socket::{SocketError, SocketFile};
use crate::stderr::Captured;
use crate::{hclog, panic, v1};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::future::Future;
use std::io::{self, Write as _};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use std::{mem, thread};
use tokio::runtime::{self, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;

/// What calls in flight get to end in; then they are dropped. The host waits for two seconds before it kills.
const GRACE: Duration = Duration::from_millis(300);
/// An action that blocks its thread would hold up the exit; past this the process ends with it.
const LAST_RESORT: Duration = Duration::from_millis(800);

/// A Velero plug-in: register actions, then [`serve`](Self::serve).
///
/// A name that Velero would not take, one given twice, or one given to the first and the second form of an action is told by
/// [`serve`](Self::serve).
#[must_use]
#[derive(Default)]
pub struct Server {
    registered: Registered,
    problem: Option<NotRegistered>,
    one_thread: bool,
}

/// Why a plug-in process ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Registered(NotRegistered),
    #[error("no action was registered")]
    Nothing,
    #[error(transparent)]
    Install(InstallError),
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

impl Server {
    /// A plug-in without actions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `action` as `name`, e.g. `example.io/keep-labels`, to backups.
    pub fn backup_item_action(self, name: &str, action: impl BackupItemAction) -> Self {
        self.with(Kind::BackupItemActionV2, name, |r| r.backup.insert(name, Arc::new(action)))
    }

    /// Serves `action` as `name` to restores.
    pub fn restore_item_action(self, name: &str, action: impl RestoreItemAction) -> Self {
        self.with(Kind::RestoreItemActionV2, name, |r| r.restore.insert(name, Arc::new(action)))
    }

    /// Serves `action` as `name` when backups are deleted.
    pub fn delete_item_action(self, name: &str, action: impl DeleteItemAction) -> Self {
        self.with(Kind::DeleteItemAction, name, |r| r.delete.insert(name, Arc::new(action)))
    }

    /// Serves `action` as `name` to backups of Velero 1.15 and later.
    ///
    /// An older Velero refuses to start when it meets this kind, so the action is offered only if the program that started
    /// this one knows the kind; that is looked up in the program's file. If it does not, or cannot be read, an info line in
    /// Velero's log says so, and the plug-in's other actions are served as ever.
    pub fn item_block_action(self, name: &str, action: impl ItemBlockAction) -> Self {
        self.with(Kind::ItemBlockAction, name, |r| r.item_block.insert(name, Arc::new(action)))
    }

    /// Serves `action` of the [first form](v1) as `name` to backups.
    pub fn backup_item_action_v1(self, name: &str, action: impl v1::BackupItemAction) -> Self {
        self.with(Kind::BackupItemAction, name, |r| r.backup_v1.insert(name, Arc::new(action)))
    }

    /// Serves `action` of the [first form](v1) as `name` to restores.
    pub fn restore_item_action_v1(self, name: &str, action: impl v1::RestoreItemAction) -> Self {
        self.with(Kind::RestoreItemAction, name, |r| r.restore_v1.insert(name, Arc::new(action)))
    }

    /// Runs the actions on the gRPC server's own thread, which spares each call two hand-overs between threads.
    ///
    /// For a plug-in whose actions wait by `await` only, and compute for milliseconds: one that blocks the thread holds up
    /// every other call, and the shutdown until Velero kills the process. What an action spawns runs there as well.
    pub fn on_one_thread(mut self) -> Self {
        self.one_thread = true;
        self
    }

    fn with(mut self, kind: Kind, name: &str, insert: impl FnOnce(&mut Registered) -> bool) -> Self {
        let added = self.registered.add(kind, name, insert);
        // The first one is told.
        self.problem = self.problem.or(added.err());
        self
    }

    /// Serves until Velero ends it; return the result from `main`. Started by anything but Velero, it says what it is and
    /// fails, unless it is asked to copy itself into a directory (`--install-to /target`), as an init container does.
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
        if matches!(error, ServeError::Refused(Refusal::NotStartedByVelero) | ServeError::Install(_)) {
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
                if let Some(directory) = install::directory(std::env::args_os().skip(1)) {
                    let path = directory.and_then(|to| install::install(&to)).map_err(ServeError::Install)?;
                    eprintln!("installed {}", path.display());
                    return Ok(());
                }
                self.explain();
            }
            return Err(ServeError::Refused(refusal));
        }
        // Lives until there is nothing more to log. Without it, stderr is as safe as what is written there.
        let _captured = Captured::start().ok();
        hclog::install(Arguments::of_process().log_level());
        panic::install_hook();
        let (registered, one_thread) = (self.registered()?, self.one_thread);

        let program = Handle::current();
        let server = thread::Builder::new().name("grpc".to_owned());
        let (tell, told) = oneshot::channel();
        let serving = move || {
            let result =
                runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Runtime).and_then(
                    |own| {
                        let program = if one_thread { own.handle().clone() } else { program };
                        own.block_on(listen(registered, program))
                    },
                );
            // The program may have given up waiting; then nobody is to be told.
            drop(tell.send(result));
        };
        server.spawn(serving).map_err(ServeError::Runtime)?;
        told.await.unwrap_or(Err(ServeError::Ended))
    }

    /// The actions, if they can be served.
    pub(crate) fn registered(&mut self) -> Result<Registered, ServeError> {
        if let Some(problem) = self.problem.take() {
            return Err(ServeError::Registered(problem));
        }
        if self.registered.names().next().is_none() {
            return Err(ServeError::Nothing);
        }
        Ok(mem::take(&mut self.registered))
    }

    /// Help for who runs the binary by hand; on stderr, as the host expects.
    fn explain(&self) {
        eprintln!(
            "Copy this file, executable, into the Velero server's plug-in directory (/plugins); as an init container"
        );
        eprintln!("of Velero it does that itself when run with --install-to /target. It serves:");
        for (kind, name) in self.registered.names() {
            eprintln!("  {kind:20} {name}");
        }
        eprintln!();
    }
}

/// Serves until the end, running actions on `program`.
async fn listen(registered: Registered, program: Handle) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let end = end_of_host().map_err(ServeError::Signals)?;
    let (file, listener) = SocketFile::bind(&handshake::socket_dir()).map_err(ServeError::Socket)?;
    let router = router(registered, &stop, &program, KnownKinds::OfParent);
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

/// Everything a host may call. Ends what it serves when `stop` is cancelled, and cancels it when told to end.
pub(crate) fn router(registered: Registered, stop: &CancellationToken, program: &Handle, known: KnownKinds) -> Router {
    let lifecycle = Lifecycle { stop: stop.clone() };
    let lister = Lister::new(registered.names(), known);
    let router = tonic::transport::Server::builder()
        // Go's client opens streams for the whole life of the connection; items may be megabytes.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .add_service(health::health_server::HealthServer::new(lifecycle.clone()))
        .add_service(plugin::grpc_controller_server::GrpcControllerServer::new(lifecycle.clone()))
        .add_service(plugin::grpc_stdio_server::GrpcStdioServer::new(lifecycle.clone()))
        .add_service(plugin::grpc_broker_server::GrpcBrokerServer::new(lifecycle))
        .add_service(generated::plugin_lister_server::PluginListerServer::new(lister));
    registered.serve(router, program)
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
