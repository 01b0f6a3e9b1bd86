//! Disk images to measure with: sparse, of bytes that do not compress, the same at each run.

use anyhow::{Result, bail, ensure};
use rustix::fs::{SeekFrom, copy_file_range, seek};
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A guest's page, and what it writes at least.
const PAGE: u64 = 4096;
/// Bytes that are compared at once.
const BUFFER: usize = 1 << 20;

/// Pieces of an image of few that are not clones.
const FEW: u64 = 1024;

/// How an image is laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Bytes, holes included.
    pub(super) size: u64,
    /// Bytes that are written.
    pub(super) allocated: u64,
    /// Pieces that they are written in, evenly spread.
    pub(super) extents: u64,
}

/// Bytes without order, by seed.
fn noise(seed: &str) -> blake3::OutputReader {
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof()
}

impl Layout {
    fn extent(&self, number: u64) -> Range<u64> {
        let start = self.size / self.extents * number;
        start..start + self.allocated / self.extents
    }

    /// Makes the image.
    pub(super) fn make(&self, path: &Path, seed: &str) -> Result<()> {
        let file = fs_err::File::create(path)?;
        file.set_len(self.size)?;
        let mut noise = noise(seed);
        let mut bytes = vec![0; usize::try_from(self.allocated / self.extents)?];
        for number in 0..self.extents {
            noise.fill(&mut bytes);
            file.file().write_all_at(&bytes, self.extent(number).start)?;
        }
        Ok(file.sync_all()?)
    }

    /// Makes the image, the pieces behind the first [`FEW`] being clones of those: allocated all the same, and the disk need not
    /// have room for it twice.
    pub(super) fn make_of_few(&self, path: &Path, seed: &str) -> Result<()> {
        let few = self.extents.min(FEW);
        let part = |number: u64| number / self.extents * few;
        Self { size: part(self.size), allocated: part(self.allocated), extents: few }.make(path, seed)?;
        let file = fs_err::OpenOptions::new().read(true).write(true).open(path)?;
        file.set_len(self.size)?;
        for number in few..self.extents {
            let (from, to) = (self.extent(number % few), self.extent(number));
            let (mut from, mut at, length) = (from.start, to.start, usize::try_from(to.end - to.start)?);
            let cloned = copy_file_range(file.file(), Some(&mut from), file.file(), Some(&mut at), length)?;
            ensure!(cloned == length, "only {cloned} of {length} bytes were cloned");
        }
        Ok(file.sync_all()?)
    }

    /// Overwrites so many pages of what is allocated, by seed. Some may be drawn twice.
    pub(super) fn dirty(&self, path: &Path, pages: u64, seed: &str) -> Result<()> {
        let file = fs_err::OpenOptions::new().write(true).open(path)?;
        let mut noise = noise(seed);
        let mut page = vec![0; usize::try_from(PAGE)?];
        for _ in 0..pages {
            let mut drawn = [0; 16];
            noise.fill(&mut drawn);
            noise.fill(&mut page);
            let [extent, at] = [&drawn[..8], &drawn[8..]].map(number);
            let extent = self.extent(extent % self.extents);
            let pages = (extent.end - extent.start) / PAGE;
            file.file().write_all_at(&page, extent.start + at % pages * PAGE)?;
        }
        Ok(file.sync_all()?)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether two files hold the same bytes: what is data in either is read of both.
pub(super) fn ensure_same(one: &Path, other: &Path) -> Result<()> {
    let files = [fs_err::File::open(one)?.into_file(), fs_err::File::open(other)?.into_file()];
    let sizes = [files[0].metadata()?.len(), files[1].metadata()?.len()];
    ensure!(sizes[0] == sizes[1], "{} has {} bytes, {} has {}", one.display(), sizes[0], other.display(), sizes[1]);
    let mut buffers = [vec![0; BUFFER], vec![0; BUFFER]];
    let mut at = 0;
    while let Some(data) = next_data(&files, at, sizes[0])? {
        at = data.start;
        while at < data.end {
            let length = usize::try_from(data.end - at)?.min(BUFFER);
            for (file, buffer) in files.iter().zip(&mut buffers) {
                file.read_exact_at(&mut buffer[..length], at)?;
            }
            if buffers[0][..length] != buffers[1][..length] {
                bail!("{} and {} differ behind byte {at}", one.display(), other.display());
            }
            at += length as u64;
        }
    }
    Ok(())
}

/// The next range at or behind `from` that is data in one of them.
fn next_data(files: &[File; 2], from: u64, size: u64) -> Result<Option<Range<u64>>> {
    let mut next: Option<Range<u64>> = None;
    for file in files {
        let start = match seek(file, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => continue,
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if next.as_ref().is_none_or(|next| start < next.start) {
            next = Some(start..end);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_what_they_should_be_and_a_changed_byte_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let layout = Layout { size: 8 << 20, allocated: 1 << 20, extents: 4 };
        for path in [&one, &other] {
            layout.make(path, "seed").unwrap();
        }
        ensure_same(&one, &other).unwrap();
        let file = File::options().write(true).open(&other).unwrap();
        // In a hole of both.
        file.write_all_at(&[1], (8 << 20) - 1).unwrap();
        assert!(ensure_same(&one, &other).is_err());
        file.write_all_at(&[0], (8 << 20) - 1).unwrap();
        ensure_same(&one, &other).unwrap();
        layout.dirty(&one, 3, "pages").unwrap();
        assert!(ensure_same(&one, &other).is_err());
        layout.dirty(&other, 3, "pages").unwrap();
        ensure_same(&one, &other).unwrap();
        let few = folder.path().join("few");
        let layout = Layout { size: 4 * FEW * PAGE * 2, allocated: 4 * FEW * PAGE, extents: 4 * FEW };
        layout.make_of_few(&few, "seed").unwrap();
        let bytes = std::fs::read(&few).unwrap();
        assert_eq!(bytes.len() as u64, layout.size);
        let extent = |number| layout.extent(number).map(|at| bytes[usize::try_from(at).unwrap()]).collect::<Vec<_>>();
        assert_eq!(extent(5), extent(5 + 3 * FEW));
        assert_ne!(extent(5), extent(6));
        assert!(extent(4 * FEW - 1).iter().any(|byte| *byte != 0));
        file.set_len(1).unwrap();
        assert!(ensure_same(&one, &other).is_err());
    }
}
