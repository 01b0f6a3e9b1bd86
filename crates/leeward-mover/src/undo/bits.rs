//! Which blocks a log has saved: a bit each, in a file that is read and written by pages.

use crate::layer::{LayerFile, Readable, read_up_to};
use std::io;
use std::ops::Range;

/// Blocks whose bits are looked at together: 4 KiB of them, for half a gibibyte of an image.
const PAGE: u64 = 8 * (4 << 10);

/// The bits of a log. What is behind the file's end is not set.
#[derive(Debug)]
pub(super) struct Bits<F>(pub(super) F);

impl<F: LayerFile> Bits<F> {
    /// Calls `each` for the runs of blocks that are saved, or are not; a run ends at a page's end.
    pub(super) fn runs(
        &self,
        blocks: Range<u64>,
        saved: bool,
        each: &mut dyn FnMut(Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        for page in pages(blocks) {
            let (first, bytes) = self.page(&page)?;
            let mut run = page.start..page.start;
            for block in page.clone() {
                if is_set(&bytes, block - first) == saved {
                    run.end = block + 1;
                    continue;
                }
                if !run.is_empty() {
                    each(run.clone())?;
                }
                run = block + 1..block + 1;
            }
            if !run.is_empty() {
                each(run)?;
            }
        }
        Ok(())
    }

    /// Says of blocks that they are saved.
    pub(super) fn set(&self, blocks: Range<u64>) -> io::Result<()> {
        for page in pages(blocks) {
            let (first, mut bytes) = self.page(&page)?;
            let before = bytes.clone();
            for bit in page.start - first..page.end - first {
                bytes[place(bit).0] |= place(bit).1;
            }
            if bytes != before {
                self.0.write_at(first / 8, &bytes)?;
            }
        }
        Ok(())
    }

    /// Whether none was ever set.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.0.size()? == 0)
    }

    /// Puts them on stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    /// The bytes with the bits of blocks of one page, and the block of the first bit.
    fn page(&self, blocks: &Range<u64>) -> io::Result<(u64, Vec<u8>)> {
        let (from, to) = (blocks.start / 8, blocks.end.div_ceil(8));
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or_default()];
        read_or_zeros(&self.0, from, &mut bytes)?;
        Ok((from * 8, bytes))
    }
}

fn pages(blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let next = move |at: u64| (at < blocks.end).then(|| at..blocks.end.min((at / PAGE + 1) * PAGE));
    std::iter::successors(next(blocks.start), move |page| next(page.end))
}

fn place(bit: u64) -> (usize, u8) {
    (usize::try_from(bit / 8).unwrap_or_default(), 1 << (bit % 8))
}

fn is_set(bytes: &[u8], bit: u64) -> bool {
    bytes[place(bit).0] & place(bit).1 != 0
}

/// Reads; what is behind the file's end is zero.
pub(crate) fn read_or_zeros(file: &impl Readable, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let read = read_up_to(file, offset, buffer)?;
    buffer[read..].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Layer;
    use crate::place::Place;
    use crate::sim::Sim;
    use std::collections::BTreeSet;

    #[test]
    fn bits_are_what_was_set_across_pages() {
        let sim = Sim::new(false);
        let bits = Bits(sim.create(&Place::parse("bits").unwrap()).unwrap());
        let mut set = BTreeSet::new();
        for range in [3..4, 7..9, PAGE - 2..PAGE + 3, 3 * PAGE..3 * PAGE, 2 * PAGE + 5..2 * PAGE + 6] {
            bits.set(range.clone()).unwrap();
            set.extend(range);
        }
        for range in [0..3 * PAGE, 8..PAGE + 1, 5..5, 4 * PAGE..4 * PAGE + 9] {
            for saved in [true, false] {
                let mut found = Vec::new();
                bits.runs(range.clone(), saved, &mut |run| {
                    found.extend(run);
                    Ok(())
                })
                .unwrap();
                let expected: Vec<u64> = range.clone().filter(|block| set.contains(block) == saved).collect();
                assert!(found == expected, "{range:?} {saved}");
            }
        }
        assert_eq!(bits.0.size().unwrap(), (2 * PAGE + 5) / 8 + 1);
    }
}
