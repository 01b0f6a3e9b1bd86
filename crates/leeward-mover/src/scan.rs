//! Reads a source once and says what is different from the manifest of an earlier point.

use crate::block::{BLOCK, BLOCK_BYTES, Digest, blocks, length};
use crate::layer::{Readable, read_exact_at};
use crate::manifest::{ManifestError, Writer};
use std::io::{self, Write};
use std::iter::Peekable;
use std::ops::Range;

/// Blocks that are read at once, and the longest [`Change::Write`]: 1 MiB.
pub const STRIDE: u64 = BLOCKS_AT_ONCE as u64;
/// [`STRIDE`] in bytes.
pub const STRIDE_BYTES: usize = BLOCKS_AT_ONCE * BLOCK;
const BLOCKS_AT_ONCE: usize = 64;

/// What has to be done to the older image. Changes come in ascending order, do not overlap, and begin at a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// These bytes are there now: whole blocks, but for the image's last.
    Write {
        /// Where they begin.
        offset: u64,
        /// At most [`STRIDE`] blocks.
        bytes: &'a [u8],
    },
    /// Zeros are there now.
    Zero {
        /// Where they begin and end.
        range: Range<u64>,
    },
}

/// Which part of the source to read.
#[derive(Debug, Clone, Copy)]
pub enum Look<'a> {
    /// What the file system says is no hole. What it says is a hole is zero.
    Data,
    /// All of it. For file systems that say hole where data is; zeros are still found and not sent.
    Everything,
    /// Only these ranges, which are sorted and do not overlap. All else is as in the older manifest.
    Changed(&'a [Range<u64>]),
}

/// Bytes that a scan has met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Read from the source.
    pub read: u64,
    /// Handed out by [`Change::Write`].
    pub written: u64,
    /// Handed out by [`Change::Zero`].
    pub zeroed: u64,
}

/// A scan that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError<E> {
    /// The source could not be read.
    #[error("reading the source at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The source ended before its size when the scan began.
    #[error("the source became shorter while it was read: it ends before byte {end}")]
    Shrunk {
        /// Where it should have ended, or later.
        end: u64,
    },
    /// The older manifest, or the new one.
    #[error("comparing with the block manifest")]
    Manifest(#[from] ManifestError),
    /// Who takes the changes.
    #[error("handing on a change")]
    Sink(#[source] E),
}

/// Compares `source`, of `size` bytes, with the manifest `older` of an image of `older_size` bytes.
///
/// Every change is given to `each`; `newer`, begun with `size`, gets every block of the source. Blocks of `older` behind `size`
/// are no change: the image is cut to its size first.
///
/// # Errors
/// [`ScanError`]; some changes may have been given by then.
pub fn scan<F, B, W, E>(
    source: &F,
    size: u64,
    look: Look<'_>,
    older: B,
    older_size: u64,
    newer: &mut Writer<W>,
    each: &mut dyn FnMut(Change<'_>) -> Result<(), E>,
) -> Result<Scanned, ScanError<E>>
where
    F: Readable,
    B: Iterator<Item = Result<(u64, Digest), ManifestError>>,
    W: Write,
{
    let regions = Regions { source, size, look, resized: (size != older_size).then_some(size.min(older_size)) };
    let mut out = Out { each, zeros: 0..0, scanned: Scanned::default(), size };
    let mut older = older.peekable();
    let longest = size.min(STRIDE * BLOCK_BYTES);
    let mut buffer = vec![0; usize::try_from(longest).unwrap_or_default()];
    let mut at = 0;
    while at < blocks(size) {
        let region = regions.next(at).map_err(|source| ScanError::Read { offset: at * BLOCK_BYTES, source })?;
        let region = region.unwrap_or(blocks(size)..blocks(size));
        while let Some((index, digest)) = next_before(&mut older, region.start)? {
            match look {
                Look::Changed(_) => newer.push(index, digest)?,
                Look::Data | Look::Everything => out.zero(index)?,
            }
        }
        let mut start = region.start;
        while start < region.end {
            let end = region.end.min(start + STRIDE);
            let offset = start * BLOCK_BYTES;
            let read = usize::try_from((end * BLOCK_BYTES).min(size) - offset).unwrap_or(buffer.len());
            let bytes = &mut buffer[..read];
            read_exact_at(source, offset, bytes).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => ScanError::Shrunk { end: offset + read as u64 },
                _ => ScanError::Read { offset, source },
            })?;
            out.scanned.read += read as u64;
            stride(start, bytes, &mut older, newer, &mut out)?;
            start = end;
        }
        at = region.end;
    }
    out.flush()?;
    Ok(out.scanned)
}

