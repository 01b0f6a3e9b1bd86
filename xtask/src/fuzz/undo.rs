//! Points on a file system whose files share no blocks, where an older point is its file with undo logs over it: made,
//! abandoned, withdrawn by a process that may be killed at every effect; or with logs that somebody damaged.

use super::cut::Cut;
use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
use leeward_mover::block::{BLOCK, Digest};
use leeward_mover::disk::Disk;
use leeward_mover::error::PointError;
use leeward_mover::layer::{Identity, Owner, Readable};
use leeward_mover::manifest::Writer;
use leeward_mover::place::Place;
use leeward_mover::points::{Opened, Order, Points, Wanted};
use leeward_mover::scan::{Look, ScanError, scan};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Bytes of an image at most.
const LARGEST: usize = 6 * BLOCK + 5;
/// Steps of an input at most; more are slower, not other.
const MOST: usize = 24;
/// Points that there can be.
const NAMES: u8 = 4;
/// The disks; of one the folder in its volume is a folder of logs too.
const DISKS: [&str; 2] = ["pv-1/disk.img", "pv-2/a/disk.img"];
/// Where points are.
const TOP: &str = "points";
/// Bytes of a source that are the same.
const PIECE: usize = 64;
/// Effects of a process that is not killed.
pub(super) const ALL: u64 = u64::MAX;

/// What a step does; each has eight bytes: `u8` what, three `u8`, two `u16`, little end first.
pub(crate) const WRITE: u8 = 0;
pub(crate) const ZERO: u8 = 1;
pub(crate) const RESIZE: u8 = 2;
pub(crate) const MODE: u8 = 3;
pub(crate) const MAKE: u8 = 4;
pub(crate) const WITHDRAW: u8 = 5;
pub(crate) const BOOT: u8 = 6;
pub(crate) const STRANGER: u8 = 7;
/// The first byte of an input that damages logs; any other begins steps.
pub(crate) const DAMAGE: u8 = 255;

pub(super) fn must<T, E: Debug>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

fn place(text: &str) -> Place {
    must(Place::parse(text), text)
}

pub(super) fn point(number: u8) -> PointId {
    let name = format!("rp-{number}");
    must(PointId::parse(&name), &name)
}

fn group() -> GroupName {
    must(GroupName::parse("shop"), "that is a name")
}

/// A disk: its bytes, and who may read and write it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// What is done with a disk's volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Read,
    Carried,
    Left,
}

/// A site, its source, and what its points have to be.
pub(super) struct Story {
    folder: tempfile::TempDir,
    pub(super) live: [Image; 2],
    /// Of the source: another one after every change.
    version: i64,
    boot: u8,
    pub(super) points: BTreeMap<u8, BTreeMap<usize, Image>>,
}

/// Bytes in memory, to be read like a file.
struct Memory<'a>(&'a [u8]);

impl Readable for Memory<'_> {
    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn next_data(&self, from: u64) -> std::io::Result<Option<Range<u64>>> {
        let start = usize::try_from(from).unwrap_or(usize::MAX).div_ceil(BLOCK);
        let block = self.0.chunks(BLOCK).skip(start).position(|block| Digest::of(block).is_some());
        Ok(block.map(|block| ((start + block) * BLOCK) as u64..self.0.len() as u64))
    }
}

/// What a sender and a receiver do together.
fn send(points: &Points<Cut>, order: &Order, live: &[Image; 2], owner: Owner) -> Result<(), PointError> {
    let mut partial = match points.open(order)? {
        Opened::Whole(_) => return Ok(()),
        Opened::Partial(partial) => partial,
    };
    for (name, image) in DISKS.iter().zip(live) {
        let name = place(name);
        if !order.disks.contains_key(&name) {
            continue;
        }
        let size = image.bytes.len() as u64;
        let mut working = partial.disk(&name)?;
        let older = working.state()?;
        let older_size = older.size();
        let mut newer = must(Writer::new(std::io::sink(), size), "a manifest");
        let memory = Memory(&image.bytes);
        let scanned =
            scan(&memory, size, Look::Data, older, older_size, &mut newer, &mut |change| working.apply(&change));
        match scanned {
            Ok(_) => {}
            Err(ScanError::Sink(error)) => return Err(error),
            Err(error) => panic!("{name} cannot be compared: {error:?}"),
        }
        let (_, fingerprint) = must(newer.finish(), "a manifest");
        let whole = working.finish(fingerprint, Owner { mode: image.mode, ..owner })?;
        partial.done(&name, whole);
    }
    partial.commit().map(drop)
}

