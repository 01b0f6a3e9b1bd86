//! Points that are made at a peer.

use super::disk::RemoteDisk;
use super::{Link, PeerError};
use crate::cache::Cache;
use crate::layer::Layer;
use crate::limit::{Bucket, RealClock};
use crate::place::Place;
use crate::points::{Order, Point};
use crate::target::{Begun, Making, Target, TargetError};
use crate::wire::LONGEST_MESSAGE;
use crate::wire::proto::open_reply::Is;
use crate::wire::proto::{CommitRequest, LookReply, OpenReply, OpenRequest};
use std::num::NonZeroU64;
use std::sync::Mutex;
use tonic::Streaming;

/// A peer as a target.
#[derive(Debug)]
pub struct Remote<'a, L> {
    link: &'a Link,
    layer: &'a L,
    caches: Place,
    bucket: Option<Bucket<RealClock>>,
}

impl<'a, L> Remote<'a, L> {
    /// The peer at the other end of `link`, to which at most `rate` bytes are sent in a second. Its manifests are kept in folder
    /// `caches` of `layer`.
    pub fn new(link: &'a Link, layer: &'a L, caches: Place, rate: Option<NonZeroU64>) -> Self {
        let bucket = rate.map(|rate| Bucket::new(rate, RealClock::start()));
        Self { link, layer, caches, bucket }
    }
}

impl<'a, L: Layer + Sync> Target for &'a Remote<'a, L>
where
    L::File: 'static,
{
    type Making = RemoteMaking<'a, L>;

    fn look(&self, order: &Order) -> Result<Option<Point>, TargetError> {
        let link = self.link;
        let mut client = link.client.clone();
        let LookReply { point } = link.wait(client.look(link.request(request(link, order)?)))?.into_inner();
        if point.is_empty() { Ok(None) } else { Ok(Some(whole(link, order, &point)?)) }
    }

    fn open(&self, order: &Order) -> Result<Begun<Self::Making>, TargetError> {
        let Remote { link, layer, caches, bucket } = *self;
        let mut client = link.client.clone();
        let mut open = link.wait(client.open(link.request(request(link, order)?)))?.into_inner();
        match link.next(&mut open)?.is {
            Some(Is::Whole(point)) => Ok(Begun::Whole(whole(link, order, &point)?)),
            Some(Is::Session(session)) => Ok(Begun::Making(RemoteMaking {
                link,
                session,
                order: order.clone(),
                cache: Cache::new(*layer, caches, &order.group),
                bucket: bucket.as_ref(),
                _open: Mutex::new(open),
            })),
            None => Err(link.nonsense("an order is neither done nor begun").into()),
        }
    }
}

fn request(link: &Link, order: &Order) -> Result<OpenRequest, PeerError> {
    let json = serde_json::to_vec(order).map_err(|error| link.nonsense(error.to_string()))?;
    if json.len() >= LONGEST_MESSAGE {
        let (site, bytes) = (link.site.clone(), json.len());
        return Err(PeerError::TooLarge { site, group: order.group.clone(), bytes });
    }
    Ok(OpenRequest { order: json.into() })
}

/// The record of the point that was asked for.
fn whole(link: &Link, order: &Order, json: &[u8]) -> Result<Point, PeerError> {
    let point: Point = link.parse(json)?;
    if point.group != order.group || point.point != order.point || point.from != order.from {
        return Err(link.nonsense("it has another point than it was asked for"));
    }
    Ok(point)
}

/// A point that is made at a peer.
#[derive(Debug)]
pub struct RemoteMaking<'a, L> {
    pub(super) link: &'a Link,
    pub(super) session: String,
    pub(super) order: Order,
    pub(super) cache: Cache<'a, L>,
    pub(super) bucket: Option<&'a Bucket<RealClock>>,
    /// As long as it is there the group is ours.
    _open: Mutex<Streaming<OpenReply>>,
}

impl<L: Layer + Sync> Making for RemoteMaking<'_, L>
where
    L::File: 'static,
{
    type Disk<'a>
        = RemoteDisk<'a, L>
    where
        Self: 'a;

    fn disk(&self, disk: &Place) -> Result<RemoteDisk<'_, L>, TargetError> {
        Ok(RemoteDisk::open(self, disk)?)
    }

    fn commit(self) -> Result<Point, TargetError> {
        let link = self.link;
        let mut client = link.client.clone();
        let session = self.session.clone();
        let reply = link.wait(client.commit(link.request(CommitRequest { session })))?.into_inner();
        let point = whole(link, &self.order, &reply.point)?;
        if !self.order.disks.keys().all(|disk| point.disks.contains_key(disk)) {
            return Err(link.nonsense("it made a point without a disk that was sent").into());
        }
        self.cache.retain(self.order.disks.keys());
        Ok(point)
    }
}
