//! Undo logs: what a point's disk held before the next point was written over it, where files cannot share blocks.
//!
//! ```text
//! <point>/.undo/<volume>/<file>.head    JSON: the next point, and what the file was at this one; without it there is no log
//! <point>/.undo/<volume>/<file>.bits    a bit for each block: 1 = saved
//! <point>/.undo/<volume>/<file>.bytes   the saved blocks, each at its own place; saved zeros are a hole
//! ```
//!
//! A new point's disk begins as a second name of its base's file, and is written in place. What a point's disk holds is its
//! *view*: of each block, what the first log has that saved it, from the point's own on from next to next, else what the file
//! has ([`crate::view`]). Points that have a file together are a chain: they all have logs but the newest, the tip.
//!
//! Law: at any instant, and whatever a crash forgets, the view of each whole point is what it was when it was made. That is so
//! because of the order of things:
//!
//! 1. *A log comes to be*: leftovers go and empty bits and bytes come, with their folders; synced; the head; synced; and only then
//!    the file gets its second name. So a file with two names in a chain has a log in the older point, also if nothing is ever
//!    written (a carried volume): without it a later point would be written over both.
//! 2. *A block is written over, made zero or cut off*: first it is saved, that is synced, its bit is set, that is synced. A
//!    bit that is not set says that the file has the block still; one that is set, that the log has it. The first save counts;
//!    a repeated one writes the same bytes.
//! 3. *A log is rolled back*, when the point behind it is neither there nor being made, and only by who makes a point of the group:
//!    the saved blocks go back into the file, with its length and owner; synced; the head goes; synced; then the rest. Until the
//!    head is gone the view takes the blocks from the log, then it takes the same ones from the file. This is not hurried: it is
//!    done when the point is the base of another.
//! 4. *A point is withdrawn*: first it loses its name (`.gone`), then its logs are handed over: the blocks that the log of the
//!    point before it has not saved go there, as in 2; then that log's head names the point behind; synced; then the folder goes.
//!    Until then the way leads through the folder without a name. Withdrawn first and handed over later, for otherwise a crash
//!    between would leave a whole point that no log leads to, and the next rollback would take its bytes away.
//!
//! Who goes on after another was killed sees all that it did, and none of it need be on stable storage: so bits, heads and names
//! that are found done are synced again before anything is built on them.
//!
//! What is somebody else's damage costs the points that need the log, and no others: a head that cannot be is refused, a log that
//! has saved something is read before it is believed, and a file is neither rolled back nor joined while a point that has it has no
//! log: that one would lose its bytes.
//!
//! "The next point is there" means that its folder has, under the same name, *the same file* (inode): so nothing is taken for the
//! next point that only has its name. A working copy whose file has more names than its own is gone on with only if its base
//! has the log for it; else it starts anew. Steps 3 and 4, which change which logs there are, exclude each other by a lock.

use crate::block::{BLOCK, BLOCK_BYTES, LARGEST, blocks, is_zero};
use crate::error::PointError;
use crate::layer::{Layer, LayerFile, Owner, read_exact_at};
use crate::paths::Paths;
use crate::place::Place;
use crate::points::record::{load, save, sync_folder};
use crate::scan::STRIDE_BYTES;
use crate::working::folders;
use bits::Bits;
pub(crate) use bits::read_or_zeros;
use leeward_model::name::PointId;
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Range;

mod batch;
mod bits;
pub(crate) mod chain;
pub(crate) mod gone;

pub(crate) use batch::Batch;

const HEAD: &str = ".head";
const BITS: &str = ".bits";
const BYTES: &str = ".bytes";

/// What a log is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    /// Another one for each log, so that one that came in place of another is not taken for it.
    id: u64,
    /// The point that was made, or is being made, from this one.
    pub(crate) next: PointId,
    /// Bytes of the disk at this point.
    pub(crate) size: u64,
    /// Whose it was.
    pub(crate) owner: Owner,
}

/// A log.
#[derive(Debug)]
pub(crate) struct Log<F> {
    pub(crate) head: Head,
    bits: Bits<F>,
    bytes: F,
}

impl Head {
    /// The head of a disk's log, if it has one.
    pub(crate) fn load<L: Layer>(layer: &L, paths: &Paths) -> Result<Option<Self>, PointError> {
        let place = paths.undo.with_suffix(HEAD);
        let head: Option<Self> = load(layer, &place)?;
        match head {
            Some(Self { size, .. }) if size > LARGEST => {
                Err(PointError::Record { place, why: format!("no disk has {size} bytes") })
            }
            head => Ok(head),
        }
    }

    /// Puts it on stable storage.
    fn save<L: Layer>(&self, layer: &L, paths: &Paths) -> Result<(), PointError> {
        save(layer, &paths.undo.with_suffix(HEAD), self)?;
        sync_folder(layer, paths.undo.parent().as_ref())
    }
}

impl<F: LayerFile> Log<F> {
    /// A disk's log, if it has one.
    pub(crate) fn open<L: Layer<File = F>>(layer: &L, paths: &Paths) -> Result<Option<Self>, PointError> {
        let Some(head) = Head::load(layer, paths)? else { return Ok(None) };
        let open = |suffix: &str| {
            let place = paths.undo.with_suffix(suffix);
            layer.open(&place).map_err(PointError::files("opening", &place))
        };
        Ok(Some(Self { head, bits: Bits(open(BITS)?), bytes: open(BYTES)? }))
    }

