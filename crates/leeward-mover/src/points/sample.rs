//! Looks at a disk without reading all of it.

use crate::block::{BLOCK_BYTES, Digest, blocks, length};
use crate::error::PointError;
use crate::layer::{Layer, read_exact_at};
use crate::paths::Paths;
use crate::working::{self, Whole};

/// Blocks of a disk that are read: enough that a disk of which a hundredth is damaged is found out with nine chances in ten.
const SAMPLE: u64 = 256;

/// A number that depends on all bits of `seed`: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Some of `all` blocks, ascending: one in each of as many parts of equal length.
fn some(all: u64, lot: u64) -> impl Iterator<Item = u64> {
    let parts = all.min(SAMPLE);
    (0..parts).map(move |part| {
        let (start, end) = (all * part / parts, all * (part + 1) / parts);
        start + mixed(lot ^ mixed(part)) % (end - start)
    })
}

/// Whether a disk has its length, a whole manifest of its fingerprint, and in some blocks what that says.
pub(super) fn check<L: Layer>(layer: &L, paths: &Paths, whole: &Whole, lot: u64) -> Result<(), PointError> {
    let (image, size) = (working::open_whole(layer, paths, whole)?, whole.size);
    let mut manifest = working::whole_manifest(layer, paths)?;
    let unread = |error| PointError::manifest(&paths.image)(error);
    let mut chosen = some(blocks(size), lot).peekable();
    let other = |index: u64| paths.touched(format!("it is another at byte {}", index * BLOCK_BYTES));
    let check = |index: u64, expected: Option<Digest>| {
        let mut block = vec![0; length(index, size)];
        read_exact_at(&image, index * BLOCK_BYTES, &mut block).map_err(PointError::files("reading", &paths.image))?;
        if Digest::of(&block) == expected { Ok(()) } else { Err(other(index)) }
    };
    for block in &mut manifest {
        let (index, digest) = block.map_err(unread)?;
        while let Some(zero) = chosen.next_if(|chosen| *chosen < index) {
            check(zero, None)?;
        }
        if chosen.next_if_eq(&index).is_some() {
            check(index, Some(digest))?;
        }
    }
    chosen.try_for_each(|zero| check(zero, None))?;
    match manifest.fingerprint() {
        Some(found) if found == whole.fingerprint => Ok(()),
        found => Err(paths.touched(format!("its manifest's fingerprint is {found:?} and was {}", whole.fingerprint))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_and_another_lot_gives_another() {
        for all in [0, 1, 255, 256, 257, 1_000_000] {
            let chosen: Vec<u64> = some(all, 7).collect();
            assert_eq!(chosen.len() as u64, all.min(SAMPLE));
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen.iter().all(|index| *index < all));
        }
        assert_ne!(some(1_000_000, 1).collect::<Vec<_>>(), some(1_000_000, 2).collect::<Vec<_>>());
        assert_eq!(some(1_000_000, 1).collect::<Vec<_>>(), some(1_000_000, 1).collect::<Vec<_>>());
    }
}
