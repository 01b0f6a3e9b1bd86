//! The calls of a peer.

use super::receive::{receive, send_manifest};
use super::refused::Refused;
use super::sessions::{Answer, Opening, Sessions, blocking};
use crate::disk::Disk;
use crate::place::Place;
use crate::points::{Order, Point, Points};
use crate::refusal::text;
use crate::retention::prune;
use crate::wire::proto::mover_server::Mover;
use crate::wire::proto::{
    CommitRequest, DiskReply, DiskRequest, FreeReply, FreeRequest, HelloReply, HelloRequest, LookReply, ManifestPart,
    ManifestRequest, OpenReply, OpenRequest, PointReply, PointsRequest, open_reply,
};
use crate::wire::version::{KEY, SPOKEN, Versions};
use crate::wire::{LONGEST_MESSAGE, QUEUE};
use leeward_model::name::{GroupName, PointId, SiteName};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// What is known of a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) site: SiteName,
    /// Free again when the connection is gone.
    pub(super) _place: Arc<OwnedSemaphorePermit>,
}

/// Serves all peers.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) site: SiteName,
    pub(super) keep: Option<NonZeroU32>,
    pub(super) points: &'static Points<Disk>,
    pub(super) sessions: Arc<Sessions>,
    /// True when it shall end.
    pub(super) stopping: watch::Receiver<bool>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// Who calls; a version that this side speaks was agreed upon.
    fn caller<T>(&self, request: &Request<T>) -> Result<SiteName, Refused> {
        let version = request.metadata().get(KEY).and_then(|version| version.to_str().ok()?.parse().ok());
        if !version.is_some_and(|version| SPOKEN.has(version)) {
            let theirs = version.map_or("none".to_owned(), |version: u32| version.to_string());
            return Err(Refused::Version { site: self.site.clone(), theirs });
        }
        let caller = request.extensions().get::<Caller>();
        caller.map(|caller| caller.site.clone()).ok_or_else(|| Refused::request("a call without a connection"))
    }

    fn stopping(&self) -> Status {
        Refused::Stopping { site: self.site.clone() }.into()
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<bytes::Bytes, Status> {
    let json = serde_json::to_vec(value).map_err(|error| Refused::System(error.into()))?;
    Ok(json.into())
}

#[tonic::async_trait]
impl Mover for Service {
    type OpenStream = Answers<OpenReply>;
    type DiskStream = ReceiverStream<Result<DiskReply, Status>>;
    type PointsStream = Answers<PointReply>;
    type ManifestStream = ReceiverStream<Result<ManifestPart, Status>>;

    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let HelloRequest { oldest, newest, .. } = request.into_inner();
        let theirs = Versions { oldest, newest };
        SPOKEN.common(theirs).ok_or_else(|| Refused::version(&self.site, theirs))?;
        let Versions { oldest, newest } = SPOKEN;
        Ok(Response::new(HelloReply { oldest, newest, site: self.site.to_string() }))
    }

    async fn look(&self, request: Request<OpenRequest>) -> Result<Response<LookReply>, Status> {
        self.caller(&request)?;
        let order: Order = serde_json::from_slice(&request.into_inner().order).map_err(Refused::unparsed)?;
        let points = self.points;
        let point = match blocking(move || Ok(points.look(&order)?)).await? {
            Some(point) => json(&point)?,
            None => bytes::Bytes::new(),
        };
        Ok(Response::new(LookReply { point }))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<Self::OpenStream>, Status> {
        let peer = self.caller(&request)?;
        let order: Order = serde_json::from_slice(&request.into_inner().order).map_err(Refused::unparsed)?;
        let (is, opening) = match self.sessions.open(peer, order).await? {
            Answer::Whole(point) => (open_reply::Is::Whole(json(&point)?), None),
            Answer::Session(opening) => (open_reply::Is::Session(opening.name.clone()), Some(opening)),
        };
        let first = tokio_stream::once(Ok(OpenReply { is: Some(is) }));
        Ok(Response::new(match opening {
            None => Box::pin(first),
            Some(opening) => Box::pin(first.chain(until_stopped(self.clone(), opening))),
        }))
    }

    async fn disk(&self, request: Request<Streaming<DiskRequest>>) -> Result<Response<Self::DiskStream>, Status> {
        let peer = self.caller(&request)?;
        let (inwards, incoming) = mpsc::channel(QUEUE);
        let (outgoing, outwards) = mpsc::channel(QUEUE);
        let sessions = self.sessions.clone();
        tokio::spawn(hand_on(self.clone(), request.into_inner(), inwards));
        tokio::task::spawn_blocking(move || receive(&sessions, &peer, incoming, &outgoing));
        Ok(Response::new(ReceiverStream::new(outwards)))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<PointReply>, Status> {
        let peer = self.caller(&request)?;
        let session = self.sessions.find(&peer, &request.into_inner().session)?;
        let (points, keep, sessions) = (self.points, self.keep, self.sessions.clone());
        let point = blocking(move || {
            let point = sessions.commit(&session)?;
            drop_surplus(points, &point, keep);
            Ok(point)
        })
        .await?;
        Ok(Response::new(PointReply { point: json(&point)? }))
    }

    async fn points(&self, request: Request<PointsRequest>) -> Result<Response<Self::PointsStream>, Status> {
        self.caller(&request)?;
        let group = GroupName::parse(request.into_inner().group).map_err(Refused::unparsed)?;
        let points = self.points;
        let found = blocking(move || Ok(points.list(&group)?)).await?;
        let replies = found.into_iter().map(|point| Ok(PointReply { point: json(&point)? }));
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn manifest(&self, request: Request<ManifestRequest>) -> Result<Response<Self::ManifestStream>, Status> {
        self.caller(&request)?;
        let ManifestRequest { group, point, disk } = request.into_inner();
        let group = GroupName::parse(group).map_err(Refused::unparsed)?;
        let point = PointId::parse(point).map_err(Refused::unparsed)?;
        let disk = Place::parse(&disk).map_err(Refused::unparsed)?;
        let (to, outwards) = mpsc::channel(QUEUE);
        let points = self.points;
        tokio::task::spawn_blocking(move || {
            let gone = |_| Status::cancelled("the peer is gone");
            let send = || -> Result<(), Status> {
                // It is not withdrawn meanwhile.
                let held = points.existing(&group, &point).map_err(Refused::from)?;
                if !held.point.disks.contains_key(&disk) {
                    return Err(Refused::request(format!("disk {disk}, which point {point} does not have")).into());
                }
                let manifest = points.manifest(&held, &disk).map_err(Refused::from)?;
                send_manifest(manifest.size(), manifest, |bytes| {
                    if bytes.is_empty() { Ok(()) } else { to.blocking_send(Ok(ManifestPart { bytes })).map_err(gone) }
                })
            };
            if let Err(status) = send() {
                // Who is gone does not hear why.
                let _unheard = to.blocking_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(outwards)))
    }

    async fn free(&self, request: Request<FreeRequest>) -> Result<Response<FreeReply>, Status> {
        self.caller(&request)?;
        let points = self.points;
        let bytes = blocking(move || Ok(points.free()?)).await?;
        Ok(Response::new(FreeReply { bytes }))
    }
}

/// Withdraws what is no longer kept. The new point is whole, whatever becomes of the old ones.
fn drop_surplus(points: &Points<Disk>, made: &Point, keep: Option<NonZeroU32>) {
    let Some(keep) = keep else { return };
    let (group, point) = (&made.group, &made.point);
    eprintln!("leeward-mover: group={group} point={point} whole");
    match prune(points, made, keep) {
        Ok(gone) => gone.iter().for_each(|gone| eprintln!("leeward-mover: group={group} point={gone} no longer kept")),
        Err(error) => eprintln!("leeward-mover: old points of group {group} stay: {}", text(&error)),
    }
}

/// Nothing, until the server shall end. Holds the session, and lets it go with the peer.
fn until_stopped(service: Service, opening: Opening) -> impl Stream<Item = Result<OpenReply, Status>> + Send {
    let mut stopping = service.stopping.clone();
    let end = async move {
        // Its other end lives as long as the server.
        let _never = stopping.wait_for(|stop| *stop).await;
        drop(opening);
        Err(service.stopping())
    };
    tokio_stream::StreamExt::then(tokio_stream::once(end), |end| end)
}

/// Hands a peer's messages to the thread that does them, until it ends, or the server shall.
async fn hand_on(service: Service, mut from: Streaming<DiskRequest>, to: mpsc::Sender<Result<DiskRequest, Status>>) {
    let mut stopping = service.stopping.clone();
    loop {
        let message = tokio::select! {
            message = from.message() => message.transpose(),
            _ = stopping.wait_for(|stop| *stop) => Some(Err(service.stopping())),
        };
        let Some(message) = message else { return };
        let last = message.is_err();
        if to.send(message).await.is_err() || last {
            return;
        }
    }
}

const _: () = assert!(LONGEST_MESSAGE > 2 * crate::wire::squeeze::LONGEST);
