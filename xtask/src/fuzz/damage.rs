//! Undo logs that somebody damaged, and what is still read and made with them.

use super::undo::{ALL, How, Image, Story, must, point};
use leeward_model::name::PointId;
use leeward_mover::block::{BLOCK, LARGEST, blocks};
use leeward_mover::layer::Owner;
use serde::Deserialize;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Bits of an input's second byte: there is a third point; the second one carries the volume on; it is shorter.
pub(crate) const THIRD: u8 = 1;
pub(crate) const CARRIED: u8 = 2;
pub(crate) const SHORTER: u8 = 4;
/// The second point is withdrawn.
pub(crate) const WITHDRAWN: u8 = 8;
/// Then a point is made of the first one, or of the newest.
pub(crate) const OF_FIRST: u8 = 16;
pub(crate) const OF_NEWEST: u8 = 32;
/// It carries the volume on.
pub(crate) const CARRIES: u8 = 64;
/// Damages of an input at most.
const MOST: usize = 16;
/// Points that there are at most.
const POINTS: usize = 4;
/// The files of a log.
const FILES: [&str; 4] = ["head", "bits", "bytes", "head"];

/// The head of a log, as its form is described.
#[derive(Deserialize)]
#[allow(dead_code, reason = "what is not there or not of this kind makes a head unreadable")]
struct Head {
    id: u64,
    next: PointId,
    size: u64,
    owner: Owner,
}

struct Log {
    head: Head,
    bits: Vec<u8>,
    bytes: Vec<u8>,
}

/// What is said of a disk by its file and the logs over it.
struct Said {
    bytes: Vec<u8>,
    size: u64,
}

fn image(story: &Story, folder: &str) -> PathBuf {
    story.group().join(folder).join("pv-1/disk.img")
}

fn log(story: &Story, folder: &str, file: &str) -> PathBuf {
    story.group().join(folder).join(format!(".undo/pv-1/disk.img.{file}"))
}

/// The logs from a point on; none if one of them is no log.
fn chain(story: &Story, number: u8) -> Option<Vec<Log>> {
    let inode = |folder: &str| fs::metadata(image(story, folder)).map(|about| about.ino()).ok();
    let mut next = Some(format!("rp-{number}"));
    let file = inode(next.as_deref()?)?;
    let mut logs = Vec::new();
    while let Some(folder) = next.take() {
        let head: Head = match fs::read(log(story, &folder, FILES[0])) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            head => serde_json::from_slice(&head.ok()?).ok()?,
        };
        // Its points may lead in a circle.
        if logs.len() == POINTS || head.size > LARGEST {
            return None;
        }
        let file_of = |file| fs::read(log(story, &folder, file)).ok();
        let (bits, bytes) = (file_of(FILES[1])?, file_of(FILES[2])?);
        let folders = ["", ".gone"].map(|suffix| format!("{}{suffix}", head.next));
        next = folders.into_iter().find(|folder| inode(folder) == Some(file));
        logs.push(Log { head, bits, bytes });
    }
    Some(logs)
}

impl Log {
    fn has(&self, block: usize) -> bool {
        (block as u64) < blocks(self.head.size)
            && self.bits.get(block / 8).is_some_and(|bits| bits >> (block % 8) & 1 == 1)
    }
}

/// A part of a file, with zeros behind its end.
fn part(file: &[u8], at: usize, length: usize) -> Vec<u8> {
    let rest = file.get(at..).unwrap_or_default();
    let mut part = rest[..rest.len().min(length)].to_vec();
    part.resize(length, 0);
    part
}

fn said(story: &Story, number: u8, length: usize) -> Option<Said> {
    let logs = chain(story, number)?;
    let file = fs::read(image(story, &format!("rp-{number}"))).ok()?;
    let mut bytes = Vec::new();
    for block in 0..length.div_ceil(BLOCK) {
        let at = block * BLOCK;
        let from = logs.iter().find(|log| log.has(block)).map_or(&file, |log| &log.bytes);
        bytes.extend(part(from, at, BLOCK.min(length - at)));
    }
    let size = logs.first().map_or(file.len() as u64, |log| log.head.size);
    Some(Said { bytes, size })
}

