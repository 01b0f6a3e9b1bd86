//! One disk of a point that is being made: the working copy, the manifest of what it holds, and the journal of what was
//! written since.
//!
//! Law: at any instant at which the process may be killed, manifest and journal say of no block that it holds what it does
//! not hold, unless the block is one that this point's source has different, and so will be sent again. That is why the
//! journal follows the image. After a crash of the machine neither is believed.
//!
//! Where files cannot share blocks the working copy *is* its base's file, by a second name, and what the base needs is saved before
//! it is written over: [`crate::undo`].

use crate::block::{BLOCK, BLOCK_BYTES, Digest, blocks, length};
use crate::error::PointError;
use crate::journal::{Record, Records, overlay};
use crate::layer::{Identity, Layer, LayerFile, Owner, Readable, Stream, read_exact_at};
use crate::manifest::{Fingerprint, ManifestError, Reader, Writer};
use crate::paths::Paths;
use crate::place::Place;
use crate::scan::{Change, Look, STRIDE, ScanError, scan};
use crate::undo::Batch;
use crate::view::View;
use std::convert::Infallible;
use std::io::{BufReader, BufWriter};

pub(crate) use begin::Start;
use begin::{begin, there};

mod begin;

/// The manifest of a working copy.
const STATE: &str = ".state";
/// The journal of a working copy.
const JOURNAL: &str = ".journal";
/// Of a manifest that is being written.
const NEW: &str = ".new";
/// Bytes of an image that are written before the file system is told to begin: it would otherwise wait for the end, or for a
/// tenth of the machine's memory.
const BEHIND: u64 = 8 << 20;
/// Bytes of a manifest that are read or written at once.
const BUFFER: usize = 256 << 10;

/// A manifest that is read from a file.
pub type Manifest<F> = Reader<BufReader<Stream<F>>>;

/// A disk that can be written to.
#[derive(Debug)]
pub struct Working<'a, L: Layer> {
    layer: &'a L,
    paths: Paths,
    image: L::File,
    journal: Stream<L::File>,
    size: u64,
    /// Blocks before this one were passed.
    at: u64,
    /// What was written, from the first byte on that the file system was not told to begin with; how much that is.
    behind: (u64, u64),
    /// If the image is the base's file: what waits until the base's blocks are saved.
    batch: Option<Batch<L::File>>,
}

/// A disk that holds all of its source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Whole {
    /// Its bytes.
    pub size: u64,
    /// Over all of them.
    pub fingerprint: Fingerprint,
    /// The file as it was left: who changes it later is found out.
    pub identity: Identity,
}

impl<'a, L: Layer> Working<'a, L> {
    /// Opens a disk for a source of `size` bytes. `base` is the same disk of the point it is made from; a new one begins with `start`.
    pub(crate) fn open(
        layer: &'a L,
        paths: Paths,
        base: Option<&Paths>,
        start: impl FnOnce() -> Result<Start, PointError>,
        size: u64,
    ) -> Result<Self, PointError> {
        let place = paths.image.clone();
        let files = |doing| PointError::files(doing, &place);
        let (state, journal) = (paths.blocks.with_suffix(STATE), paths.blocks.with_suffix(JOURNAL));
        // A crash may have left one of the two folders and not the other.
        folders(layer, &paths.image)?;
        folders(layer, &paths.blocks)?;
        let there = there(layer, &paths, base)?;
        let is_known = there.is_some() && exists(layer, &state)?;
        if is_known {
            settle(layer, &paths)?;
        } else {
            layer.remove(&state).map_err(files("clearing away the manifest of"))?;
        }
        // Its records are in the manifest now, or are not believed: so they go before there is a manifest that they could be added to.
        layer.remove(&journal).map_err(files("clearing away the journal of"))?;
        let (image, log) = match there {
            Some((image, log)) => {
                if !is_known {
                    digest(layer, &paths, &image)?;
                }
                (image, log)
            }
            None => begin(layer, &paths, &start()?)?,
        };
        let file = layer.create(&journal).map_err(files("making the journal of"))?;
        if let Some(log) = log.as_ref().filter(|log| size < log.head.size) {
            let cut = size / BLOCK_BYTES..blocks(log.head.size);
            log.protect(&image, &[cut]).map_err(files("saving what is cut off of"))?;
        }
        resize(layer, &paths, &image, size)?;
        let batch = log.map(Batch::new);
        Ok(Self { layer, paths, image, journal: Stream::new(file, 0), size, at: 0, behind: (0, 0), batch })
    }

