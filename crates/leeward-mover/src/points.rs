//! The recovery points of a site: folders of which each holds all disks of a group at one moment.
//!
//! ```text
//! <top>/<group>/<point>/<volume>/<file>          a disk
//! <top>/<group>/<point>/.blocks/<volume>/<file>.blocks   its block manifest; a folder in a volume has `.d` behind its name there
//! <top>/<group>/<point>/.point.json              the record, without which the folder is no point
//! <top>/<group>/<point>.partial/…                one that is being made; the next attempt goes on from it
//! <top>/<group>/<point>/.undo/…                  only where files cannot share blocks: what the next point was written over
//! <top>/<group>/<point>.gone/…                   one that is being removed
//! <top>/<group>/.undo                            held by who changes which undo logs there are
//! ```
//!
//! The order in which a point comes to be: every disk's bytes and manifest are synced, then the record, then all folders from
//! the innermost on, and then the folder gets its name, and that is synced too. So a folder with a point's name has everything, at
//! any crash; and the point before it is still what it was: its disks were cloned, or what was written over them was saved
//! before ([`crate::undo`]).

use crate::error::PointError;
use crate::extents;
use crate::layer::{Hold, Kind, Layer, LayerFile, Owner};
use crate::paths::Paths;
pub(crate) use crate::paths::name;
use crate::place::Place;
use crate::undo::Head;
use crate::view;
use crate::working::{self, Manifest, Start, Whole, Working};
use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
pub use order::{Order, Wanted};
use record::{load, save, sync, sync_folder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

mod carry;
mod order;
pub(crate) mod record;
mod room;
mod sample;
mod withdraw;

// No volume is called like any of ours in a point: their names begin with a letter or digit.
pub(crate) const RECORD: &str = ".point.json";
const SESSION: &str = ".session.json";
pub(crate) const PARTIAL: &str = ".partial";
pub(crate) const GONE: &str = ".gone";
/// How often a lock that another process has is tried, and how long is waited between: 5 s together.
const LOCK_TRIES: u32 = if cfg!(test) { 3 } else { 100 };
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A whole point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The group.
    pub group: GroupName,
    /// Its name.
    pub point: PointId,
    /// The site it was read at.
    pub from: SiteName,
    /// The group's epoch then.
    pub epoch: Epoch,
    /// Grows from point to point of a group at a site.
    pub number: u64,
    /// What came with each volume.
    pub volumes: BTreeMap<String, Value>,
    /// Each disk.
    pub disks: BTreeMap<Place, Whole>,
}

/// What is remembered of one that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// The machine's boot: after another one nothing is believed that was not synced.
    boot: String,
    order: Order,
}

/// The points of a site.
#[derive(Debug)]
pub struct Points<L> {
    layer: L,
    top: Place,
    boot: String,
}

/// What becomes of an [`Order`].
#[derive(Debug)]
pub enum Opened<'a, L: Layer> {
    /// The point is there already.
    Whole(Point),
    /// It is being made.
    Partial(Partial<'a, L>),
}

/// A point that is being made.
#[derive(Debug)]
pub struct Partial<'a, L: Layer> {
    points: &'a Points<L>,
    order: Order,
    base: Option<Box<Held<L>>>,
    whole: BTreeMap<Place, Whole>,
    /// Nobody else makes a point of the group meanwhile.
    _group: L::Lock,
}

/// A whole point that is not withdrawn as long as this lives.
#[derive(Debug)]
pub struct Held<L: Layer> {
    /// The point.
    pub point: Point,
    _lock: L::Lock,
}

impl<L: Layer> Points<L> {
    /// The points in folder `top`. `boot` says which start of the machine this is, e.g. the kernel's boot id.
    pub fn new(layer: L, top: Place, boot: String) -> Self {
        Self { layer, top, boot }
    }

    fn group(&self, group: &GroupName) -> Place {
        self.top.join(&name(group.as_str()))
    }

    fn folder(&self, group: &GroupName, point: &PointId) -> Place {
        self.group(group).join(&name(point.as_str()))
    }

    fn entries(&self, group: &GroupName) -> Result<Vec<String>, PointError> {
        let folder = self.group(group);
        let entries = self.layer.list(&folder).map_err(PointError::files("listing", &folder))?;
        // What has a longer name than any of ours is not ours.
        let ours = |(entry, kind): &(String, Kind)| *kind == Kind::Folder && Place::parse(entry).is_ok();
        Ok(entries.into_iter().filter(ours).map(|(name, _)| name).collect())
    }

    /// The groups that have, or had, points here, by name.
    ///
    /// # Errors
    /// The file system.
    pub fn groups(&self) -> Result<Vec<GroupName>, PointError> {
        let entries = self.layer.list(&self.top).map_err(PointError::files("listing", &self.top))?;
        Ok(entries.into_iter().filter_map(|(entry, _)| GroupName::parse(&entry).ok()).collect())
    }