impl Story {
    /// An empty site in memory, where no file shares blocks with another.
    pub(super) fn new() -> Self {
        let folders = ["/dev/shm", "/tmp"].iter().map(tempfile::tempdir_in);
        let Some(folder) = folders.flatten().next() else { panic!("no folder for files that live shortly") };
        let image = Image { bytes: Vec::new(), mode: 0o640 };
        let story = Self { folder, live: [image.clone(), image], version: 0, boot: 0, points: BTreeMap::new() };
        must(std::fs::create_dir(story.export()), "a folder");
        story
    }

    fn export(&self) -> PathBuf {
        self.folder.path().join("export")
    }

    /// The group's folder.
    pub(super) fn group(&self) -> PathBuf {
        self.export().join(TOP).join("shop")
    }

    fn disk(&self) -> Disk {
        must(Disk::open_folder(&self.export()), "the export")
    }

    /// As a new process has it that is killed after so many effects.
    fn open(&self, effects: u64) -> Points<Cut> {
        Points::new(Cut::new(self.disk(), effects), place(TOP), format!("boot-{}", self.boot))
    }

    fn order(&self, number: u8, base: Option<u8>, how: [How; 2]) -> Order {
        let key = |disk: usize| format!("pv-{}", disk + 1);
        let are = |wanted: How| (0..DISKS.len()).filter(move |disk| how[*disk] == wanted);
        let wanted = Wanted { about: self.version.into(), ..Wanted::default() };
        let identity = |disk: usize| Identity {
            size: self.live[disk].bytes.len() as u64,
            inode: (1, disk as u64),
            modified: (self.version, 0),
            changed: (self.version, 0),
        };
        Order {
            group: group(),
            point: point(number),
            base: base.map(point),
            from: must(SiteName::parse("east"), "that is a name"),
            epoch: Epoch(1),
            volumes: are(How::Read).map(|disk| (key(disk), wanted.clone())).collect(),
            carried: are(How::Carried).map(key).collect(),
            folders: BTreeMap::new(),
            disks: are(How::Read).map(|disk| (place(DISKS[disk]), identity(disk))).collect(),
        }
    }

    /// Makes a point, or not, if the process is killed or that cannot be.
    pub(super) fn make(&mut self, number: u8, base: Option<u8>, how: [How; 2], effects: u64) -> Result<(), PointError> {
        let about = must(std::fs::metadata(self.export()), "the export");
        let owner = Owner { user: about.uid(), group: about.gid(), mode: 0 };
        let made = send(&self.open(effects), &self.order(number, base, how), &self.live, owner);
        let before = self.points.contains_key(&number);
        let there = must(self.open(ALL).find(&group(), &point(number)), "a record").is_some();
        assert!(there || !before, "rp-{number} is lost: {made:?}");
        assert!(there || made.is_err(), "rp-{number} is made, and not there");
        if there && !before {
            let image = |disk: usize| match how[disk] {
                How::Read => Some(self.live[disk].clone()),
                How::Carried => base.and_then(|base| self.points.get(&base)?.get(&disk).cloned()),
                How::Left => None,
            };
            let images = (0..DISKS.len()).filter_map(|disk| Some((disk, image(disk)?))).collect();
            self.points.insert(number, images);
        }
        made
    }

    /// Withdraws a point, or begins to.
    pub(super) fn withdraw(&mut self, number: u8, effects: u64) -> Result<(), PointError> {
        let withdrawn = self.open(effects).withdraw(&group(), &point(number));
        let there = must(self.open(ALL).find(&group(), &point(number)), "a record").is_some();
        assert!(!there || withdrawn.is_err(), "rp-{number} is withdrawn, and there");
        if !there {
            self.points.remove(&number);
        }
        withdrawn
    }

    pub(super) fn verify(&self, number: u8) -> Result<(), PointError> {
        self.open(ALL).verify(&group(), &point(number)).map(drop)
    }

    /// What is read of a point's disk, and whose it is.
    pub(super) fn read(&self, number: u8, disk: usize) -> Result<Image, PointError> {
        let (points, disk, copy) = (self.open(ALL), place(DISKS[disk]), place("copy"));
        let held = points.existing(&group(), &point(number))?;
        let copied = points.copy_out(&held, &disk, &copy);
        let bytes = std::fs::read(self.export().join("copy"));
        drop(std::fs::remove_file(self.export().join("copy")));
        copied?;
        Ok(Image { bytes: must(bytes, "the copy"), mode: points.owner(&held, &disk)?.mode })
    }

