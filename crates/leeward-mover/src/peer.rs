//! Another site's mover, spoken to over one connection.

mod disk;
mod making;
mod there;

pub use making::{Remote, RemoteMaking};
pub use there::There;
pub(crate) use there::of_peer;

use crate::config::{Config, Peer};
use crate::place::Place;
use crate::points::Point;
use crate::tls::{self, TlsError, Trouble, of_io};
use crate::wire::proto::mover_client::MoverClient;
use crate::wire::proto::{FreeRequest, HelloRequest, ManifestPart, ManifestRequest, PointReply, PointsRequest};
use crate::wire::stream::{GIVEN, Meter, Metered, Socket, socket};
use crate::wire::version::{KEY, SPOKEN, Versions};
use crate::wire::{self, refusal};
use hyper_util::rt::TokioIo;
use leeward_model::mover::{Refusal, RefusalKind};
use leeward_model::name::{GroupName, PointId, SiteName};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// A connection that is not there by then is not to be had.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Threads for a connection: one is busy with encryption while the other hands on.
const THREADS: usize = 2;

/// A peer that cannot be spoken to, or says no.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It is not in the configuration.
    #[error("site {site} is not among the `peers` in the mover's configuration [LW-0746]")]
    Unknown {
        /// The site.
        site: SiteName,
    },
    /// Our certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connection is not to be had.
    #[error(
        "the mover of site {site} cannot be reached at {address}; is `leeward-mover serve` running there? [LW-0740]"
    )]
    Unreachable {
        /// The site.
        site: SiteName,
        /// Where it should be.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not who it should be.
    #[error("who answers for site {site} at {address} is not trusted: its certificate is not taken, {why} [LW-0741]")]
    Untrusted {
        /// The site.
        site: SiteName,
        /// Where it is.
        address: String,
        /// In words.
        why: String,
    },
    /// It does not take us for who we are.
    #[error("the mover of site {site} does not take this mover's certificate: {why} [LW-0742]")]
    Unwelcome {
        /// The site.
        site: SiteName,
        /// In words.
        why: String,
    },
    /// It speaks another version.
    #[error(
        "the mover of site {site} speaks version {theirs} of the movers' protocol, this one {ours}; install the same release \
         at both [LW-0743]"
    )]
    Version {
        /// The site.
        site: SiteName,
        /// Its versions.
        theirs: Versions,
        /// Ours.
        ours: Versions,
    },
    /// The connection broke.
    #[error("the link to site {site} broke: {why}. What has arrived stays; repeat to go on [LW-0744]")]
    Broken {
        /// The site.
        site: SiteName,
        /// In words.
        why: String,
    },
    /// It says what cannot be.
    #[error("the mover of site {site} answers what cannot be: {what} [LW-0745]")]
    Nonsense {
        /// The site.
        site: SiteName,
        /// What.
        what: String,
    },
    /// It belongs to another site.
    #[error("the mover at {address} is of site {found}, not of {site}; correct `peers` in the configuration [LW-0751]")]
    Other {
        /// The site that was asked for.
        site: SiteName,
        /// The address of it in the configuration.
        address: String,
        /// What it says.
        found: String,
    },
    /// It refuses. Its text has its own code.
    #[error("site {site}: {}", refusal.text)]
    Refused {
        /// The site.
        site: SiteName,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// The group has too many disks.
    #[error(
        "the order for group {group} at site {site} has {bytes} bytes, more than fit into a message; divide the group [LW-0760]"
    )]
    TooLarge {
        /// The site.
        site: SiteName,
        /// The group.
        group: GroupName,
        /// Bytes of the order.
        bytes: usize,
    },
    /// The manifests kept at this site.
    #[error("keeping the block manifest of {disk} at this site [LW-0749]")]
    Cache {
        /// The disk.
        disk: Place,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system refuses what a connection needs.
    #[error("threads for a connection [LW-0752]")]
    System(#[source] io::Error),
}

impl PeerError {
    /// What kind of reason it is.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown { .. } | Self::TooLarge { .. } => RefusalKind::Request,
            Self::Unreachable { .. } | Self::Broken { .. } => RefusalKind::Link,
            Self::Tls(_)
            | Self::Untrusted { .. }
            | Self::Unwelcome { .. }
            | Self::Version { .. }
            | Self::Nonsense { .. }
            | Self::Other { .. } => RefusalKind::Peer,
            Self::Refused { refusal, .. } => refusal.kind,
            Self::Cache { .. } | Self::System(_) => RefusalKind::Failed,
        }
    }
}

