//! What a point's disk holds, whatever was written over its file since: see [`crate::undo`].
//!
//! A reader beside a writer: who writes saves a block and says so before it is written over. So what was read from the file is
//! right where, *afterwards*, no log says that it has the block, if the same logs lead from the point to the tip as before; else it
//! is read again.

use crate::block::{BLOCK_BYTES, blocks};
use crate::duplicate::copy;
use crate::error::PointError;
use crate::layer::{Layer, LayerFile, Owner, Readable};
use crate::paths::Paths;
use crate::place::Place;
use crate::undo::{chain, read_or_zeros};
use std::cell::RefCell;
use std::io;
use std::ops::Range;

/// How often something is read again because the logs changed meanwhile: each time a point was made or withdrawn.
const TRIES: usize = 1000;

/// A point's disk, to be read.
#[derive(Debug)]
pub(crate) struct View<'a, L: Layer> {
    layer: &'a L,
    paths: Paths,
    image: L::File,
    file: (u64, u64),
    size: u64,
    logs: RefCell<chain::Logs<L::File>>,
}

impl<'a, L: Layer> View<'a, L> {
    /// Of a disk that has `size` bytes at its point.
    pub(crate) fn open(layer: &'a L, paths: &Paths, size: u64) -> Result<Self, PointError> {
        let place = &paths.image;
        let image = layer.open_to_read(place).map_err(|error| paths.unopened(place, error))?;
        let file = image.identity().map_err(PointError::files("looking at", place))?.inode;
        let logs = RefCell::new(chain::logs(layer, paths, file)?);
        Ok(Self { layer, paths: paths.clone(), image, file, size, logs })
    }

    /// Whether the file is the disk: no log leads on from it.
    pub(crate) fn is_file(&self) -> bool {
        self.logs.borrow().is_empty()
    }

    /// Bytes that the file has, or that it had at the point by the point's own log.
    pub(crate) fn found_size(&self) -> io::Result<u64> {
        let size = self.steady(|| self.image.size())?;
        Ok(self.logs.borrow().first().map_or(size, |(_, log)| log.head.size))
    }

    /// Whether no log has saved anything: what is read is the file's.
    pub(crate) fn is_bare(&self) -> io::Result<bool> {
        self.logs.borrow().iter().try_fold(true, |bare, (_, log)| Ok(bare && log.is_empty()?))
    }

    /// Whether the logs are still the same.
    pub(crate) fn is_steady(&self) -> Result<bool, PointError> {
        let now = chain::walk(self.layer, &self.paths, self.file)?;
        let logs = self.logs.borrow();
        let then = logs.iter().map(|(paths, log)| (paths, &log.head));
        Ok(then.eq(now.iter().map(|(paths, head)| (paths, head))))
    }

    /// Reads the file until the logs were the same before and after.
    fn steady<T>(&self, mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        for _ in 0..TRIES {
            let found = read()?;
            if self.is_steady().map_err(io::Error::other)? {
                return Ok(found);
            }
            let logs = chain::logs(self.layer, &self.paths, self.file).map_err(io::Error::other)?;
            *self.logs.borrow_mut() = logs;
        }
        Err(io::Error::other("its undo logs change all the time"))
    }

    /// Puts what the logs have saved over what was read from the file at `offset`.
    fn overlay(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        let range = offset / BLOCK_BYTES..blocks(end);
        let length = buffer.len();
        let inside = |at: u64| usize::try_from(at.clamp(offset, end) - offset).unwrap_or(length);
        // The first log that has a block is right: so the others come before it.
        for (_, log) in self.logs.borrow().iter().rev() {
            log.saved(range.clone(), &mut |run| {
                let (start, stop) = (inside(run.start * BLOCK_BYTES), inside(run.end * BLOCK_BYTES));
                read_or_zeros(log.bytes(), offset + start as u64, &mut buffer[start..stop])
            })?;
        }
        Ok(())
    }

    /// Whose the disk was at its point.
    fn owner(&self) -> io::Result<Owner> {
        let owner = self.steady(|| self.image.owner())?;
        Ok(self.logs.borrow().first().map_or(owner, |(_, log)| log.head.owner))
    }
}

impl<L: Layer> Readable for View<'_, L> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        self.steady(|| read_or_zeros(&self.image, offset, buffer))?;
        self.overlay(offset, buffer)?;
        Ok(length)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let in_image = self.steady(|| self.image.next_data(from))?;
        let mut next = in_image;
        for (_, log) in self.logs.borrow().iter() {
            let in_log = log.bytes().next_data(from)?;
            next = match (next, in_log) {
                (Some(next), Some(in_log)) if in_log.start < next.start => Some(in_log),
                (None, in_log) => in_log,
                (next, _) => next,
            };
        }
        let next = next.map(|data| data.start.max(from)..data.end.min(self.size));
        Ok(next.filter(|data| !data.is_empty()))
    }
}

/// A new file with the bytes of a point's disk: a clone if that is possible.
pub(crate) fn duplicate<L: Layer>(layer: &L, paths: &Paths, size: u64, to: &Place) -> Result<(), PointError> {
    let view = View::open(layer, paths, size)?;
    if view.is_file() {
        match layer.clone_file(&paths.image, to) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            cloned => {
                cloned.map_err(PointError::files("cloning", &paths.image))?;
                if view.is_steady()? {
                    return Ok(());
                }
                layer.remove(to).map_err(PointError::files("clearing the place of", to))?;
            }
        }
    }
    copy(layer, &view, &paths.image, to)
}

/// Whose a point's disk is.
pub(crate) fn owner<L: Layer>(layer: &L, paths: &Paths) -> Result<Owner, PointError> {
    let view = View::open(layer, paths, 0)?;
    view.owner().map_err(PointError::files("looking at", &paths.image))
}