    /// The group's whole points, by name.
    ///
    /// # Errors
    /// The file system; a record that cannot be read.
    pub fn list(&self, group: &GroupName) -> Result<Vec<Point>, PointError> {
        let mut points = Vec::new();
        for entry in self.entries(group)? {
            // What has another suffix than none is no point's name.
            let Ok(point) = PointId::parse(&entry) else { continue };
            points.extend(self.find(group, &point)?);
        }
        Ok(points)
    }

    /// A point, if it is there whole.
    ///
    /// # Errors
    /// The file system; a record that cannot be read.
    pub fn find(&self, group: &GroupName, point: &PointId) -> Result<Option<Point>, PointError> {
        let place = self.folder(group, point).join(&name(RECORD));
        let found: Option<Point> = load(&self.layer, &place)?;
        if let Some(other) = found.as_ref().filter(|found| found.group != *group || found.point != *point) {
            return Err(PointError::Record {
                place,
                why: format!("it is about point {} of group {}", other.point, other.group),
            });
        }
        Ok(found)
    }

    /// The point that an order asks for, if it is there already.
    ///
    /// # Errors
    /// An older epoch than was seen; a point of that name that is another.
    pub fn look(&self, order: &Order) -> Result<Option<Point>, PointError> {
        order.check()?;
        self.check_epoch(order, &self.entries(&order.group)?)?;
        let Some(point) = self.find(&order.group, &order.point)? else { return Ok(None) };
        order::same(order, &point)?;
        // Whoever gave it its name may have been killed before the name was on stable storage.
        self.sync_names(&order.group)?;
        Ok(Some(point))
    }

