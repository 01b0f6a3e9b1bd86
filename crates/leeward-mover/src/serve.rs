//! `leeward-mover serve`: receives points from peers, and tells them what is here.

mod receive;
mod refused;
mod service;
mod sessions;

use crate::config::Config;
use crate::disk::Disk;
use crate::metrics::{self, Figures};
use crate::points::Points;
use crate::tls::{self, Server, TlsError, Trouble, of_io};
use crate::wire;
use crate::wire::proto::mover_server::MoverServer;
use crate::wire::stream::{GIVEN, Meter, Metered, Socket, socket};
use leeward_model::mover::RefusalKind;
use leeward_model::name::SiteName;
use service::{Caller, Service};
use sessions::Sessions;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

/// A connection whose two sides do not know each other by then is closed.
const SHAKE_HANDS_WITHIN: Duration = Duration::from_secs(10);
/// Connections whose other side is not known yet.
const UNKNOWN: usize = 64;
/// Connections of peers. Each costs at most what is under way on it.
const KNOWN: usize = 32;
/// Calls at the same time on a connection: several disks, what holds the session, and a few questions.
const CALLS: u32 = 24;
/// Bytes of the headers of a call.
const HEADERS: u32 = 16 << 10;
/// After that many seconds the server ends with whatever still goes on. Killing it is no harm, only it is not said then.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Where the points are inside an export.
pub const POINTS: &str = ".leeward/points";

type Incoming = Metered<TlsStream<Socket>, Caller>;

/// A server that does not begin, or ends early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nowhere to listen.
    #[error("there is no `listen` in the mover's configuration; `serve` needs it [LW-0757]")]
    NoAddress,
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("listening at {address} [LW-0750]")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system refuses what a server needs.
    #[error("starting the server [LW-0752]")]
    System(#[source] io::Error),
    /// The server.
    #[error("serving peers [LW-0758]")]
    Serving(#[source] tonic::transport::Error),
}

impl ServeError {
    /// What kind of reason it is.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::NoAddress => RefusalKind::Request,
            Self::Tls(_) => RefusalKind::Peer,
            Self::Listen { .. } | Self::System(_) | Self::Serving(_) => RefusalKind::Failed,
        }
    }
}

/// Serves the points until `stop` is true.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: &Config,
    points: &'static Points<Disk>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let address = config.listen.ok_or(ServeError::NoAddress)?;
    let tls = Server::new(config.tls.as_ref().ok_or(ServeError::NoAddress)?, config)?;
    let listener = listen(address).await?;
    // Port 0 in the configuration is any that is free.
    let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
    let meters: Meters = config.peers.keys().map(|site| (site.clone(), Arc::default())).collect();
    let meters = Arc::new(meters);
    let sessions = Arc::new(Sessions::new(points));
    if let Some(address) = config.metrics {
        let (sessions, meters, export) = (sessions.clone(), meters.clone(), config.export.clone());
        let figures = Arc::new(move || Figures::now(&export.join(POINTS), sessions.lag(), sessions.saved(), &meters));
        tokio::spawn(metrics::serve(listen(address).await?, figures, stop.clone()));
    }
    let service = Service { site: config.site.clone(), keep: config.keep, points, sessions, stopping: stop.clone() };
    let (known, incoming) = mpsc::channel(1);
    tokio::spawn(accept(listener, Arc::new(tls), meters, known, stop.clone()));
    eprintln!("leeward-mover: site {} serves peers at {address}", config.site);
    let mut ended = stop.clone();
    let serving = builder().add_service(limited(service)).serve_with_incoming_shutdown(
        ReceiverStream::new(incoming),
        async move {
            let _never_closed = ended.wait_for(|stop| *stop).await;
        },
    );
    tokio::select! {
        served = serving => served.map_err(ServeError::Serving),
        () = async {
            let _never_closed = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(END_WITHIN).await;
        } => Ok(()),
    }
}