/// A connection to a peer's mover. Its calls block, and may come from several threads.
pub struct Link {
    site: SiteName,
    client: MoverClient<Channel>,
    meter: Arc<Meter>,
    version: MetadataValue<Ascii>,
    // Dropped last: it carries all else.
    runtime: Runtime,
}

impl Link {
    /// Connects to the mover of `site`.
    ///
    /// # Errors
    /// [`PeerError`]: unknown, not to be reached, not trusted or not trusting, of another version.
    pub fn connect(config: &Config, site: &SiteName) -> Result<Self, PeerError> {
        let unknown = || PeerError::Unknown { site: site.clone() };
        let peer = config.peers.get(site).ok_or_else(unknown)?;
        let tls = tls::client(config.tls.as_ref().ok_or_else(unknown)?)?;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).enable_all().build().map_err(PeerError::System)?;
        let meter = Arc::new(Meter::default());
        let stream = runtime.block_on(async {
            let connected = tokio::time::timeout(CONNECT_WITHIN, connect(peer, tls)).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        let stream = stream.map_err(|error| not_connected(site, peer, error))?;
        let channel = runtime.block_on(channel(Metered::new(stream, meter.clone(), ())));
        let client = MoverClient::new(channel.map_err(|error| broken(site, &meter, crate::refusal::text(&error)))?)
            .max_decoding_message_size(wire::LONGEST_MESSAGE)
            .max_encoding_message_size(wire::LONGEST_MESSAGE);
        let version = MetadataValue::from(SPOKEN.newest);
        let mut link = Self { site: site.clone(), client, meter, version, runtime };
        link.hello(config, peer)?;
        Ok(link)
    }

    fn hello(&mut self, config: &Config, peer: &Peer) -> Result<(), PeerError> {
        let ours = SPOKEN;
        let hello = HelloRequest { oldest: ours.oldest, newest: ours.newest, site: config.site.to_string() };
        let mut client = self.client.clone();
        let reply = self.wait(client.hello(self.request(hello)))?.into_inner();
        let theirs = Versions { oldest: reply.oldest, newest: reply.newest };
        let site = self.site.clone();
        let common = ours.common(theirs).ok_or(PeerError::Version { site, theirs, ours })?;
        if reply.site != self.site.as_str() {
            let (site, address) = (self.site.clone(), peer.address.to_string());
            return Err(PeerError::Other { site, address, found: refusal::clean(&reply.site) });
        }
        self.version = MetadataValue::from(common);
        Ok(())
    }

    /// Bytes that went over it in both directions, encryption not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meter.bytes()
    }