    /// What it holds.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn state(&self) -> Result<Manifest<L::File>, PointError> {
        read(self.layer, &self.paths.blocks.with_suffix(STATE), &self.paths.image)
    }

    /// Does what the sender found to be different.
    ///
    /// # Errors
    /// The file system; a change that no scan of this disk gives.
    pub fn apply(&mut self, change: &Change<'_>) -> Result<(), PointError> {
        let place = self.paths.image.clone();
        let range = match change {
            Change::Write { offset, bytes } => *offset..offset.saturating_add(bytes.len() as u64),
            Change::Zero { range } => range.clone(),
        };
        let aligned = |at: u64| at.is_multiple_of(BLOCK_BYTES);
        let longest = STRIDE * BLOCK_BYTES;
        let too_long = matches!(change, Change::Write { bytes, .. } if bytes.len() as u64 > longest);
        let nonsense = range.start >= range.end
            || range.end > self.size
            || !aligned(range.start)
            || !(aligned(range.end) || range.end == self.size)
            || range.start < self.at * BLOCK_BYTES
            || too_long;
        if nonsense {
            let what = format!("bytes {range:?} of {place}, which has {}", self.size);
            return Err(PointError::Request { what });
        }
        self.at = blocks(range.end);
        let Some(batch) = &mut self.batch else { return self.write(change) };
        if batch.hold(change) { self.flush() } else { Ok(()) }
    }

    /// Does what waits.
    fn flush(&mut self) -> Result<(), PointError> {
        let Some(batch) = &mut self.batch else { return Ok(()) };
        let saved = batch.protect(&self.image);
        let ready = saved.map_err(PointError::files("saving what is written over in", &self.paths.image))?;
        ready.each(|change| self.write(change))
    }

    fn write(&mut self, change: &Change<'_>) -> Result<(), PointError> {
        let place = &self.paths.image;
        match change {
            Change::Write { offset, bytes } => {
                self.image.write_at(*offset, bytes).map_err(PointError::files("writing", place))?;
                let end = offset + bytes.len() as u64;
                self.write_behind(end, bytes.len() as u64);
                let blocks = offset / BLOCK_BYTES..blocks(end);
                let digests = bytes.chunks(BLOCK).map(Digest::of).collect();
                self.record(&Record { blocks, digests })
            }
            Change::Zero { range } => {
                self.image.zero(range.clone()).map_err(PointError::files("making a hole in", place))?;
                let blocks = range.start / BLOCK_BYTES..blocks(range.end);
                Record::zeros(blocks).try_for_each(|record| self.record(&record))
            }
        }
    }

    /// Tells the file system from time to time to begin: `length` bytes more were written, up to `end`.
    fn write_behind(&mut self, end: u64, length: u64) {
        let (start, written) = self.behind;
        self.behind.1 = written + length;
        if self.behind.1 >= BEHIND {
            self.image.write_behind(start..end);
            self.behind = (end, 0);
        }
    }

    fn record(&mut self, record: &Record) -> Result<(), PointError> {
        std::io::Write::write_all(&mut self.journal, &record.bytes())
            .map_err(PointError::files("writing the journal of", &self.paths.image))
    }

    /// Compares with the source's fingerprint. It is not on stable storage by then: that is for the whole point to do, for all disks
    /// together ([`synced`]).
    ///
    /// # Errors
    /// The file system; [`PointError::Differs`].
    pub fn finish(mut self, sent: Fingerprint, owner: Owner) -> Result<Whole, PointError> {
        self.flush()?;
        let place = &self.paths.image;
        let found = merge(self.layer, &self.paths, self.size, &self.paths.manifest())?;
        if found != sent {
            // What is here is not what it is said to be. The next attempt digests it.
            let state = self.paths.blocks.with_suffix(STATE);
            self.layer.remove(&state).map_err(PointError::files("clearing away the manifest of", place))?;
            let (sent, found) = (sent.to_string(), found.to_string());
            return Err(PointError::Differs { place: place.clone(), sent, found });
        }
        self.image.set_owner(owner).map_err(PointError::files("giving an owner to", place))?;
        let identity = self.image.identity().map_err(PointError::files("looking at", place))?;
        Ok(Whole { size: self.size, fingerprint: found, identity })
    }
}