    /// Begins a point, or goes on with it.
    ///
    /// # Errors
    /// An older epoch than was seen; a point of that name that is another; disks that cannot be together in a folder; a base
    /// without a volume that is to be carried; no room; another process that makes a point of the group.
    pub fn open(&self, order: &Order) -> Result<Opened<'_, L>, PointError> {
        if let Some(point) = self.look(order)? {
            return Ok(Opened::Whole(point));
        }
        let group = self.lock_group(order)?;
        // Whoever had the lock may have made it.
        if let Some(point) = self.look(order)? {
            return Ok(Opened::Whole(point));
        }
        for other in self.entries(&order.group)? {
            let place = self.group(&order.group).join(&name(&other));
            if other.ends_with(GONE) {
                self.clear_gone(&place)?;
            } else if other.strip_suffix(PARTIAL).is_some_and(|point| point != order.point.as_str()) {
                self.remove(&place)?;
            }
        }
        let base = match &order.base {
            Some(base) => self.hold(&order.group, base)?.map(Box::new),
            None => None,
        };
        carry::check(order, base.as_ref().map(|base| &base.point))?;
        let partial = Partial { points: self, order: order.clone(), base, whole: BTreeMap::new(), _group: group };
        room::check(&partial)?;
        partial.begin()?;
        Ok(Opened::Partial(partial))
    }

    fn lock_group(&self, order: &Order) -> Result<L::Lock, PointError> {
        let folder = self.group(&order.group);
        working::folders(&self.layer, &folder.join(&name(SESSION)))?;
        let lock = lock(&self.layer, &folder, Hold::Alone)?;
        lock.ok_or_else(|| PointError::Busy { what: format!("a point of group {}", order.group) })
    }

    /// A point, if it is there whole, that is not withdrawn as long as it is held.
    ///
    /// # Errors
    /// As [`Self::find`]; a point that is being withdrawn.
    pub fn hold(&self, group: &GroupName, point: &PointId) -> Result<Option<Held<L>>, PointError> {
        if self.find(group, point)?.is_none() {
            return Ok(None);
        }
        let busy = || PointError::Busy { what: format!("point {point} of group {group}") };
        let Some(lock) = lock(&self.layer, &self.folder(group, point), Hold::Shared)? else { return Err(busy()) };
        // It may have gone before it was held.
        Ok(self.find(group, point)?.map(|point| Held { point, _lock: lock }))
    }

    /// The highest epoch of any point, whole or not, is not above the sender's.
    fn check_epoch(&self, order: &Order, entries: &[String]) -> Result<(), PointError> {
        let mut newest = None;
        for entry in entries {
            let folder = self.group(&order.group).join(&name(entry));
            let epoch = if entry.ends_with(PARTIAL) {
                // One that the machine did not survive says nothing.
                load::<Session, _>(&self.layer, &folder.join(&name(SESSION)))
                    .ok()
                    .flatten()
                    .map(|session| session.order.epoch)
            } else {
                load::<Point, _>(&self.layer, &folder.join(&name(RECORD)))?.map(|point| point.epoch)
            };
            newest = newest.max(epoch);
        }
        match newest {
            Some(newest) if newest > order.epoch => {
                Err(PointError::OldEpoch { group: order.group.clone(), asked: order.epoch, newest })
            }
            _ => Ok(()),
        }
    }

    /// Puts the names of the group's points on stable storage; its folder may be new, and the one above it.
    fn sync_names(&self, group: &GroupName) -> Result<(), PointError> {
        for folder in std::iter::successors(Some(self.group(group)), Place::parent) {
            sync_folder(&self.layer, Some(&folder))?;
        }
        Ok(())
    }

    fn remove(&self, place: &Place) -> Result<(), PointError> {
        self.layer.remove(place).map_err(PointError::files("removing", place))
    }

    /// A point that must be there.
    ///
    /// # Errors
    /// As [`Self::hold`]; a missing point.
    pub fn existing(&self, group: &GroupName, point: &PointId) -> Result<Held<L>, PointError> {
        let found = self.hold(group, point)?;
        found.ok_or_else(|| PointError::Missing { group: group.clone(), point: point.clone() })
    }

    /// Reads all disks of a point and compares them with its manifests.
    ///
    /// # Errors
    /// A missing point; [`PointError::Touched`] with the first disk that is not what it was.
    pub fn verify(&self, group: &GroupName, point: &PointId) -> Result<Point, PointError> {
        self.each_disk(group, point, working::check)
    }

    /// As [`Self::verify`], by each file's length, its manifest and some of its blocks: which ones, `lot` decides.
    ///
    /// # Errors
    /// As there.
    pub fn verify_some(&self, group: &GroupName, point: &PointId, lot: u64) -> Result<Point, PointError> {
        self.each_disk(group, point, |layer, paths, whole| sample::check(layer, paths, whole, lot))
    }

    fn each_disk(
        &self,
        group: &GroupName,
        point: &PointId,
        check: impl Fn(&L, &Paths, &Whole) -> Result<(), PointError>,
    ) -> Result<Point, PointError> {
        let held = self.existing(group, point)?;
        for (disk, whole) in &held.point.disks {
            check(&self.layer, &self.paths(&held.point, disk), whole)?;
        }
        Ok(held.point)
    }

    /// What a point's disk holds.
    ///
    /// # Errors
    /// The manifest is gone or cannot be read.
    pub fn manifest(&self, point: &Held<L>, disk: &Place) -> Result<Manifest<L::File>, PointError> {
        working::whole_manifest(&self.layer, &self.paths(&point.point, disk))
    }

    /// The only bytes in which `file` can differ from a point's disk, if the file system can tell: it was cloned from that.
    #[must_use]
    pub fn may_differ(&self, point: &Held<L>, disk: &Place, file: &L::File) -> Option<Vec<Range<u64>>> {
        let whole = point.point.disks.get(disk)?;
        let paths = self.paths(&point.point, disk);
        // What it was cloned from must still be what the manifest says, and no other point may be written over it.
        if Head::load(&self.layer, &paths).ok()?.is_some() {
            return None;
        }
        let image = self.layer.open_to_read(&paths.image).ok()?;
        working::is_untouched(&image.identity().ok()?, whole).then(|| extents::may_differ(&image, file))?
    }

    /// Where a folder of a point's volumes is.
    #[must_use]
    pub fn inner(&self, point: &Held<L>, folder: &Place) -> Place {
        self.folder(&point.point.group, &point.point.point).join(folder)
    }

    /// Makes the new file `to` with the bytes of a point's disk: a clone if that is possible.
    ///
    /// # Errors
    /// The file system; [`PointError::Touched`] if the disk is gone.
    pub fn copy_out(&self, point: &Held<L>, disk: &Place, to: &Place) -> Result<(), PointError> {
        let paths = self.paths(&point.point, disk);
        let size = point.point.disks.get(disk).map_or(0, |whole| whole.size);
        view::duplicate(&self.layer, &paths, size, to)
    }

    /// Whose a point's disk is.
    ///
    /// # Errors
    /// As [`Self::copy_out`].
    pub fn owner(&self, point: &Held<L>, disk: &Place) -> Result<Owner, PointError> {
        view::owner(&self.layer, &self.paths(&point.point, disk))
    }

    /// Bytes that can still be written here.
    ///
    /// # Errors
    /// The file system.
    pub fn free(&self) -> Result<u64, PointError> {
        self.layer.free().map_err(PointError::files("measuring the room of", &self.top))
    }

    fn paths(&self, point: &Point, disk: &Place) -> Paths {
        Paths::new(&self.folder(&point.group, &point.point), disk)
    }
}

impl<'a, L: Layer> Partial<'a, L> {
    fn folder(&self) -> Place {
        self.points.folder(&self.order.group, &self.order.point).with_suffix(PARTIAL)
    }

