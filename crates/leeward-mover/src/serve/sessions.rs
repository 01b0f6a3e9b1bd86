//! Points that are being made: one sender for each group.

use super::refused::Refused;
use crate::disk::Disk;
use crate::place::Place;
use crate::points::{Opened, Order, Point, Points};
use crate::target::{Local, Making};
use leeward_model::name::{GroupName, SiteName};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// How long a sender waits for the group. Longer than it takes to notice that the one before has died, so that who repeats after
/// a cut link is not told that it is in its own way.
const WAIT: Duration = Duration::from_secs(15);

/// All that are being made.
#[derive(Debug)]
pub(super) struct Sessions {
    points: &'static Points<Disk>,
    groups: Mutex<HashMap<GroupName, Arc<AsyncMutex<()>>>>,
    open: Mutex<HashMap<String, Arc<Session>>>,
    /// Bytes that did not have to come, by group.
    saved: Mutex<BTreeMap<GroupName, u64>>,
}

/// One that is being made.
#[derive(Debug)]
pub(super) struct Session {
    peer: SiteName,
    order: Order,
    /// None once it is a point.
    making: RwLock<Option<Local<'static, Disk>>>,
    /// Disks that are being received.
    receiving: Mutex<BTreeSet<Place>>,
    /// Bytes of the disks that are whole.
    whole: Mutex<BTreeMap<Place, u64>>,
    /// Bytes of writes that came.
    arrived: AtomicU64,
    /// Let go when nobody works at it any more, and not before.
    _group: OwnedMutexGuard<()>,
}

/// What becomes of an order.
pub(super) enum Answer {
    Whole(Point),
    Session(Opening),
}

/// A session, open as long as this is there.
pub(super) struct Opening {
    sessions: Arc<Sessions>,
    pub(super) name: String,
}

impl Drop for Opening {
    fn drop(&mut self) {
        lock(&self.sessions.open).remove(&self.name);
    }
}

impl Sessions {
    pub(super) fn new(points: &'static Points<Disk>) -> Self {
        Self { points, groups: Mutex::default(), open: Mutex::default(), saved: Mutex::default() }
    }

    /// Begins a point for `peer`, or goes on with it.
    pub(super) async fn open(self: &Arc<Self>, peer: SiteName, order: Order) -> Result<Answer, Refused> {
        if order.from != peer {
            return Err(Refused::NotItsOwn { from: order.from, peer });
        }
        let group = self.group(&order.group);
        let claim = tokio::time::timeout(WAIT, group.lock_owned()).await;
        let claim = claim.map_err(|_| Refused::Busy { group: order.group.clone() })?;
        let sessions = self.clone();
        blocking(move || {
            let making = match sessions.points.open(&order)? {
                Opened::Whole(point) => return Ok(Answer::Whole(point)),
                Opened::Partial(partial) => Local::new(partial),
            };
            let name = format!("{:032x}", rand::rng().random::<u128>());
            let session = Session {
                peer,
                order,
                making: RwLock::new(Some(making)),
                receiving: Mutex::default(),
                whole: Mutex::default(),
                arrived: AtomicU64::default(),
                _group: claim,
            };
            lock(&sessions.open).insert(name.clone(), Arc::new(session));
            Ok(Answer::Session(Opening { sessions, name }))
        })
        .await
    }

    fn group(&self, group: &GroupName) -> Arc<AsyncMutex<()>> {
        let mut groups = lock(&self.groups);
        groups.retain(|_, claimed| Arc::strong_count(claimed) > 1);
        groups.entry(group.clone()).or_default().clone()
    }

    /// The session of that name, if it is the peer's.
    pub(super) fn find(&self, peer: &SiteName, name: &str) -> Result<Arc<Session>, Refused> {
        lock(&self.open).get(name).filter(|session| session.peer == *peer).cloned().ok_or(Refused::NoSession)
    }

    /// For each group whose point is being made: the bytes of its disks that are not whole, holes included.
    pub(super) fn lag(&self) -> BTreeMap<GroupName, u64> {
        let lag = |session: &Session| {
            let all: u64 = session.order.disks.values().map(|disk| disk.size).fold(0, u64::saturating_add);
            all.saturating_sub(lock(&session.whole).values().sum())
        };
        lock(&self.open).values().map(|session| (session.order.group.clone(), lag(session))).collect()
    }
}

impl Sessions {
    /// Makes the session's point.
    pub(super) fn commit(&self, session: &Session) -> Result<Point, Refused> {
        let point = session.commit()?;
        *lock(&self.saved).entry(point.group.clone()).or_default() += session.saved();
        Ok(point)
    }

    /// For each group: the bytes that did not have to come.
    pub(super) fn saved(&self) -> BTreeMap<GroupName, u64> {
        lock(&self.saved).clone()
    }
}

impl Session {
    /// Works at a disk. Nobody else does at the same time.
    pub(super) fn with<T>(
        &self,
        disk: &Place,
        work: impl FnOnce(&Local<'static, Disk>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let making = self.making.read().unwrap_or_else(PoisonError::into_inner);
        let making = making.as_ref().ok_or(Refused::NoSession)?;
        if !lock(&self.receiving).insert(disk.clone()) {
            return Err(Refused::unannounced(disk));
        }
        let _free = Free(&self.receiving, disk);
        lock(&self.whole).remove(disk);
        work(making)
    }

    pub(super) fn done(&self, disk: &Place, size: u64) {
        lock(&self.whole).insert(disk.clone(), size);
    }

    /// Takes note of a write that came.
    pub(super) fn arrived(&self, bytes: usize) {
        self.arrived.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Of what the disks take up at the source, what did not have to come.
    fn saved(&self) -> u64 {
        let all = self.order.volumes.values().map(|volume| volume.allocated).fold(0, u64::saturating_add);
        all.saturating_sub(self.arrived.load(Ordering::Relaxed))
    }

    fn commit(&self) -> Result<Point, Refused> {
        let mut making = self
            .making
            .try_write()
            .map_err(|_| Refused::request("a point while its disks are still being received"))?;
        Ok(making.take().ok_or(Refused::NoSession)?.commit()?)
    }
}

struct Free<'a>(&'a Mutex<BTreeSet<Place>>, &'a Place);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(self.1);
    }
}

/// Does what waits for the file system on a thread where that is no harm.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Refused::System(error.into())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