/// The files of a finished disk that have to be on stable storage before it is a point's.
pub(crate) fn synced(paths: &Paths) -> [Place; 2] {
    [paths.image.clone(), paths.manifest()]
}

/// Removes what only a working copy has.
pub(crate) fn clear<L: Layer>(layer: &L, paths: &Paths) -> Result<(), PointError> {
    for suffix in [STATE, JOURNAL] {
        let place = paths.blocks.with_suffix(suffix);
        layer.remove(&place).map_err(PointError::files("clearing away", &place))?;
        let new = place.with_suffix(NEW);
        layer.remove(&new).map_err(PointError::files("clearing away", &new))?;
    }
    Ok(())
}

/// Removes a copy that was begun by another and whose manifest was lost; what is sure of itself stays.
pub(crate) fn drop_doubted<L: Layer>(layer: &L, paths: &Paths) -> Result<(), PointError> {
    if exists(layer, &paths.blocks.with_suffix(STATE))? {
        return Ok(());
    }
    layer.remove(&paths.image).map_err(PointError::files("clearing the place of", &paths.image))
}

/// Makes that the copy's manifest is no longer believed.
pub(crate) fn doubt<L: Layer>(layer: &L, paths: &Paths) -> Result<(), PointError> {
    let state = paths.blocks.with_suffix(STATE);
    layer.remove(&state).map_err(PointError::files("clearing away", &state))
}

pub(crate) fn exists<L: Layer>(layer: &L, place: &Place) -> Result<bool, PointError> {
    match layer.open(place) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(PointError::Files { doing: "opening", place: place.clone(), source }),
    }
}

pub(crate) fn read<L: Layer>(layer: &L, manifest: &Place, about: &Place) -> Result<Manifest<L::File>, PointError> {
    let file = layer.open(manifest).map_err(PointError::files("opening", manifest))?;
    Reader::new(BufReader::with_capacity(BUFFER, Stream::new(file, 0))).map_err(PointError::manifest(about))
}

/// The manifest of a whole point's disk.
pub(crate) fn whole_manifest<L: Layer>(layer: &L, paths: &Paths) -> Result<Manifest<L::File>, PointError> {
    let place = paths.manifest();
    let file = layer.open_to_read(&place).map_err(|error| paths.unopened(&place, error))?;
    Reader::new(BufReader::with_capacity(BUFFER, Stream::new(file, 0))).map_err(PointError::manifest(&paths.image))
}

/// Manifest and journal become one manifest.
fn settle<L: Layer>(layer: &L, paths: &Paths) -> Result<(), PointError> {
    let state = paths.blocks.with_suffix(STATE);
    let size = read(layer, &state, &paths.image)?.size();
    merge(layer, paths, size, &state).map(drop)
}

