//! What reaches the mover from elsewhere: block manifests, journals, requests, and what a sender asks a receiver to do.

use leeward_model::mover;
use leeward_model::name::PointId;
use leeward_mover::block::{BLOCK, Digest, blocks};
use leeward_mover::disk::Disk;
use leeward_mover::error::PointError;
use leeward_mover::journal::{Record, Records, overlay};
use leeward_mover::layer::{Layer, LayerFile, Owner, Readable};
use leeward_mover::manifest::{Fingerprint, Reader, Writer};
use leeward_mover::place::Place;
use leeward_mover::points::{Opened, Order, Point, Points};
use leeward_mover::scan::{Change, Look, STRIDE_BYTES, scan};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Component, Path};

/// Any bytes as a block manifest. One that is read to its end is written again to one that says the same.
pub(crate) fn manifest(input: &[u8]) {
    let Ok(mut reader) = Reader::new(input) else { return };
    let size = reader.size();
    let mut found = Vec::new();
    for block in reader.by_ref() {
        let Ok(block) = block else { return };
        found.push(block);
    }
    let ascending = found.windows(2).all(|two| two[0].0 < two[1].0);
    assert!(ascending && found.last().is_none_or(|(index, _)| *index < blocks(size)), "out of order: {found:?}");
    let Ok(mut writer) = Writer::new(Vec::new(), size) else { panic!("a size of {size} is read, and not written") };
    for (index, digest) in &found {
        assert!(writer.push(*index, *digest).is_ok(), "block {index} of {size} bytes is read, and not written");
    }
    let Ok((bytes, fingerprint)) = writer.finish() else { panic!("writing to memory failed") };
    assert_eq!(reader.fingerprint(), Some(fingerprint), "read to its end");
    assert_eq!(Reader::new(bytes.as_slice()).and_then(Reader::check).ok(), Some(fingerprint), "written and read");
}

/// Two bytes for the end, an older block for each bit of the next eight, then any bytes as a journal. What was read of it
/// is what stands there, and lies over the older blocks as a map of blocks says.
pub(crate) fn journal(input: &[u8]) {
    let Some((head, bytes)) = input.split_at_checked(10) else { return };
    let end = u64::from(head[0]) << 8 | u64::from(head[1]);
    let older: BTreeMap<u64, Digest> = (0..64)
        .filter(|bit| head[2 + bit / 8] >> (bit % 8) & 1 == 1)
        .map(|bit| (bit as u64, Digest([7; 16])))
        .collect();
    let records: Vec<Record> = Records::new(bytes).collect();
    let again: Vec<u8> = records.iter().flat_map(Record::bytes).collect();
    assert!(bytes.starts_with(&again), "read otherwise than it stands there: {records:?}");
    let mut expected = older.clone();
    for record in &records {
        expected.retain(|index, _| !record.blocks.contains(index));
        expected
            .extend(record.blocks.clone().zip(&record.digests).filter_map(|(index, digest)| Some((index, (*digest)?))));
    }
    expected.retain(|index, _| *index < end);
    let older = older.into_iter().map(Ok);
    let mut found = Vec::new();
    for block in overlay(older, records.into_iter(), end) {
        let Ok(block) = block else { panic!("no block was unreadable") };
        found.push(block);
    }
    assert!(found.iter().copied().eq(expected), "the later does not win: {found:?}");
}

/// Reads `json` and, if it is one, writes it again.
fn again<T: DeserializeOwned + Serialize + PartialEq>(json: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(json).ok()?;
    let Ok(text) = serde_json::to_vec(&read) else { panic!("what was read cannot be written") };
    assert!(
        serde_json::from_slice::<T>(&text).is_ok_and(|second| second == read),
        "not the same when written and read"
    );
    Some(read)
}

/// A byte for the kind, then JSON: a request or record, or for the last kind a path.
pub(crate) fn request(input: &[u8]) {
    let Some((kind, json)) = input.split_first() else { return };
    match kind % 8 {
        0 => drop(again::<mover::Sync>(json)),
        1 => drop(again::<mover::Present>(json)),
        2 => drop(again::<mover::Compare>(json)),
        3 => drop(again::<mover::OfPoint>(json)),
        4 => drop(again::<mover::Refusal>(json)),
        5 => drop(again::<Point>(json)),
        6 => drop(again::<Order>(json)),
        _ => {
            let Ok(text) = std::str::from_utf8(json) else { return };
            let Ok(place) = Place::parse(text) else { return };
            let down = |part| matches!(part, Component::Normal(_));
            assert!(Path::new(place.as_str()).components().all(down), "{text:?} leads elsewhere");
            assert_eq!(Path::new(place.as_str()).components().count(), text.split('/').count(), "{text:?}");
        }
    }
}

