//! The side that receives, as the sender sees it: the points of this machine, or a peer's.

use crate::block::Digest;
use crate::error::PointError;
use crate::layer::{Layer, Owner};
use crate::manifest::{Fingerprint, ManifestError};
use crate::peer::PeerError;
use crate::place::Place;
use crate::points::{Opened, Order, Partial, Point, Points};
use crate::scan::Change;
use crate::working::{Whole, Working};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Blocks of a manifest, in order.
pub type Blocks = Box<dyn Iterator<Item = Result<(u64, Digest), ManifestError>>>;

/// Where points are made.
pub trait Target: Sync {
    /// A point that is being made.
    type Making: Making;

    /// The point that an order asks for, if it is there already. The order need not have its disks yet.
    ///
    /// # Errors
    /// The order is refused, or the target cannot be spoken to.
    fn look(&self, order: &Order) -> Result<Option<Point>, TargetError>;

    /// Begins a point, or goes on with it.
    ///
    /// # Errors
    /// The order is refused, or the target cannot be spoken to.
    fn open(&self, order: &Order) -> Result<Begun<Self::Making>, TargetError>;
}

/// What becomes of an order.
#[derive(Debug)]
pub enum Begun<M> {
    /// The point is there already.
    Whole(Point),
    /// It is being made.
    Making(M),
}

/// A point that is being made. Its disks may be made at the same time.
pub trait Making: Sync {
    /// A disk of it.
    type Disk<'a>: Receiver
    where
        Self: 'a;

    /// Opens a disk of the order.
    ///
    /// # Errors
    /// A disk that is not in the order, or the target fails.
    fn disk(&self, disk: &Place) -> Result<Self::Disk<'_>, TargetError>;

    /// Makes it a point, if all disks are whole.
    ///
    /// # Errors
    /// A disk that is not whole, or the target fails.
    fn commit(self) -> Result<Point, TargetError>;
}

/// A disk that receives changes.
pub trait Receiver: Send {
    /// Whether `apply` does the work itself, so that it is worth a thread of its own.
    const WORKS: bool;

    /// The fingerprint of what it holds before the first change.
    ///
    /// # Errors
    /// Its manifest cannot be had.
    fn held(&self) -> Result<Fingerprint, TargetError>;

    /// What it holds: the image's bytes and the blocks that are not zero. Asked for once, before the first change.
    ///
    /// # Errors
    /// Its manifest cannot be had.
    fn older(&mut self) -> Result<(u64, Blocks), TargetError>;

    /// Where the new manifest may be kept while it is made. It never fails: it is kept for speed alone.
    fn keep(&mut self) -> Box<dyn Write>;

    /// Does what was found to be different.
    ///
    /// # Errors
    /// The target fails. Not every error is of this change: some are of those before it.
    fn apply(&mut self, change: &Change<'_>) -> Result<(), TargetError>;

    /// Compares with the source's fingerprint and makes the disk whole.
    ///
    /// # Errors
    /// It is not what was sent, or the target fails.
    fn finish(self, fingerprint: Fingerprint, owner: Owner) -> Result<Whole, TargetError>;
}

/// The side that receives failed or refused.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Points at this machine.
    #[error(transparent)]
    Here(#[from] PointError),
    /// A peer.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// A point that is being made at this machine.
#[derive(Debug)]
pub struct Local<'a, L: Layer> {
    partial: Partial<'a, L>,
    whole: Mutex<BTreeMap<Place, Whole>>,
}

/// A disk of it.
pub struct LocalDisk<'a, L: Layer> {
    working: Working<'a, L>,
    disk: Place,
    whole: &'a Mutex<BTreeMap<Place, Whole>>,
}

impl<'a, L: Layer + Sync> Target for &'a Points<L>
where
    L::File: 'static + Send + Sync,
    L::Lock: Send + Sync,
{
    type Making = Local<'a, L>;

    fn look(&self, order: &Order) -> Result<Option<Point>, TargetError> {
        Ok(Points::look(self, order)?)
    }

    fn open(&self, order: &Order) -> Result<Begun<Self::Making>, TargetError> {
        let points: &'a Points<L> = self;
        Ok(match points.open(order)? {
            Opened::Whole(point) => Begun::Whole(point),
            Opened::Partial(partial) => Begun::Making(Local::new(partial)),
        })
    }
}

impl<'a, L: Layer> Local<'a, L> {
    /// None of its disks is whole yet.
    pub(crate) fn new(partial: Partial<'a, L>) -> Self {
        Self { partial, whole: Mutex::default() }
    }
}

impl<L: Layer + Sync> Making for Local<'_, L>
where
    L::File: 'static + Send + Sync,
    L::Lock: Send + Sync,
{
    type Disk<'a>
        = LocalDisk<'a, L>
    where
        Self: 'a;

    fn disk(&self, disk: &Place) -> Result<LocalDisk<'_, L>, TargetError> {
        // One that is opened again is whole when it is finished again.
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).remove(disk);
        Ok(LocalDisk { working: self.partial.disk(disk)?, disk: disk.clone(), whole: &self.whole })
    }

    fn commit(mut self) -> Result<Point, TargetError> {
        for (disk, whole) in self.whole.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.partial.done(&disk, whole);
        }
        Ok(self.partial.commit()?)
    }
}

impl<L: Layer> LocalDisk<'_, L>
where
    L::File: 'static,
{
    /// The image's bytes, and the fingerprint of what the working copy holds.
    pub(crate) fn held(&self) -> Result<(u64, Fingerprint), PointError> {
        let state = self.working.state()?;
        let size = state.size();
        Ok((size, state.check().map_err(PointError::manifest(&self.disk))?))
    }
}

impl<L: Layer + Sync> Receiver for LocalDisk<'_, L>
where
    L::File: 'static + Send,
{
    const WORKS: bool = true;

    fn held(&self) -> Result<Fingerprint, TargetError> {
        Ok(LocalDisk::held(self)?.1)
    }

    fn older(&mut self) -> Result<(u64, Blocks), TargetError> {
        let state = self.working.state()?;
        Ok((state.size(), Box::new(state)))
    }

    fn keep(&mut self) -> Box<dyn Write> {
        Box::new(io::sink())
    }

    fn apply(&mut self, change: &Change<'_>) -> Result<(), TargetError> {
        Ok(self.working.apply(change)?)
    }

    fn finish(self, fingerprint: Fingerprint, owner: Owner) -> Result<Whole, TargetError> {
        let whole = self.working.finish(fingerprint, owner)?;
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).insert(self.disk, whole.clone());
        Ok(whole)
    }
}
