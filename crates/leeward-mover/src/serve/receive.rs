//! One disk of a point, received.

use super::refused::Refused;
use super::sessions::{Session, Sessions};
use crate::block::Digest;
use crate::disk::Disk;
use crate::layer::Owner;
use crate::manifest::{Fingerprint, ManifestError, Writer};
use crate::place::Place;
use crate::scan::Change;
use crate::target::{LocalDisk, Making, Receiver};
use crate::wire::MANIFEST_PART;
use crate::wire::proto::disk_reply::Is as Reply;
use crate::wire::proto::disk_request::Is as Asked;
use crate::wire::proto::{Begin, DiskReply, DiskRequest, Finish, Held, ManifestPart, Write, Zero};
use crate::wire::squeeze::Unsqueezer;
use crate::working::Whole;
use bytes::Bytes;
use leeward_model::name::SiteName;
use std::io::{self, BufWriter};
use tokio::sync::mpsc;
use tonic::Status;

/// What comes from the peer: messages, and why there are no more if it is not that it ended them.
pub(super) type Incoming = mpsc::Receiver<Result<DiskRequest, Status>>;
/// What goes to it.
pub(super) type Outgoing = mpsc::Sender<Result<DiskReply, Status>>;

/// Receives a disk. Blocks.
pub(super) fn receive(sessions: &Sessions, peer: &SiteName, mut from: Incoming, to: &Outgoing) {
    if let Err(status) = begin(sessions, peer, &mut from, to) {
        // Who is gone does not hear why.
        let _unheard = to.blocking_send(Err(status));
    }
}

fn begin(sessions: &Sessions, peer: &SiteName, from: &mut Incoming, to: &Outgoing) -> Result<(), Status> {
    let Asked::Begin(Begin { session, disk }) = next(from)? else {
        return Err(Refused::request("a change before it says of which disk").into());
    };
    let disk = Place::parse(&disk).map_err(Refused::unparsed)?;
    let session = sessions.find(peer, &session)?;
    let received = session.with(&disk, |making| {
        let disk_here = making.disk(&disk)?;
        let (size, fingerprint) = disk_here.held()?;
        let fingerprint = Bytes::copy_from_slice(&fingerprint.0);
        let told = reply(to, Reply::Held(Held { size, fingerprint }));
        Ok(told.and_then(|()| Receiving::new(disk_here, &session, to)?.until_whole(from)))
    })?;
    let whole = received?;
    session.done(&disk, whole.size);
    let json = serde_json::to_vec(&whole).map_err(|error| Refused::System(error.into()))?;
    reply(to, Reply::Whole(json.into()))
}

/// The peer's next message.
fn next(from: &mut Incoming) -> Result<Asked, Status> {
    let message =
        from.blocking_recv().unwrap_or_else(|| Err(Refused::request("a disk that ends before it is whole").into()))?;
    message.is.ok_or_else(|| Refused::request("nothing").into())
}

fn reply(to: &Outgoing, is: Reply) -> Result<(), Status> {
    to.blocking_send(Ok(DiskReply { is: Some(is) })).map_err(|_| Status::cancelled("the peer is gone"))
}

/// A disk whose changes come.
struct Receiving<'a> {
    disk: LocalDisk<'a, Disk>,
    session: &'a Session,
    to: &'a Outgoing,
    unsqueezer: Unsqueezer,
    /// Whether there was a change: the manifest would no longer be what the disk holds.
    changed: bool,
}

impl<'a> Receiving<'a> {
    fn new(disk: LocalDisk<'a, Disk>, session: &'a Session, to: &'a Outgoing) -> Result<Self, Status> {
        let unsqueezer = Unsqueezer::new().map_err(Refused::System)?;
        Ok(Self { disk, session, to, unsqueezer, changed: false })
    }

    fn until_whole(mut self, from: &mut Incoming) -> Result<Whole, Status> {
        loop {
            match next(from)? {
                Asked::Begin(_) => return Err(Refused::request("another disk before this one is whole").into()),
                Asked::Manifest(_) if self.changed => {
                    return Err(Refused::request("a manifest after the first change").into());
                }
                Asked::Manifest(_) => self.send_manifest()?,
                Asked::Write(write) => self.write(&write)?,
                Asked::Zero(Zero { start, end }) => self.apply(&Change::Zero { range: start..end })?,
                Asked::Finish(finish) => return Ok(self.finish(&finish)?),
            }
        }
    }

    fn send_manifest(&mut self) -> Result<(), Status> {
        let (size, blocks) = self.disk.older().map_err(Refused::from)?;
        send_manifest(size, blocks, |bytes| reply(self.to, Reply::Manifest(ManifestPart { bytes })))
    }

    fn write(&mut self, Write { offset, bytes, unpacked }: &Write) -> Result<(), Refused> {
        self.session.arrived(bytes.len());
        let bytes = if *unpacked == 0 {
            bytes
        } else {
            let unsqueezed = self.unsqueezer.unsqueeze(bytes, *unpacked);
            unsqueezed.map_err(|why| Refused::request(format!("a write at byte {offset}: {why}")))?
        };
        self.changed = true;
        Ok(self.disk.apply(&Change::Write { offset: *offset, bytes })?)
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), Refused> {
        self.changed = true;
        Ok(self.disk.apply(change)?)
    }

    fn finish(self, Finish { fingerprint, user, group, mode }: &Finish) -> Result<Whole, Refused> {
        let fingerprint = <[u8; 32]>::try_from(fingerprint.as_ref());
        let fingerprint = fingerprint.map_err(|_| Refused::request("a fingerprint that is none"))?;
        let owner = Owner { user: *user, group: *group, mode: *mode };
        Ok(self.disk.finish(Fingerprint(fingerprint), owner)?)
    }
}

/// Sends a manifest in pieces, and an empty one behind it.
pub(super) fn send_manifest(
    size: u64,
    blocks: impl Iterator<Item = Result<(u64, Digest), ManifestError>>,
    send: impl FnMut(Bytes) -> Result<(), Status>,
) -> Result<(), Status> {
    let mut pieces = BufWriter::with_capacity(MANIFEST_PART, Pieces(send));
    let write = || {
        let mut writer = Writer::new(&mut pieces, size)?;
        for block in blocks {
            let (index, digest) = block?;
            writer.push(index, digest)?;
        }
        writer.finish().map(drop)
    };
    write().map_err(|error: ManifestError| match error {
        ManifestError::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<Status>()) => {
            Status::cancelled("the peer is gone")
        }
        error => Refused::unparsed(error).into(),
    })?;
    (pieces.get_mut().0)(Bytes::new())
}

/// Each write is a piece.
struct Pieces<S>(S);

impl<S: FnMut(Bytes) -> Result<(), Status>> io::Write for Pieces<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One is no longer than the buffer before this, or a run.
        (self.0)(Bytes::copy_from_slice(bytes)).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