    /// Goes on with what is there if it is the same; after a crash of the machine, with doubt.
    fn begin(&self) -> Result<(), PointError> {
        let (layer, folder) = (&self.points.layer, self.folder());
        let place = folder.join(&name(SESSION));
        let wanted = Session { boot: self.points.boot.clone(), order: self.order.clone() };
        // A record that is not whole is none.
        let found: Option<Session> = load(layer, &place).ok().flatten();
        match found {
            Some(found) if found == wanted => return Ok(()),
            Some(found) if found.order == self.order => {
                for disk in
                    self.order.disks.keys().chain(carry::disks(&self.order, self.base.as_deref()).map(|(disk, _)| disk))
                {
                    working::doubt(layer, &Paths::new(&folder, disk))?;
                }
            }
            _ => {
                self.points.remove(&folder)?;
                working::folders(layer, &place)?;
                // The name it gets in the end must not go to what had its present name before.
                self.points.sync_names(&self.order.group)?;
            }
        }
        save(layer, &place, &wanted)
    }

    /// Opens a disk of the order, whose source has `size` bytes.
    ///
    /// # Errors
    /// The file system; a disk that is not in the order.
    pub fn disk(&self, disk: &Place) -> Result<Working<'a, L>, PointError> {
        let Some(source) = self.order.disks.get(disk) else {
            return Err(PointError::Request { what: format!("disk {disk}, which it did not announce") });
        };
        let (paths, base) = (Paths::new(&self.folder(), disk), self.in_base(disk).map(|(base, _)| base));
        Working::open(&self.points.layer, paths, base.as_ref(), || self.start(disk), source.size)
    }

    /// The same disk in the base.
    fn in_base(&self, disk: &Place) -> Option<(Paths, &Whole)> {
        let base = &self.base.as_ref()?.point;
        Some((self.points.paths(base, disk), base.disks.get(disk)?))
    }

    /// What a disk starts from, if there is nothing of it yet.
    fn start(&self, disk: &Place) -> Result<Start, PointError> {
        let Some((base, whole)) = self.in_base(disk) else {
            return Ok(self.seed(disk).map_or(Start::Nothing, Start::Seed));
        };
        match working::check_untouched(&self.points.layer, &base, whole) {
            Ok(()) => Ok(Start::Base(base)),
            // What is there is worth no more than any file, and no less. The base itself stays as it is: its verification says so.
            Err(PointError::Touched { .. }) => Ok(Start::Seed(base.image)),
            Err(error) => Err(error),
        }
    }

    /// The file at the target that a disk of no base starts from.
    fn seed(&self, disk: &Place) -> Option<Place> {
        let (key, file) = disk.as_str().split_once('/')?;
        Some(self.order.volumes.get(key)?.seed.as_ref()?.join(&name(file)))
    }

    /// Takes note that a disk is whole.
    pub fn done(&mut self, disk: &Place, whole: Whole) {
        self.whole.insert(disk.clone(), whole);
    }

    /// Makes it a point, if all disks are whole.
    ///
    /// # Errors
    /// The file system; a disk of the order that is not whole.
    pub fn commit(mut self) -> Result<Point, PointError> {
        if let Some(disk) = self.order.disks.keys().find(|disk| !self.whole.contains_key(*disk)) {
            return Err(PointError::Request { what: format!("a point without its disk {disk}") });
        }
        carry::carry(&mut self)?;
        let (points, folder) = (self.points, self.folder());
        let layer = &points.layer;
        let mut files = Vec::new();
        for disk in self.whole.keys() {
            let paths = Paths::new(&folder, disk);
            working::clear(layer, &paths)?;
            files.extend(working::synced(&paths));
        }
        carry::give_folders(&self)?;
        let number = points.list(&self.order.group)?.iter().map(|point| point.number).max().unwrap_or(0) + 1;
        let volumes = carry::about(&self);
        let Order { group, point, from, epoch, .. } = self.order;
        let record = Point { group, point, from, epoch, number, volumes, disks: self.whole };
        save(layer, &folder.join(&name(RECORD)), &record)?;
        points.remove(&folder.join(&name(SESSION)))?;
        sync(layer, &folder, &files)?;
        let whole = points.folder(&record.group, &record.point);
        layer.rename(&folder, &whole).map_err(PointError::files("naming", &whole))?;
        points.sync_names(&record.group)?;
        Ok(record)
    }
}

/// Tries to get a lock for a while.
pub(crate) fn lock<L: Layer>(layer: &L, folder: &Place, hold: Hold) -> Result<Option<L::Lock>, PointError> {
    for _ in 0..LOCK_TRIES {
        let held = layer.lock(folder, hold).map_err(PointError::files("locking", folder))?;
        if held.is_some() {
            return Ok(held);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests;