/// Compares blocks that were read together.
fn stride<B, W, E>(
    first: u64,
    bytes: &[u8],
    older: &mut Peekable<B>,
    newer: &mut Writer<W>,
    out: &mut Out<'_, E>,
) -> Result<(), ScanError<E>>
where
    B: Iterator<Item = Result<(u64, Digest), ManifestError>>,
    W: Write,
{
    let mut changed = 0..0;
    for (index, block) in (first..).zip(bytes.chunks(BLOCK)) {
        let from = usize::try_from(index - first).unwrap_or(0) * BLOCK;
        let was = next_before(older, index + 1)?.map(|(_, digest)| digest);
        let is = Digest::of(block);
        if let Some(digest) = is {
            newer.push(index, digest)?;
        }
        if is == was || is.is_none() {
            out.write(first, bytes, &mut changed)?;
        }
        match (is, was) {
            (None, Some(_)) => out.zero(index)?,
            (Some(is), was) if was != Some(is) => {
                if changed.is_empty() {
                    changed = from..from;
                }
                changed.end = from + block.len();
            }
            _ => {}
        }
    }
    out.write(first, bytes, &mut changed)
}

/// The next block of `older` if it is before `end`.
fn next_before<B>(older: &mut Peekable<B>, end: u64) -> Result<Option<(u64, Digest)>, ManifestError>
where
    B: Iterator<Item = Result<(u64, Digest), ManifestError>>,
{
    older.next_if(|block| block.as_ref().map_or(true, |(index, _)| *index < end)).transpose()
}

/// Which blocks to read.
struct Regions<'a, F> {
    source: &'a F,
    size: u64,
    look: Look<'a>,
    /// If the size is another: the smaller one. From there on nothing is as it was.
    resized: Option<u64>,
}

impl<F: Readable> Regions<'_, F> {
    /// The next blocks to read from block `at` on; what lies between is not read.
    fn next(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        let all = blocks(self.size);
        let from = at * BLOCK_BYTES;
        let bytes = match self.look {
            Look::Everything => Some(from..self.size),
            Look::Data => self.source.next_data(from)?,
            Look::Changed(ranges) => {
                let next = ranges[ranges.partition_point(|range| range.end <= from)..].first().cloned();
                let resized = self.resized.filter(|_| from < self.size).map(|smaller| smaller.max(from)..self.size);
                match (next, resized) {
                    (Some(next), Some(resized)) if next.start < resized.start => Some(next),
                    (next, resized) => resized.or(next),
                }
            }
        };
        let region = bytes.map(|range| (range.start / BLOCK_BYTES).max(at)..blocks(range.end).min(all));
        Ok(region.filter(|region| !region.is_empty()))
    }
}

/// Hands changes on, neighbours together.
struct Out<'a, E> {
    each: &'a mut dyn FnMut(Change<'_>) -> Result<(), E>,
    /// Blocks.
    zeros: Range<u64>,
    scanned: Scanned,
    size: u64,
}

impl<E> Out<'_, E> {
    fn zero(&mut self, index: u64) -> Result<(), ScanError<E>> {
        if self.zeros.end != index {
            self.flush()?;
            self.zeros.start = index;
        }
        self.zeros.end = index + 1;
        Ok(())
    }

    /// Hands on `changed`, a range of `bytes` that begin at block `first`, and empties it.
    fn write(&mut self, first: u64, bytes: &[u8], changed: &mut Range<usize>) -> Result<(), ScanError<E>> {
        if changed.start == changed.end {
            return Ok(());
        }
        self.flush()?;
        let offset = first * BLOCK_BYTES + changed.start as u64;
        let bytes = &bytes[changed.clone()];
        *changed = 0..0;
        self.scanned.written += bytes.len() as u64;
        (self.each)(Change::Write { offset, bytes }).map_err(ScanError::Sink)
    }

    fn flush(&mut self) -> Result<(), ScanError<E>> {
        if self.zeros.is_empty() {
            return Ok(());
        }
        let end = self.zeros.end - 1;
        let range = self.zeros.start * BLOCK_BYTES..end * BLOCK_BYTES + length(end, self.size) as u64;
        self.zeros = 0..0;
        self.scanned.zeroed += range.end - range.start;
        (self.each)(Change::Zero { range }).map_err(ScanError::Sink)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests;
