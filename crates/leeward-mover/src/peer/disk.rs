//! One disk of a point that is made at a peer.

use super::making::RemoteMaking;
use super::{Link, PeerError};
use crate::block::{Digest, blocks};
use crate::cache::Cache;
use crate::layer::{Layer, Owner};
use crate::limit::{Bucket, RealClock};
use crate::manifest::Fingerprint;
use crate::place::Place;
use crate::scan::Change;
use crate::target::{Blocks, Receiver, TargetError};
use crate::wire::proto::{
    Begin, DiskReply, DiskRequest, Finish, Held, WantManifest, Write, Zero, disk_reply, disk_request,
};
use crate::wire::squeeze::Squeezer;
use crate::wire::{self};
use crate::working::Whole;
use bytes::{Buf, Bytes};
use std::io::{self, Read};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Bytes of a manifest that are no digest: its header and end, and for each run its head.
const MANIFEST_ENDS: u64 = 68;
const RUN_HEAD: u64 = 12;
/// Bytes of a message beside those of the disk, at most.
const MESSAGE: usize = 40;

/// The disk. Its calls block.
pub struct RemoteDisk<'a, L> {
    link: &'a Link,
    cache: &'a Cache<'a, L>,
    bucket: Option<&'a Bucket<RealClock>>,
    disk: Place,
    requests: mpsc::Sender<DiskRequest>,
    replies: Streaming<DiskReply>,
    size: u64,
    held: Fingerprint,
    squeezer: Squeezer,
}

impl<'a, L: Layer> RemoteDisk<'a, L> {
    pub(super) fn open(making: &'a RemoteMaking<'_, L>, disk: &Place) -> Result<Self, PeerError> {
        let RemoteMaking { link, session, order, cache, bucket, .. } = making;
        let (requests, queue) = mpsc::channel(wire::QUEUE);
        let mut client = link.client.clone();
        let begin = Begin { session: session.clone(), disk: disk.as_str().to_owned() };
        let squeezer = Squeezer::new().map_err(PeerError::System)?;
        let replies = link.wait(client.disk(link.request(ReceiverStream::new(queue))))?.into_inner();
        let held = Fingerprint([0; 32]);
        let size = order.disks.get(disk).map_or(0, |source| source.size);
        let (disk, bucket) = (disk.clone(), *bucket);
        let mut remote = Self { link, cache, bucket, disk, requests, replies, size, held, squeezer };
        remote.send(disk_request::Is::Begin(begin))?;
        let Some(disk_reply::Is::Held(Held { size: held_size, fingerprint })) = link.next(&mut remote.replies)?.is
        else {
            return Err(link.nonsense("it does not say what a disk holds"));
        };
        let fingerprint = <[u8; 32]>::try_from(fingerprint.as_ref());
        remote.held = Fingerprint(fingerprint.map_err(|_| link.nonsense("a fingerprint that is none"))?);
        if held_size != size {
            return Err(link.nonsense(format!("a disk of {held_size} bytes for a source of {size}")));
        }
        Ok(remote)
    }

    fn send(&mut self, is: disk_request::Is) -> Result<(), PeerError> {
        self.requests.blocking_send(DiskRequest { is: Some(is) }).map_err(|_| self.ended())
    }

    /// Why the peer takes no more.
    fn ended(&mut self) -> PeerError {
        loop {
            match self.link.wait(self.replies.message()) {
                Err(error) => return error,
                Ok(None) => return self.link.nonsense("it ends a disk before it is whole"),
                // What it said before it failed.
                Ok(Some(_)) => {}
            }
        }
    }

    /// Brings the manifest of what the peer holds into the cache.
    fn fetch(&mut self) -> Result<(), PeerError> {
        self.send(disk_request::Is::Manifest(WantManifest {}))?;
        let longest = MANIFEST_ENDS + blocks(self.size) * (RUN_HEAD + Digest::BYTES as u64);
        let (link, replies) = (self.link, &mut self.replies);
        let parts = Parts::new(|| match link.next(replies)?.is {
            Some(disk_reply::Is::Manifest(part)) => Ok(Some(part.bytes).filter(|bytes| !bytes.is_empty())),
            _ => Err(link.nonsense("something else than a block manifest")),
        });
        // One more than there can be, for the end behind them is read only by who asks for more.
        self.cache.fetch(&self.disk, parts.take(longest + 1)).map_err(|error| match error.downcast::<PeerError>() {
            Ok(error) => error,
            Err(source) => PeerError::Cache { disk: self.disk.clone(), source },
        })
    }
}

impl<L: Layer + Sync> Receiver for RemoteDisk<'_, L>
where
    L::File: 'static,
{
    const WORKS: bool = false;

    fn held(&self) -> Result<Fingerprint, TargetError> {
        Ok(self.held)
    }

    fn older(&mut self) -> Result<(u64, Blocks), TargetError> {
        if let Some(kept) = self.cache.find(&self.disk, self.held) {
            return Ok((kept.size(), Box::new(kept)));
        }
        self.fetch()?;
        let other = || self.link.nonsense("a block manifest that is not of what it says it has");
        let fetched = self.cache.find(&self.disk, self.held).ok_or_else(other)?;
        Ok((fetched.size(), Box::new(fetched)))
    }

    fn keep(&mut self) -> Box<dyn io::Write> {
        Box::new(self.cache.begin(&self.disk))
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), TargetError> {
        let is = match change {
            Change::Write { offset, bytes } => {
                let (bytes, unpacked) = self.squeezer.squeeze(bytes);
                let unpacked = unpacked.and_then(|unpacked| u32::try_from(unpacked).ok()).unwrap_or(0);
                if let Some(bucket) = self.bucket {
                    bucket.take((bytes.len() + MESSAGE) as u64);
                }
                disk_request::Is::Write(Write { offset: *offset, bytes, unpacked })
            }
            Change::Zero { range } => disk_request::Is::Zero(Zero { start: range.start, end: range.end }),
        };
        Ok(self.send(is)?)
    }

    fn finish(mut self, fingerprint: Fingerprint, owner: Owner) -> Result<Whole, TargetError> {
        let Owner { user, group, mode } = owner;
        let sent = Bytes::copy_from_slice(&fingerprint.0);
        self.send(disk_request::Is::Finish(Finish { fingerprint: sent, user, group, mode }))?;
        let whole = match self.link.next(&mut self.replies)?.is {
            Some(disk_reply::Is::Whole(whole)) => self.link.parse::<Whole>(&whole)?,
            _ => return Err(self.link.nonsense("it does not say that a disk is whole").into()),
        };
        if whole.fingerprint != fingerprint || whole.size != self.size {
            return Err(self.link.nonsense("a disk is whole that is not what was sent").into());
        }
        self.cache.keep(&self.disk);
        Ok(whole)
    }
}

/// What comes in pieces, as a stream.
pub(super) struct Parts<N> {
    next: N,
    part: Bytes,
}

impl<N: FnMut() -> Result<Option<Bytes>, PeerError>> Parts<N> {
    /// `next` gives the pieces, and none at the end.
    pub(super) fn new(next: N) -> Self {
        Self { next, part: Bytes::new() }
    }
}

impl<N: FnMut() -> Result<Option<Bytes>, PeerError>> Read for Parts<N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match (self.next)().map_err(io::Error::other)? {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.part.len());
        buffer[..length].copy_from_slice(&self.part[..length]);
        self.part.advance(length);
        Ok(length)
    }
}
