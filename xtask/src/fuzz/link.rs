//! What another site's mover may say: any bytes as a call of any method, and any messages about a disk, to a mover in this
//! process that knows who calls.

use super::wire::Plain;
use bytes::Bytes;
use leeward_model::name::SiteName;
use leeward_mover::disk::Disk;
use leeward_mover::place::Place;
use leeward_mover::points::{Order, Points};
use leeward_mover::serve::serve_known;
use leeward_mover::wire::refusal;
use leeward_mover::wire::version::{KEY, SPOKEN};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// No answer is this far away.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes that may be under way between the two.
const PIPE: usize = 1 << 20;
/// Messages that are sent about a disk at most.
const TALK: usize = 64;

/// An input's first byte is the place in here; what is behind the end is a conversation about a disk. Append only.
pub(crate) const CALLS: [&str; 7] = ["Hello", "Look", "Open", "Commit", "Points", "Manifest", "Free"];
/// The first byte of a conversation.
pub(crate) const CONVERSATION: u8 = 255;
/// A frame's first byte if what follows is a disk's place, with which the conversation begins as it should.
pub(crate) const BEGIN: u8 = 0;
/// The same if it is a message as it is.
pub(crate) const MESSAGE: u8 = 1;

/// A mover, and the connection to it.
struct Mover {
    runtime: tokio::runtime::Runtime,
    client: Grpc<Channel>,
    points: &'static Points<Disk>,
    folder: PathBuf,
}

static MOVER: LazyLock<Result<Mover, String>> = LazyLock::new(|| start().map_err(|error| error.to_string()));

fn start() -> Result<Mover, Box<dyn std::error::Error>> {
    // Always the same one: nothing of this process is told when it ends.
    let folder = std::env::temp_dir().join("leeward-fuzz-link");
    std::fs::create_dir_all(folder.join("export"))?;
    let points = Points::new(Disk::open_folder(&folder.join("export"))?, Place::parse("points")?, "boot".to_owned());
    let points: &'static Points<Disk> = Box::leak(Box::new(points));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (peer, site) = (SiteName::parse("east")?, SiteName::parse("west")?);
    let (here, there) = tokio::io::duplex(PIPE);
    runtime.spawn(serve_known(there, peer, site, points));
    let mut here = Some(hyper_util::rt::TokioIo::new(here));
    let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
    let connector = tower::service_fn(move |_| std::future::ready(here.take().ok_or_else(gone)));
    let endpoint = Endpoint::from_static("http://mover");
    let channel = runtime.block_on(endpoint.connect_with_connector(connector))?;
    Ok(Mover { runtime, client: Grpc::new(channel), points, folder })
}

fn path(method: &str) -> Option<PathAndQuery> {
    format!("/leeward.mover.v1.Mover/{method}").parse().ok()
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(KEY, MetadataValue::from(SPOKEN.newest));
    request
}

impl Mover {
    /// Begins a call. An answer may have any number of messages.
    async fn call(&self, method: &str, messages: Vec<Bytes>) -> Result<Streaming<Bytes>, Status> {
        let mut client = self.client.clone();
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = path(method).ok_or_else(|| Status::internal("no path"))?;
        let answer = client.streaming(request(tokio_stream::iter(messages)), path, Plain).await?;
        Ok(answer.into_inner())
    }

    /// A call, and the first message of its answer: that of `Open` ends only with the session.
    async fn first(&self, method: &str, message: Bytes) -> Result<(Option<Bytes>, Streaming<Bytes>), Status> {
        let mut answer = self.call(method, vec![message]).await?;
        Ok((answer.message().await?, answer))
    }

    async fn converse(&self, order: &[u8], frames: &[u8]) -> Result<(), Status> {
        let (opened, _open) = self.first("Open", field(1, order)).await?;
        let Some(session) = opened.as_deref().and_then(|reply| text(2, reply)) else { return Ok(()) };
        let messages = messages(session, frames);
        let talk = async {
            let mut answer = self.call("Disk", messages).await?;
            while answer.message().await?.is_some() {}
            Ok(())
        };
        check("Disk", &talk.await);
        self.first("Commit", field(1, session)).await.map(drop)
    }

    /// Nothing lies beside the folder, and every point is what it says.
    fn check_points(&self, order: &[u8]) {
        let beside = std::fs::read_dir(&self.folder).into_iter().flatten().count();
        assert_eq!(beside, 1, "something lies beside the folder");
        let Ok(order) = serde_json::from_slice::<Order>(order) else { return };
        let Ok(points) = self.points.list(&order.group) else { panic!("the points cannot be listed") };
        for point in points {
            assert!(self.points.verify(&point.group, &point.point).is_ok(), "made, and not right: {point:?}");
        }
    }

    fn sweep(&self) {
        let gone = std::fs::remove_dir_all(self.folder.join("export/points"));
        assert!(gone.is_ok() || !self.folder.join("export/points").exists(), "{gone:?}");
    }
}

/// A number as protobuf writes it: seven bits a byte, the lowest first.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A field of a protobuf message that holds bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Bytes {
    [&[number << 3 | 2], varint(bytes.len() as u64).as_slice(), bytes].concat().into()
}

/// The bytes of a message's one field, if it is that one and they are short.
fn text(number: u8, message: &[u8]) -> Option<&[u8]> {
    let [tag, length, bytes @ ..] = message else { return None };
    (*tag == number << 3 | 2 && usize::from(*length) == bytes.len()).then_some(bytes)
}

/// Frames: a byte for the kind, two for the length, little end first.
fn messages(session: &[u8], mut frames: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let [kind, low, high, rest @ ..] = frames
        && messages.len() < TALK
    {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        messages.push(match *kind {
            BEGIN => field(1, &[field(1, session), field(2, bytes)].concat()),
            _ => Bytes::copy_from_slice(bytes),
        });
        frames = rest;
    }
    messages
}

/// A connection that breaks off would be a panic, or HTTP that was misread.
fn check<T>(method: &str, answer: &Result<T, Status>) {
    if let Err(status) = answer
        && refusal::read(status).is_none()
    {
        let broken = matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unimplemented);
        assert!(!broken && !status.message().contains("panicked"), "{method}: {status}");
    }
}

/// A byte for the method, then its message; or an order as JSON, a line break, and frames of messages about its disks, after
/// which a point is to be made. It is answered, whatever it is.
pub(crate) fn link(input: &[u8]) {
    let Some((method, rest)) = input.split_first() else { return };
    let mover = match &*MOVER {
        Ok(mover) => mover,
        Err(error) => panic!("the mover does not start: {error}"),
    };
    mover.sweep();
    let method = CALLS.get(usize::from(*method));
    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (order, frames) = (&rest[..line], rest.get(line + 1..).unwrap_or_default());
    let call = async {
        match method {
            Some(method) => mover.first(method, Bytes::copy_from_slice(rest)).await.map(drop),
            None => mover.converse(order, frames).await,
        }
    };
    let answer = mover.runtime.block_on(async { tokio::time::timeout(DEADLINE, call).await });
    let Ok(answer) = answer else { panic!("{method:?}: no answer in {DEADLINE:?}") };
    check(method.unwrap_or(&"conversation"), &answer);
    if method.is_none() {
        mover.check_points(order);
    }
}