/// Gives image and manifest another size, before anything is written to either.
fn resize<L: Layer>(layer: &L, paths: &Paths, image: &L::File, size: u64) -> Result<(), PointError> {
    let place = &paths.image;
    let state = paths.blocks.with_suffix(STATE);
    let older = read(layer, &state, place)?;
    let old = older.size();
    // Where it is right already it keeps its marks: a carried volume's file is the base's too.
    if image.size().map_err(PointError::files("measuring", place))? != size {
        image.set_size(size).map_err(PointError::files("resizing", place))?;
    }
    if old == size {
        return Ok(());
    }
    // The smaller one's last block has another length now, and so another digest.
    let edge = blocks(old.min(size)).checked_sub(1);
    let bad = PointError::manifest(place);
    let push = |writer: &mut Writer<_>, block: Option<(u64, Digest)>| match block {
        Some((index, digest)) => writer.push(index, digest).map_err(&bad),
        None => Ok(()),
    };
    write(layer, &state, size, |writer| {
        let mut edge = edge;
        for block in older {
            let (index, digest) = block.map_err(&bad)?;
            if index >= blocks(size) {
                break;
            }
            if let Some(edge) = edge.take_if(|edge| *edge <= index) {
                push(writer, read_block(image, edge, size, place)?)?;
                if edge == index {
                    continue;
                }
            }
            push(writer, Some((index, digest)))?;
        }
        match edge {
            Some(edge) => push(writer, read_block(image, edge, size, place)?),
            None => Ok(()),
        }
    })
    .map(drop)
}

fn read_block<F: LayerFile>(
    image: &F,
    index: u64,
    size: u64,
    place: &Place,
) -> Result<Option<(u64, Digest)>, PointError> {
    let mut block = vec![0; length(index, size)];
    read_exact_at(image, index * BLOCK_BYTES, &mut block).map_err(PointError::files("reading", place))?;
    Ok(Digest::of(&block).map(|digest| (index, digest)))
}

