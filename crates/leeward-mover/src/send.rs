//! Makes a point out of files that lie at this machine: reads, compares, and hands on what is different.

use crate::crew::{Stop, work_off};
use crate::layer::{Layer, LayerFile};
use crate::manifest::{Fingerprint, ManifestError, Writer};
use crate::place::Place;
use crate::points::{Order, Point};
use crate::remembered::{self, Remembered};
use crate::scan::{Look, ScanError, Scanned, scan};
use crate::target::{Begun, Making, Receiver, Target, TargetError};
use crate::volumes::{Located, VolumeError, Walked, recheck};
use crate::watch::{Unseen, Watch, Watched};
use beside::handing_on;
use leeward_model::name::PointId;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Instant;

mod beside;

/// What became of a request.
#[derive(Debug)]
pub struct Sent {
    /// The point.
    pub point: Point,
    /// What was read and written for each disk. Nothing for a point that was there.
    pub disks: BTreeMap<Place, Scanned>,
}

impl Sent {
    /// All disks together.
    #[must_use]
    pub fn cost(&self) -> Scanned {
        self.disks.values().fold(Scanned::default(), |sum, disk| Scanned {
            read: sum.read + disk.read,
            written: sum.written + disk.written,
            zeroed: sum.zeroed + disk.zeroed,
        })
    }
}

/// A point that was not made.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// What is asked for cannot be.
    #[error("the request cannot be carried out: {what} [LW-0717]")]
    Request {
        /// What is wrong with it.
        what: String,
    },
    /// A volume at the source.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The manifest of the new point.
    #[error("the block manifest of {place} at the source [LW-0712]")]
    Manifest {
        /// The disk.
        place: Place,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The side that receives.
    #[error("making point {point}")]
    Target {
        /// The point.
        point: PointId,
        /// Why not.
        #[source]
        source: TargetError,
    },
}

/// How a request is carried out.
#[derive(Clone, Copy)]
pub struct Manner<'a> {
    /// Disks that are read at the same time. Each takes a stride of memory, and at a link what is under way.
    pub disks_at_once: NonZeroUsize,
    /// Who looks on.
    pub watch: &'a dyn Watch,
}

impl Manner<'_> {
    /// Disks that are read at the same time where nobody says otherwise: enough that one waits for the file system while others
    /// are hashed.
    pub const DISKS_AT_ONCE: NonZeroUsize = NonZeroUsize::new(4).unwrap();
    /// Unseen.
    pub const QUIET: Manner<'static> = Manner { disks_at_once: Self::DISKS_AT_ONCE, watch: &Unseen };
}

/// Makes the point, or finds that it is there. `volumes` is what the order was made of.
///
/// # Errors
/// [`SendError`]. What was received stays, and the next attempt goes on from it.
pub fn send<S: Layer + Sync, T: Target>(
    source: &S,
    target: &T,
    order: &Order,
    volumes: &[Walked],
    manner: &Manner<'_>,
) -> Result<Sent, SendError> {
    let failed = |source| SendError::Target { point: order.point.clone(), source };
    let making = match target.open(order).map_err(failed)? {
        Begun::Whole(point) => return Ok(Sent { point, disks: BTreeMap::new() }),
        Begun::Making(making) => making,
    };
    let disks = volumes.iter().flat_map(|volume| volume.disks().map(move |located| (volume, located)));
    let jobs: Vec<_> = disks.map(|job| (job.1.file.identity.size, job)).collect();
    manner.watch.begun(jobs.iter().map(|(size, _)| *size).sum());
    let stop = Stop::default();
    let remembered = Remembered::new(source, &remembered::top(), &order.group);
    let disks = work_off(jobs, manner.disks_at_once, &stop, |(volume, located)| {
        let began = Instant::now();
        let receiver = making.disk(&located.disk).map_err(failed)?;
        let sending =
            Sending { source, volume, located: &located, remembered: &remembered, watch: manner.watch, stop: &stop };
        let (scanned, fingerprint) = sending.send(receiver, &failed)?;
        manner.watch.done(&located.disk, &scanned, began.elapsed());
        Ok::<_, SendError>((located, scanned, fingerprint))
    })?;
    recheck(source, volumes)?;
    let point = making.commit().map_err(failed)?;
    let clones = disks.iter().map(|(located, _, fingerprint)| {
        let Located { disk, place, file, .. } = located;
        (disk, place, &file.identity, *fingerprint)
    });
    remembered.remember(clones);
    Ok(Sent { point, disks: disks.into_iter().map(|(located, scanned, _)| (located.disk, scanned)).collect() })
}

/// A disk that is sent. Its file is not open before: there may be more of them than a process may have open.
struct Sending<'a, S> {
    source: &'a S,
    volume: &'a Walked,
    located: &'a Located<'a>,
    remembered: &'a Remembered<'a, S>,
    watch: &'a dyn Watch,
    stop: &'a Stop,
}

impl<S: Layer> Sending<'_, S> {
    fn send(
        &self,
        mut receiver: impl Receiver,
        failed: &dyn Fn(TargetError) -> SendError,
    ) -> Result<(Scanned, Fingerprint), SendError> {
        let Self { volume, located: Located { disk, place, file: known, .. }, remembered, .. } = self;
        let size = known.identity.size;
        let unread = |source| volume.unread(place, source);
        let bad = |source| SendError::Manifest { place: place.clone(), source };
        let file = self.source.open_to_read(place).map_err(unread)?;
        if file.identity().map_err(unread)? != known.identity {
            return Err(self.changed());
        }
        let may_differ = match remembered.knows(disk) {
            true => remembered.may_differ(disk, receiver.held().map_err(failed)?, &file),
            false => None,
        };
        let look = may_differ.as_deref().map_or(Look::Data, Look::Changed);
        let (older_size, older) = receiver.older().map_err(failed)?;
        let mut newer = Writer::new(receiver.keep(), size).map_err(bad)?;
        let watched = Watched::new(&file, self.watch, self.stop);
        let scanned = handing_on(&mut receiver, |each| scan(&watched, size, look, older, older_size, &mut newer, each));
        let scanned = scanned.map_err(|error| match error {
            ScanError::Read { source, .. } => SendError::Volume(unread(source)),
            ScanError::Shrunk { .. } => self.changed(),
            ScanError::Manifest(source) => bad(source),
            ScanError::Sink(source) => failed(source),
        })?;
        watched.pass(size);
        let (_, fingerprint) = newer.finish().map_err(bad)?;
        receiver.finish(fingerprint, file.owner().map_err(unread)?).map_err(failed)?;
        Ok((scanned, fingerprint))
    }

    fn changed(&self) -> SendError {
        let Located { name, file: known, .. } = self.located;
        SendError::Volume(VolumeError::changed(&self.volume.key, name, "it was written", &known.identity))
    }
}
