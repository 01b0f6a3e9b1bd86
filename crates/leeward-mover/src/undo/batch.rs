//! Changes that wait until what they write over is saved: together, for each saving costs two syncs.

use super::Log;
use crate::block::{BLOCK_BYTES, blocks};
use crate::layer::LayerFile;
use crate::scan::Change;
use std::io;
use std::ops::Range;

/// What waits at most, in bytes and in changes.
const BYTES: usize = 2 << 20;
const CHANGES: usize = 256;

/// A change that owns its bytes.
#[derive(Debug)]
enum Held {
    Write(u64, Vec<u8>),
    Zero(Range<u64>),
}

impl Held {
    fn change(&self) -> Change<'_> {
        match self {
            Self::Write(offset, bytes) => Change::Write { offset: *offset, bytes },
            Self::Zero(range) => Change::Zero { range: range.clone() },
        }
    }

    fn blocks(&self) -> Range<u64> {
        match self {
            Self::Write(offset, bytes) => offset / BLOCK_BYTES..blocks(offset + bytes.len() as u64),
            Self::Zero(range) => range.start / BLOCK_BYTES..blocks(range.end),
        }
    }
}

/// What is written to a file that an older point has too, and the log that saves what that one needs.
#[derive(Debug)]
pub(crate) struct Batch<F> {
    pub(crate) log: Log<F>,
    held: Vec<Held>,
    bytes: usize,
}

impl<F: LayerFile> Batch<F> {
    /// Nothing waits.
    pub(crate) fn new(log: Log<F>) -> Self {
        Self { log, held: Vec::new(), bytes: 0 }
    }

    /// Takes a change. Whether there are so many now that they have to be done.
    pub(crate) fn hold(&mut self, change: &Change<'_>) -> bool {
        self.held.push(match change {
            Change::Write { offset, bytes } => {
                self.bytes += bytes.len();
                Held::Write(*offset, bytes.to_vec())
            }
            Change::Zero { range } => Held::Zero(range.clone()),
        });
        self.bytes >= BYTES || self.held.len() >= CHANGES
    }

    /// Saves what the changes write over in `image`, and gives them out to be done.
    pub(crate) fn protect(&mut self, image: &F) -> io::Result<Ready> {
        self.bytes = 0;
        let held = std::mem::take(&mut self.held);
        let ranges: Vec<Range<u64>> = held.iter().map(Held::blocks).collect();
        self.log.protect(image, &ranges)?;
        Ok(Ready(held))
    }
}

/// Changes that may be done.
#[derive(Debug)]
pub(crate) struct Ready(Vec<Held>);

impl Ready {
    /// Each of them.
    pub(crate) fn each<E>(self, mut done: impl FnMut(&Change<'_>) -> Result<(), E>) -> Result<(), E> {
        self.0.into_iter().try_for_each(|held| done(&held.change()))
    }
}