/// Whether a point is what it was. It is read as its logs say, and verifies exactly if that is right.
fn is_right(story: &Story, number: u8, image: &Image) -> bool {
    let verified = story.verify(number);
    let Some(said) = said(story, number, image.bytes.len()) else {
        assert!(verified.is_err(), "rp-{number} has a log that is none, and verifies");
        return false;
    };
    let right = said.size == image.bytes.len() as u64 && said.bytes == image.bytes;
    assert_eq!(verified.is_ok(), right, "rp-{number}: {verified:?}");
    let read = must(story.read(number, 0), "its logs are whole");
    assert!(read.bytes == said.bytes, "rp-{number} is not read as its logs say");
    right
}

/// `u8` file and log and what, `u8` value, `u16` where or how much, little end first; then as many bytes if they are put in the
/// place of the file.
fn break_logs(story: &Story, mut input: &[u8]) {
    for _ in 0..MOST {
        let [what, value, low, high, rest @ ..] = input else { return };
        input = rest;
        let at = u16::from_le_bytes([*low, *high]);
        let path = log(story, &format!("rp-{}", what >> 2 & 1), FILES[usize::from(what & 3)]);
        let old = fs::read(&path);
        let broken = match (what >> 3 & 3, old) {
            (0, Ok(old)) => fs::write(path, part(&old, 0, usize::from(at))),
            (1, Ok(mut old)) => {
                if let Some(byte) = old.get_mut(usize::from(at)) {
                    *byte ^= value;
                }
                fs::write(path, old)
            }
            (2, _) => {
                let (new, rest) = input.split_at(input.len().min(usize::from(at)));
                input = rest;
                fs::write(path, new)
            }
            (_, Ok(_)) => fs::remove_file(path),
            (_, Err(_)) => Ok(()),
        };
        // The newest point has no folder for logs.
        drop(broken);
    }
}

fn begin(flags: u8) -> Story {
    let mut story = Story::new();
    let read = [How::Read, How::Left];
    let longest = 5 * BLOCK + 100;
    story.resize(0, longest);
    story.write(0, 0..longest, 1);
    story.write(0, 4 * BLOCK..5 * BLOCK, 0);
    must(story.make(0, None, read, ALL), "the first point");
    if flags & CARRIED == 0 {
        story.write(0, 5..9, 2);
        story.write(0, 2 * BLOCK..4 * BLOCK, 0);
        story.write(0, 4 * BLOCK..longest, 3);
        if flags & SHORTER != 0 {
            story.resize(0, 4 * BLOCK + 7);
        }
    }
    let how = if flags & CARRIED == 0 { How::Read } else { How::Carried };
    must(story.make(1, Some(0), [how, How::Left], ALL), "the second point");
    if flags & THIRD != 0 {
        story.write(0, BLOCK..3 * BLOCK, 4);
        must(story.make(2, Some(1), read, ALL), "the third point");
    }
    story
}

pub(super) fn damage(input: &[u8]) {
    let Some((flags, input)) = input.split_first() else { return };
    let is = |flag: u8| flags & flag != 0;
    let mut story = begin(*flags);
    break_logs(&story, input);
    let mut right: Vec<(u8, Image)> =
        story.points.iter().map(|(number, images)| (*number, images[&0].clone())).collect();
    right.retain(|(number, image)| is_right(&story, *number, image));
    if is(WITHDRAWN) {
        // It may be refused.
        drop(story.withdraw(1, ALL));
    }
    if is(OF_FIRST) || is(OF_NEWEST) {
        let newest = story.points.keys().next_back().copied();
        let base = if is(OF_FIRST) { Some(0) } else { newest };
        story.write(0, 3 * BLOCK..3 * BLOCK + 5, 9);
        let how = if is(CARRIES) { How::Carried } else { How::Read };
        if story.make(3, base, [how, How::Left], ALL).is_ok() {
            let made = story.points[&3][&0].clone();
            assert!(is_right(&story, 3, &made), "{} is made of what was not right", point(3));
        }
    }
    for (number, image) in right {
        let kept = !story.points.contains_key(&number) || is_right(&story, number, &image);
        assert!(kept, "rp-{number} was right, and is not any more");
    }
    story.check_beside();
}