    /// Every point is what it was when it was made, and nothing lies where it should not.
    fn check(&self) {
        let listed = must(self.open(ALL).list(&group()), "the points");
        let names = self.points.keys().map(|number| point(*number));
        assert!(names.eq(listed.into_iter().map(|point| point.point)), "other points are there");
        for (number, images) in &self.points {
            for (disk, image) in images {
                let found = must(self.read(*number, *disk), "a point that was made");
                assert!(found.bytes == image.bytes, "rp-{number} has other bytes on {}", DISKS[*disk]);
                assert_eq!(found.mode, image.mode, "rp-{number} {}", DISKS[*disk]);
            }
        }
        self.check_beside();
    }

    pub(super) fn check_beside(&self) {
        let count = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().count();
        assert_eq!(count(self.folder.path().to_owned()), 1, "something lies beside the folder");
        assert!(count(self.export()) <= 1, "something lies beside the points");
    }

    /// Fills a part of the source with what is not the same everywhere.
    pub(super) fn write(&mut self, disk: usize, range: Range<usize>, fill: u8) {
        self.version += 1;
        let bytes = &mut self.live[disk].bytes;
        let mut at = range.start.min(bytes.len());
        let end = range.end.min(bytes.len());
        while at < end {
            let [low, ..] = (at / PIECE).to_le_bytes();
            let stop = end.min((at / PIECE + 1) * PIECE);
            bytes[at..stop].fill(if fill == 0 { 0 } else { fill.wrapping_add(low) });
            at = stop;
        }
    }

    pub(super) fn resize(&mut self, disk: usize, size: usize) {
        self.version += 1;
        self.live[disk].bytes.resize(size.min(LARGEST), 0);
    }

    /// A file of somebody else in the group's folder, or among a point's logs.
    fn stranger(&self, number: u8, inside: bool, length: usize) {
        let folder = if inside { self.group().join(format!("rp-{number}/.undo")) } else { self.group() };
        let name = "s".repeat(length.clamp(1, 255));
        drop(std::fs::write(folder.join(name), ""));
    }

    fn step(&mut self, step: [u8; 8]) {
        let [what, a, b, c, low, high, less, more] = step;
        let (at, length) = (u16::from_le_bytes([low, high]), u16::from_le_bytes([less, more]));
        let (disk, offset) = (usize::from(c % 2), usize::from(at) * 2);
        let effects = if length == 0 { ALL } else { u64::from(length) };
        match what % 8 {
            WRITE => self.write(disk, offset..offset + usize::from(length), a.max(1)),
            ZERO => self.write(disk, offset..offset + usize::from(length), 0),
            RESIZE => self.resize(disk, offset),
            MODE => {
                self.version += 1;
                self.live[disk].mode = 0o600 | u32::from(a % 0o100);
            }
            MAKE => {
                let how = |bits: u8| match bits % 4 {
                    0 | 1 => How::Read,
                    2 => How::Carried,
                    _ => How::Left,
                };
                let base = (b < NAMES).then_some(b);
                let made = self.make(a % NAMES, base, [how(c), how(c >> 2)], effects);
                let refused = |error: &PointError| {
                    matches!(error, PointError::Request { .. } | PointError::NotHeld { .. } | PointError::Other { .. })
                };
                if let Err(error) = made {
                    assert!(effects < ALL || refused(&error), "not made: {error:?}");
                }
                self.check();
            }
            WITHDRAW => {
                let withdrawn = self.withdraw(a % NAMES, effects);
                assert!(effects < ALL || withdrawn.is_ok(), "not withdrawn: {withdrawn:?}");
                self.check();
            }
            BOOT => self.boot = self.boot.wrapping_add(1),
            _ => self.stranger(a % NAMES, b % 2 == 1, usize::from(length)),
        }
    }
}

/// Either steps of a story, or, behind [`DAMAGE`], what becomes of logs.
///
/// Whatever a process did until it was killed, each whole point is read as it was made, and what is asked for again is done. Of
/// a log that somebody damaged, that is read which is said of its form, and a point verifies exactly if that is what it was; so
/// no point is made of anything else, and none that was right is lost.
pub(crate) fn undo(input: &[u8]) {
    match input.split_first() {
        Some((&DAMAGE, rest)) => super::damage::damage(rest),
        _ => {
            let mut story = Story::new();
            for disk in 0..DISKS.len() {
                story.resize(disk, 3 * BLOCK);
                story.write(disk, 0..2 * BLOCK, 1);
            }
            for step in input.as_chunks().0.iter().take(MOST) {
                story.step(*step);
            }
            story.check();
            for number in story.points.keys() {
                must(story.verify(*number), "a point that was made");
            }
        }
    }
}