    /// The same to be read alone, of a disk whose log has this head; none if it is just going.
    pub(crate) fn look<L: Layer<File = F>>(layer: &L, paths: &Paths, head: &Head) -> io::Result<Option<Self>> {
        let open = |suffix: &str| match layer.open_to_read(&paths.undo.with_suffix(suffix)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        let (bits, bytes) = (open(BITS)?, open(BYTES)?);
        Ok(bits.zip(bytes).map(|(bits, bytes)| Self { head: head.clone(), bits: Bits(bits), bytes }))
    }

    /// A new one, on stable storage, that has saved nothing. The disk must have none.
    fn create<L: Layer<File = F>>(layer: &L, paths: &Paths, head: Head) -> Result<Self, PointError> {
        folders(layer, &paths.undo)?;
        // Who removed an earlier log may have been killed: its head must not come back with what is made here.
        sync_folder(layer, paths.undo.parent().as_ref())?;
        let create = |suffix: &str| {
            let place = paths.undo.with_suffix(suffix);
            layer.remove(&place).map_err(PointError::files("clearing the place of", &place))?;
            layer.create(&place).map_err(PointError::files("making", &place))
        };
        let log = Self { head, bits: Bits(create(BITS)?), bytes: create(BYTES)? };
        for folder in std::iter::successors(paths.undo.parent(), Place::parent) {
            sync_folder(layer, Some(&folder))?;
            if folder == paths.point {
                break;
            }
        }
        log.head.save(layer, paths)?;
        Ok(log)
    }

    /// Removes it: the view is then that of the file.
    fn remove<L: Layer<File = F>>(layer: &L, paths: &Paths) -> Result<(), PointError> {
        let remove = |suffix: &str| {
            let place = paths.undo.with_suffix(suffix);
            layer.remove(&place).map_err(PointError::files("removing", &place))
        };
        remove(HEAD)?;
        sync_folder(layer, paths.undo.parent().as_ref())?;
        remove(BITS)?;
        remove(BYTES)
    }

    /// Makes that these blocks may be written over in `image`: they are saved, on stable storage.
    pub(crate) fn protect(&self, image: &F, ranges: &[Range<u64>]) -> io::Result<()> {
        let mut news = false;
        for blocks in ranges {
            news |= self.save(image, blocks.clone())?;
        }
        if !news {
            return Ok(());
        }
        self.bytes.sync()?;
        for blocks in ranges {
            self.bits.set(self.own(blocks.clone()))?;
        }
        self.bits.sync()
    }

    /// Puts on stable storage what another has said to be saved: it may have been killed before it did so.
    fn settle(&self) -> io::Result<()> {
        self.bits.sync()
    }

    /// Whether it has saved nothing.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        self.bits.is_empty()
    }

    /// Those of `range` that the disk had at its point.
    fn own(&self, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(blocks(self.head.size));
        range.start.min(end)..end
    }

    /// Copies those of `blocks` that are not saved, without saying that they are. Whether there were any.
    fn save(&self, from: &F, blocks: Range<u64>) -> io::Result<bool> {
        let mut news = false;
        self.bits.runs(self.own(blocks), false, &mut |run| {
            news = true;
            let end = (run.end * BLOCK_BYTES).min(self.head.size);
            copy(from, &self.bytes, run.start * BLOCK_BYTES..end)
        })?;
        Ok(news)
    }

    /// Calls `each` for the runs of blocks that are saved.
    pub(crate) fn saved(
        &self,
        blocks: Range<u64>,
        each: &mut dyn FnMut(Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.bits.runs(self.own(blocks), true, each)
    }

    /// The saved blocks, at their places; between them nothing that means anything.
    pub(crate) fn bytes(&self) -> &F {
        &self.bytes
    }

    /// Gives the file back what it held, and removes the log. Nobody may have the file behind this point.
    fn roll_back<L: Layer<File = F>>(&self, layer: &L, paths: &Paths) -> Result<(), PointError> {
        let files = |doing| PointError::files(doing, &paths.image);
        let size = self.head.size;
        let image = layer.open(&paths.image).map_err(files("opening"))?;
        image.set_size(size).map_err(files("resizing"))?;
        let restored = self.saved(0..blocks(size), &mut |run| {
            let range = run.start * BLOCK_BYTES..(run.end * BLOCK_BYTES).min(size);
            image.zero(range.clone())?;
            copy(&self.bytes, &image, range)
        });
        restored.map_err(files("giving back its old blocks to"))?;
        image.set_owner(self.head.owner).map_err(files("giving an owner to"))?;
        image.sync().map_err(files("putting on stable storage"))?;
        Self::remove(layer, paths)
    }
}

/// Copies what is not zero of a range of bytes to the same place in another file, where there are zeros.
fn copy<F: LayerFile>(from: &F, to: &F, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    let mut buffer = Vec::new();
    while let Some(data) = from.next_data(at)? {
        let data = data.start.max(at)..data.end.min(range.end);
        if data.is_empty() {
            break;
        }
        at = data.start;
        while at < data.end {
            // To the end of a block, so that a piece that is zero is left out.
            let longest = STRIDE_BYTES as u64 - at % BLOCK_BYTES;
            buffer.resize(usize::try_from((data.end - at).min(longest)).unwrap_or_default(), 0);
            read_exact_at(from, at, &mut buffer)?;
            let first = usize::try_from(BLOCK_BYTES - at % BLOCK_BYTES).unwrap_or(BLOCK).min(buffer.len());
            let (head, rest) = buffer.split_at(first);
            for piece in std::iter::once(head).chain(rest.chunks(BLOCK)) {
                if !is_zero(piece) {
                    to.write_at(at, piece)?;
                }
                at += piece.len() as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests;