/// Writes the manifest of what a working copy of `size` bytes holds to `to`.
fn merge<L: Layer>(layer: &L, paths: &Paths, size: u64, to: &Place) -> Result<Fingerprint, PointError> {
    let bad = PointError::manifest(&paths.image);
    let older = read(layer, &paths.blocks.with_suffix(STATE), &paths.image)?;
    let journal = paths.blocks.with_suffix(JOURNAL);
    let records = match layer.open(&journal) {
        Ok(file) => Some(Records::new(BufReader::with_capacity(BUFFER, Stream::new(file, 0)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(PointError::Files { doing: "opening", place: journal, source }),
    };
    write(layer, to, size, |writer| {
        for block in overlay(older, records.into_iter().flatten(), blocks(size)) {
            let (index, digest) = block.map_err(&bad)?;
            writer.push(index, digest).map_err(&bad)?;
        }
        Ok(())
    })
}

/// Digests all of an image.
fn digest<L: Layer>(layer: &L, paths: &Paths, image: &L::File) -> Result<Fingerprint, PointError> {
    let size = image.size().map_err(PointError::files("measuring", &paths.image))?;
    write(layer, &paths.blocks.with_suffix(STATE), size, |writer| {
        let none = std::iter::empty();
        let scanned = scan::<_, _, _, Infallible>(image, size, Look::Data, none, size, writer, &mut |_| Ok(()));
        scanned.map(drop).map_err(|error| unread(error, &paths.image, |never| match never {}))
    })
}

/// Why `place` could not be scanned; what its changes were taken for is told by `sink`.
fn unread<E>(error: ScanError<E>, place: &Place, sink: impl FnOnce(E) -> PointError) -> PointError {
    let place = place.clone();
    match error {
        ScanError::Read { source, .. } => PointError::Files { doing: "reading", place, source },
        ScanError::Manifest(source) => PointError::Manifest { place, source },
        ScanError::Shrunk { .. } => PointError::Shrunk { place },
        ScanError::Sink(error) => sink(error),
    }
}

/// Writes a manifest beside `to` and puts it there. A working copy's is not believed after a crash of the machine, so it need not be
/// on stable storage.
fn write<L: Layer>(
    layer: &L,
    to: &Place,
    size: u64,
    fill: impl FnOnce(&mut Writer<BufWriter<Stream<L::File>>>) -> Result<(), PointError>,
) -> Result<Fingerprint, PointError> {
    let new = to.with_suffix(NEW);
    let bad = PointError::manifest(to);
    layer.remove(&new).map_err(PointError::files("clearing away", &new))?;
    let file = layer.create(&new).map_err(PointError::files("making", &new))?;
    let mut writer = Writer::new(BufWriter::with_capacity(BUFFER, Stream::new(file, 0)), size).map_err(&bad)?;
    fill(&mut writer)?;
    let (buffer, fingerprint) = writer.finish().map_err(&bad)?;
    buffer.into_inner().map_err(|error| bad(ManifestError::Io(error.into_error())))?;
    layer.rename(&new, to).map_err(PointError::files("naming", to))?;
    Ok(fingerprint)
}

/// Makes the folders that `place` is in.
pub(crate) fn folders<L: Layer>(layer: &L, place: &Place) -> Result<(), PointError> {
    let Some(parent) = place.parent() else { return Ok(()) };
    folders(layer, &parent)?;
    layer.create_folder(&parent).map_err(PointError::files("making", &parent))
}

/// Whether a whole disk was not written to since: by the file's own marks, without reading it. A file that the next point was
/// written over has other marks, or its log has saved something; then its view is read.
pub(crate) fn check_untouched<L: Layer>(layer: &L, paths: &Paths, whole: &Whole) -> Result<(), PointError> {
    let place = &paths.image;
    let image = layer.open_to_read(place).map_err(|error| paths.unopened(place, error))?;
    let now = image.identity().map_err(PointError::files("looking at", place))?;
    let is_bare = || open_whole(layer, paths, whole)?.is_bare().map_err(PointError::files("looking at", place));
    if is_untouched(&now, whole) && is_bare()? { Ok(()) } else { check(layer, paths, whole) }
}

/// Whether a whole disk's file still has the marks it was left with. Its links and owner may change; its bytes may not.
pub(crate) fn is_untouched(now: &Identity, whole: &Whole) -> bool {
    let then = &whole.identity;
    (now.size, now.inode, now.modified) == (then.size, then.inode, then.modified)
}

/// A whole disk that is there and has its length.
pub(crate) fn open_whole<'a, L: Layer>(layer: &'a L, paths: &Paths, whole: &Whole) -> Result<View<'a, L>, PointError> {
    let place = &paths.image;
    let view = View::open(layer, paths, whole.size)?;
    let size = view.found_size().map_err(PointError::files("measuring", place))?;
    if size != whole.size {
        return Err(paths.touched(format!("it has {size} bytes and had {}", whole.size)));
    }
    Ok(view)
}

/// Whether a whole disk holds what its manifest says: reads it.
pub(crate) fn check<L: Layer>(layer: &L, paths: &Paths, whole: &Whole) -> Result<(), PointError> {
    let (place, image, size) = (&paths.image, open_whole(layer, paths, whole)?, whole.size);
    let touched = |how: String| paths.touched(how);
    let older = whole_manifest(layer, paths)?;
    let mut newer = Writer::new(std::io::sink(), size).map_err(PointError::manifest(place))?;
    let found = scan(&image, size, Look::Data, older, size, &mut newer, &mut |change| {
        Err(match change {
            Change::Write { offset, .. } => offset,
            Change::Zero { range } => range.start,
        })
    });
    let other = |offset| touched(format!("it is another from byte {offset} on"));
    found.map_err(|error| unread(error, place, other))?;
    let (_, fingerprint) = newer.finish().map_err(PointError::manifest(place))?;
    if fingerprint != whole.fingerprint {
        return Err(touched(format!("its fingerprint is {fingerprint} and was {}", whole.fingerprint)));
    }
    Ok(())
}
