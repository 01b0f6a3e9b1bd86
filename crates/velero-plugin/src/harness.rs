//! Velero's side of the contract, for tests and benchmarks.
//!
//! [`Harness`] runs a plug-in inside the test and calls it over a real socket. [`Host`] starts a plug-in's binary as the
//! Velero server does, and reads its log. Both are called by the methods of [`Client`]; like Velero they set no deadline.

mod client;
mod in_process;
mod log_line;

pub use client::{BackupAnswer, Client, Listed, RestoreAnswer};
pub use in_process::Harness;
pub use log_line::LogLine;

use crate::error::frames;
use crate::handshake::{self, APP_PROTOCOL, COOKIE_NAME, COOKIE_VALUE, PROTOCOLS};
use crate::proto::plugin;
use std::ffi::OsStr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// As long as Velero waits for the handshake line.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// As long as Velero waits for a plug-in to end before it kills it.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running plug-in process and the connection to it, by which it can be called like a [`Client`]. Dropped, it is killed.
#[derive(Debug)]
pub struct Host {
    child: Child,
    client: Client,
    handshake: String,
    socket: PathBuf,
    started_in: Duration,
    log: Arc<Mutex<Vec<String>>>,
}

/// An error status that a plug-in answered with.
#[derive(Debug, Clone)]
pub struct Refused {
    /// gRPC code.
    pub code: Code,
    /// The text.
    pub message: String,
    /// File, line and function of each frame.
    pub stack: Vec<(String, i32, String)>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As Velero shows it.
        write!(f, "rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self { code: status.code(), stack: frames(&status), message: status.message().to_owned() }
    }
}

/// What can go wrong with a plug-in.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The process did not start.
    #[error("start {0}")]
    Spawn(PathBuf, #[source] io::Error),
    /// No handshake line came.
    #[error("{path} ended or said nothing within {START_TIMEOUT:?}; its stderr: {stderr}")]
    Silent {
        /// The binary.
        path: PathBuf,
        /// What it wrote instead.
        stderr: String,
    },
    /// The first line was something else.
    #[error("{path} wrote {line:?} where a handshake line was due")]
    Handshake {
        /// The binary.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// The actions cannot be served.
    #[error("the plug-in cannot serve: {0}")]
    Server(String),
    /// The socket could not be reached.
    #[error("connect to the plug-in's socket")]
    Connect(#[source] tonic::transport::Error),
    /// A call was answered with an error.
    #[error("{0}")]
    Refused(Refused),
    /// An answer was not JSON.
    #[error("the plug-in answered with an item that is no JSON")]
    Json(#[from] serde_json::Error),
    /// An answer lacked what Velero reads without looking.
    #[error("the plug-in's answer has no {0}; Velero panics on that")]
    Missing(&'static str),
    /// Waiting for the process failed.
    #[error("wait for the plug-in's end")]
    Wait(#[source] io::Error),
    /// It did not end by itself, and was killed.
    #[error("the plug-in did not end within {STOP_TIMEOUT:?} of the shutdown call")]
    Stuck,
}

impl From<Status> for HostError {
    fn from(status: Status) -> Self {
        Self::Refused(status.into())
    }
}

/// The command that Velero would run: its environment and these arguments.
pub fn command(path: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(path);
    command
        .args(args)
        .env(COOKIE_NAME, COOKIE_VALUE)
        .env("PLUGIN_MIN_PORT", "10000")
        .env("PLUGIN_MAX_PORT", "25000")
        .env(PROTOCOLS, APP_PROTOCOL.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Drop for Host {
    fn drop(&mut self) {
        // It is killed now, if it has not ended, and then cannot tidy up itself. There may be nothing to remove.
        if let Ok(None) = self.child.try_wait() {
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}

impl Deref for Host {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Host {
    /// Starts the plug-in at `path` and connects to it.
    ///
    /// # Errors
    /// If it does not start, does not shake hands, or cannot be reached.
    pub async fn start(path: impl AsRef<Path>, args: &[&str]) -> Result<Self, HostError> {
        Self::start_command(command(path.as_ref(), args)).await
    }

    /// Starts a plug-in by a [`command`] that was changed, e.g. by further environment variables.
    ///
    /// # Errors
    /// Like [`start`](Self::start).
    pub async fn start_command(mut command: Command) -> Result<Self, HostError> {
        let path = PathBuf::from(command.as_std().get_program());
        let begin = Instant::now();
        let mut child = command.spawn().map_err(|e| HostError::Spawn(path.clone(), e))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(HostError::Spawn(path, io::Error::other("stdout and stderr have to be pipes")));
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&log);
        let logging = tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let read = tokio::time::timeout(START_TIMEOUT, stdout.read_line(&mut line)).await;
        let started_in = begin.elapsed();
        if !matches!(read, Ok(Ok(1..))) {
            drop(child.kill().await);
            // Ends with the process, which is gone.
            drop(logging.await);
            let stderr = log.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
            return Err(HostError::Silent { path, stderr });
        }
        let socket = handshake::parse(&line).ok_or_else(|| HostError::Handshake { path, line: line.clone() })?;
        tokio::spawn(async move {
            let mut rest = stdout.lines();
            while let Ok(Some(_)) = rest.next_line().await {}
        });
        let channel = connect(socket.clone()).await.map_err(HostError::Connect)?;
        tokio::spawn(hold_stdio(channel.clone()));
        Ok(Self { child, client: Client { channel }, handshake: line, socket, started_in, log })
    }

    /// From the start of the process to its handshake line.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The handshake line, byte for byte.
    #[must_use]
    pub fn handshake(&self) -> &str {
        &self.handshake
    }

    /// The socket it listens on.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// A further hand to call it with, e.g. from another task.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If that cannot be told.
    pub async fn wait(&mut self) -> Result<ExitStatus, HostError> {
        self.child.wait().await.map_err(HostError::Wait)
    }

    /// The lines it has written to stderr so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the plug-in as Velero does, and returns its status and how long it took.
    ///
    /// # Errors
    /// If it has to be killed.
    pub async fn shutdown(mut self) -> Result<(ExitStatus, Duration), HostError> {
        let begin = Instant::now();
        let mut client = plugin::grpc_controller_client::GrpcControllerClient::new(self.client.channel.clone());
        let ending = async {
            // An answer that gets lost in the end of the process is none to wait for.
            drop(client.shutdown(plugin::Empty {}).await);
            self.child.wait().await
        };
        match tokio::time::timeout(STOP_TIMEOUT, ending).await {
            Ok(status) => Ok((status.map_err(HostError::Wait)?, begin.elapsed())),
            Err(_) => {
                self.child.kill().await.map_err(HostError::Wait)?;
                Err(HostError::Stuck)
            }
        }
    }
}

/// Holds the stream of what the plug-in prints open until it ends, as Velero does, for a plug-in has to stop in spite of
/// it. In a task of its own: a plug-in in Go sends no headers before its first byte of output, which may never come.
async fn hold_stdio(channel: Channel) {
    let mut client = plugin::grpc_stdio_client::GrpcStdioClient::new(channel);
    if let Ok(answer) = client.stream_stdio(()).await {
        let mut stream = answer.into_inner();
        while let Ok(Some(_)) = stream.message().await {}
    }
}

async fn connect(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    // The authority that Go's library sends.
    Endpoint::from_static("http://unused").connect_with_connector(connector).await
}