/// An order as JSON and a line break, then changes (see [`changes`]) for its disks in turn, to a receiver on a real folder,
/// in which an older copy of a disk and a link that leads out of it lie as well.
///
/// What it takes, it keeps: the fingerprint is that of the file, and the next point can carry all of it. Nothing appears
/// beside its folder, and what it refuses leaves no point.
pub(crate) fn order(input: &[u8]) {
    let line = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(order) = serde_json::from_slice::<Order>(&input[..line]) else { return };
    let Some(Ok(folder)) = ["/dev/shm", "/tmp"].iter().map(tempfile::tempdir_in).find(Result::is_ok) else {
        panic!("no folder for files that live shortly")
    };
    let export = folder.path().join("export");
    let ready = std::fs::create_dir_all(export.join("old"))
        .and_then(|()| std::fs::write(export.join("old/disk.img"), [7; 3 * BLOCK]))
        .and_then(|()| std::os::unix::fs::symlink("..", export.join("out")));
    assert!(ready.is_ok(), "{}", export.display());
    let (Ok(disk), Ok(again)) = (Disk::open_folder(&export), Disk::open_folder(&export)) else { panic!("{export:?}") };
    let Ok(top) = Place::parse("points") else { panic!("that is a name") };
    let points = Points::new(disk, top.clone(), "boot".to_owned());
    let made = receive(&points, &again, &top, &order, input.get(line + 1..).unwrap_or_default());
    let beside = std::fs::read_dir(folder.path()).into_iter().flatten().count();
    assert_eq!(beside, 1, "something lies beside the folder");
    let Ok(there) = points.list(&order.group) else { panic!("the points cannot be listed") };
    match made {
        Ok(point) => {
            assert_eq!(there, [point], "made, and not there");
            assert!(points.verify(&order.group, &order.point).is_ok(), "made, and not right");
            assert!(matches!(points.open(&order), Ok(Opened::Whole(_))), "made, and not known");
            carry(&points, order);
        }
        Err(refused) => {
            drop(refused.to_string());
            assert!(there.is_empty(), "refused, and there");
        }
    }
}

/// Takes all volumes of a point that is there over into the next one.
fn carry(points: &Points<Disk>, order: Order) {
    let Ok(point) = PointId::parse("next") else { panic!("that is a name") };
    if point == order.point {
        return;
    }
    let next = Order {
        base: Some(order.point),
        point,
        carried: order.volumes.into_keys().collect(),
        volumes: BTreeMap::new(),
        folders: BTreeMap::new(),
        disks: BTreeMap::new(),
        ..order
    };
    let made = match points.open(&next) {
        Ok(Opened::Partial(partial)) => partial.commit(),
        other => panic!("it is not begun: {other:?}"),
    };
    assert!(made.is_ok(), "not carried: {made:?}");
    assert!(points.verify(&next.group, &next.point).is_ok(), "carried, and not right");
}

fn receive(points: &Points<Disk>, disk: &Disk, top: &Place, order: &Order, input: &[u8]) -> Result<Point, PointError> {
    let Opened::Partial(mut partial) = points.open(order)? else { panic!("there is no point yet") };
    let Ok(folder) = Place::parse(&format!("{top}/{}/{}.partial", order.group, order.point)) else {
        panic!("names are places")
    };
    let each = changes(input);
    for (number, name) in order.disks.keys().enumerate() {
        let mine = each.iter().filter(|change| change.disk % order.disks.len() == number);
        let mut working = partial.disk(name)?;
        for change in mine {
            match change.fill {
                Some(fill) => {
                    let length = usize::try_from(change.length).unwrap_or_default() % LONGEST;
                    working.apply(&Change::Write { offset: change.offset, bytes: &vec![fill; length] })?;
                }
                None => {
                    let end = change.offset.saturating_add(u64::from(change.length) * ZEROS);
                    working.apply(&Change::Zero { range: change.offset..end })?;
                }
            }
        }
        let (fingerprint, owner) = content(disk, &folder.join(name));
        partial.done(name, working.finish(fingerprint, owner)?);
    }
    partial.commit()
}

/// Bytes of a write at most: more than a receiver takes at once.
const LONGEST: usize = STRIDE_BYTES + BLOCK;
/// A unit of zeros, in bytes, so that they reach over the largest image.
const ZEROS: u64 = 4096;
/// Changes of an input at most; more are slower, not other.
const MOST: usize = 64;

/// What a sender says.
struct Made {
    disk: usize,
    offset: u64,
    length: u32,
    /// None: zeros.
    fill: Option<u8>,
}

/// Sixteen bytes each: `u8` disk, `u8` 0 = zeros, `u8` what is written, `u8` nothing, `u32` length, `u64` offset.
fn changes(input: &[u8]) -> Vec<Made> {
    let change = |bytes: &[u8; 16]| {
        let [disk, kind, fill, _, length @ .., _, _, _, _, _, _, _, _] = bytes;
        let [.., a, b, c, d, e, f, g, h] = bytes;
        Made {
            disk: usize::from(*disk),
            offset: u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            length: u32::from_le_bytes(*length),
            fill: (*kind != 0).then_some(*fill),
        }
    };
    input.as_chunks().0.iter().take(MOST).map(change).collect()
}

/// What a file holds, and whose it is.
fn content(disk: &Disk, place: &Place) -> (Fingerprint, Owner) {
    let read = || {
        let file = disk.open(place).ok()?;
        let size = file.size().ok()?;
        let mut newer = Writer::new(std::io::sink(), size).ok()?;
        let none = std::iter::empty();
        scan::<_, _, _, Infallible>(&file, size, Look::Data, none, 0, &mut newer, &mut |_| Ok(())).ok()?;
        Some((newer.finish().ok()?.1, file.owner().ok()?))
    };
    let Some(read) = read() else { panic!("{place} cannot be read") };
    read
}
