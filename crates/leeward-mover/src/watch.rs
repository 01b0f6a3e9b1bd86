//! What is seen of a transfer while it goes on, and how it is ended early.

use crate::crew::Stop;
use crate::layer::Readable;
use crate::place::Place;
use crate::scan::Scanned;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Who wants to see it. Called from several threads.
pub trait Watch: Sync {
    /// Disks of that many bytes, holes included, will be read.
    fn begun(&self, bytes: u64);
    /// That many of them are done: read, or known to be holes.
    fn passed(&self, bytes: u64);
    /// A disk is whole at the target.
    fn done(&self, disk: &Place, scanned: &Scanned, took: Duration);
}

/// Nobody.
#[derive(Debug, Clone, Copy)]
pub struct Unseen;

impl Watch for Unseen {
    fn begun(&self, _: u64) {}
    fn passed(&self, _: u64) {}
    fn done(&self, _: &Place, _: &Scanned, _: Duration) {}
}

/// A file whose reading is seen, and ends when others have failed: whoever reads an unchanged disk for hours hears nothing of a
/// link that broke.
pub struct Watched<'a, F> {
    file: &'a F,
    watch: &'a dyn Watch,
    stop: &'a Stop,
    passed: AtomicU64,
}

impl<'a, F: Readable> Watched<'a, F> {
    /// `file`, nothing of which was read.
    pub fn new(file: &'a F, watch: &'a dyn Watch, stop: &'a Stop) -> Self {
        Self { file, watch, stop, passed: AtomicU64::new(0) }
    }

    /// All before `to` is done.
    pub fn pass(&self, to: u64) {
        let before = self.passed.fetch_max(to, Ordering::Relaxed);
        self.watch.passed(to.saturating_sub(before));
    }
}

impl<F: Readable> Readable for Watched<'_, F> {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(io::Error::other("another disk has failed"));
        }
        let read = self.file.read_at(offset, buffer)?;
        self.pass(offset + read as u64);
        Ok(read)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.file.next_data(from)
    }
}