/// Serves one connection of `peer`, who is known already, until it ends: for tests that have no network. Site `site` is here.
///
/// # Errors
/// [`ServeError::Serving`].
#[doc(hidden)]
pub async fn serve_known<S>(
    stream: S,
    peer: SiteName,
    site: SiteName,
    points: &'static Points<Disk>,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (_never, stopping) = watch::channel(false);
    let place = Semaphore::new(1);
    let place = Arc::new(place).try_acquire_owned().map_err(|error| ServeError::System(io::Error::other(error)))?;
    let stream = Metered::new(stream, Arc::default(), Caller { site: peer, _place: Arc::new(place) });
    let service = Service { site, keep: None, points, sessions: Arc::new(Sessions::new(points)), stopping };
    let incoming = tokio_stream::once(Ok::<_, io::Error>(stream));
    let server = builder().add_service(limited(service));
    server.serve_with_incoming(incoming).await.map_err(ServeError::Serving)
}

fn limited(service: Service) -> MoverServer<Service> {
    MoverServer::new(service)
        .max_decoding_message_size(wire::LONGEST_MESSAGE)
        .max_encoding_message_size(wire::LONGEST_MESSAGE)
}

fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(wire::DISK_WINDOW)
        .initial_connection_window_size(wire::LINK_WINDOW)
        .max_frame_size(wire::FRAME)
        .max_concurrent_streams(CALLS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(wire::ASK_AFTER))
        .http2_keepalive_timeout(Some(wire::ANSWER_WITHIN))
}

/// What went over the links to each peer.
pub(crate) type Meters = BTreeMap<SiteName, Arc<Meter>>;

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Takes connections, and hands on those of peers.
async fn accept(
    listener: TcpListener,
    tls: Arc<Server>,
    meters: Arc<Meters>,
    known: mpsc::Sender<io::Result<Incoming>>,
    mut stop: watch::Receiver<bool>,
) {
    let (strangers, places) = (Arc::new(Semaphore::new(UNKNOWN)), Arc::new(Semaphore::new(KNOWN)));
    loop {
        let Ok(stranger) = strangers.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, most of all: it passes.
                eprintln!("leeward-mover: taking a connection: {error} [LW-0750]");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, meters, known, places) = (tls.clone(), meters.clone(), known.clone(), places.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(SHAKE_HANDS_WITHIN, shake_hands(stream, &tls, &meters, places)).await;
            drop(stranger);
            match shaken.unwrap_or_else(|_| Err("it did not say who it is".to_owned())) {
                Ok(incoming) => {
                    // The server may have ended meanwhile.
                    let _ended = known.send(Ok(incoming)).await;
                }
                Err(why) => eprintln!("leeward-mover: refused a connection from {from}: {why} [LW-0759]"),
            }
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    tls: &Server,
    meters: &Meters,
    places: Arc<Semaphore>,
) -> Result<Incoming, String> {
    let stream = socket(stream).map_err(|error| error.to_string())?;
    let (config, trouble) = tls.current();
    if let Some(error) = trouble {
        eprintln!("leeward-mover: going on with the old certificates: {}", crate::refusal::text(&error));
    }
    let mut stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| refused(&error))?;
    stream.get_mut().1.set_buffer_limit(Some(GIVEN));
    let unknown = || "the name in its certificate is none of the peers here".to_owned();
    let site = tls.site(stream.get_ref().1.peer_certificates()).ok_or_else(unknown)?;
    let meter = meters.get(&site).cloned().ok_or_else(unknown)?;
    let place = places.try_acquire_owned().map_err(|_| format!("there are {KNOWN} connections of peers already"))?;
    Ok(Metered::new(stream, meter.clone(), Caller { site, _place: Arc::new(place) }))
}

/// Why a handshake came to nothing, in words.
fn refused(error: &io::Error) -> String {
    match of_io(error).map(tls::trouble) {
        Some(Trouble::Theirs(why)) => format!("its certificate is not taken, {why}"),
        Some(Trouble::Ours(why)) => format!("it does not take the certificate of this mover: {why}"),
        Some(Trouble::Else(why)) => why,
        None => error.to_string(),
    }
}