    /// The group's whole points at the peer.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn points(&self, group: &GroupName) -> Result<Vec<Point>, PeerError> {
        let mut client = self.client.clone();
        let request = self.request(PointsRequest { group: group.to_string() });
        let mut stream = self.wait(client.points(request))?.into_inner();
        let mut points = Vec::new();
        while let Some(PointReply { point }) = self.wait(stream.message())? {
            points.push(self.parse(&point)?);
        }
        Ok(points)
    }

    /// The manifest of a disk of a whole point at the peer, as its file. What it says is checked by who reads it.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn manifest<'a>(
        &'a self,
        group: &GroupName,
        point: &PointId,
        disk: &Place,
    ) -> Result<impl Read + use<'a>, PeerError> {
        let (group, point, disk) = (group.to_string(), point.to_string(), disk.as_str().to_owned());
        let mut client = self.client.clone();
        let mut stream = self.wait(client.manifest(self.request(ManifestRequest { group, point, disk })))?.into_inner();
        let next = move || Ok(self.wait(stream.message())?.map(|ManifestPart { bytes }| bytes));
        Ok(disk::Parts::new(next))
    }

    /// Free bytes where the peer's points are.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn free(&self) -> Result<u64, PeerError> {
        let mut client = self.client.clone();
        Ok(self.wait(client.free(self.request(FreeRequest {})))?.into_inner().bytes)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(KEY, self.version.clone());
        request
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, PeerError> {
        self.runtime.block_on(call).map_err(|status| self.failed(&status))
    }

    /// The next message of a stream that must not end here.
    fn next<T>(&self, stream: &mut Streaming<T>) -> Result<T, PeerError> {
        self.wait(stream.message())?.ok_or_else(|| self.nonsense("the answer ends early"))
    }

    fn failed(&self, status: &Status) -> PeerError {
        match refusal::read(status) {
            Some(refusal) => PeerError::Refused { site: self.site.clone(), refusal: Box::new(refusal) },
            None => broken(&self.site, &self.meter, refusal::clean(&crate::refusal::text(status))),
        }
    }

    fn nonsense(&self, what: impl Into<String>) -> PeerError {
        PeerError::Nonsense { site: self.site.clone(), what: what.into() }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, json: &[u8]) -> Result<T, PeerError> {
        serde_json::from_slice(json).map_err(|error| self.nonsense(error.to_string()))
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("site", &self.site).finish_non_exhaustive()
    }
}

async fn connect(peer: &Peer, tls: Arc<rustls::ClientConfig>) -> io::Result<TlsStream<Socket>> {
    let stream = socket(TcpStream::connect(peer.address.as_str()).await?)?;
    let mut stream = TlsConnector::from(tls).connect(tls::name(peer), stream).await?;
    stream.get_mut().1.set_buffer_limit(Some(GIVEN));
    Ok(stream)
}

/// gRPC on a connection that is there. It is not made anew when it breaks: who repeats asks first what has arrived.
async fn channel(stream: Metered<TlsStream<Socket>, ()>) -> Result<Channel, tonic::transport::Error> {
    let once = Mutex::new(Some(stream));
    // The address is only a form; the connection is made already.
    Endpoint::from_static("http://mover")
        .initial_stream_window_size(wire::DISK_WINDOW)
        .initial_connection_window_size(wire::LINK_WINDOW)
        .http2_keep_alive_interval(wire::ASK_AFTER)
        .keep_alive_timeout(wire::ANSWER_WITHIN)
        .keep_alive_while_idle(true)
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = once.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection is gone");
            std::future::ready(stream.map(TokioIo::new).ok_or_else(gone))
        }))
        .await
}

fn not_connected(site: &SiteName, peer: &Peer, error: io::Error) -> PeerError {
    let (site, address) = (site.clone(), peer.address.to_string());
    match of_io(&error).map(tls::trouble) {
        Some(Trouble::Theirs(why)) => PeerError::Untrusted { site, address, why },
        Some(Trouble::Ours(why)) => PeerError::Unwelcome { site, why },
        Some(Trouble::Else(_)) | None => PeerError::Unreachable { site, address, source: error },
    }
}

/// Why a connection broke that was there. With TLS 1.3 a client learns only then that its certificate is not taken.
fn broken(site: &SiteName, meter: &Meter, why: String) -> PeerError {
    let site = site.clone();
    let fault = meter.fault();
    match fault.as_ref().and_then(|fault| fault.tls.as_ref()).map(tls::trouble) {
        Some(Trouble::Ours(why)) => PeerError::Unwelcome { site, why },
        _ => PeerError::Broken { site, why: fault.map_or(why, |fault| fault.text) },
    }
}
