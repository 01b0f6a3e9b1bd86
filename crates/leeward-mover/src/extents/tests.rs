use super::*;
use crate::bed::place;
use crate::block::BLOCK;
use crate::disk::{Disk, DiskFile};
use crate::layer::{Layer, Readable};
use crate::manifest::{Fingerprint, Reader, Writer};
use crate::scan::{Change, Look, Scanned, scan};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::convert::Infallible;

const PAGE: u64 = 4096;

/// Extents of some of 40 pages; `None` is a hole, and equal numbers lie at the same place.
fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let page = proptest::option::of(proptest::option::of(0u64..4));
    proptest::collection::vec(page, 40).prop_map(|pages| {
        let pages = (0u64..).zip(pages).filter_map(|(page, known)| Some((page, known?)));
        let extent = |(page, known): (u64, Option<u64>)| Extent {
            logical: page * PAGE..(page + 1) * PAGE,
            shared: known.map(|place| (place * 1000 + page) * PAGE),
        };
        // Neighbours become one extent, as the kernel does it.
        pages.map(extent).fold(Vec::new(), |mut all: Vec<Extent>, next| {
            match all.last_mut() {
                Some(last) if last.logical.end == next.logical.start && joins(last, &next) => {
                    last.logical.end = next.logical.end
                }
                _ => all.push(next),
            }
            all
        })
    })
}

fn joins(last: &Extent, next: &Extent) -> bool {
    match (last.shared, next.shared) {
        (Some(one), Some(other)) => one + (last.logical.end - last.logical.start) == other,
        (one, other) => one == other,
    }
}

fn at(extents: &[Extent], byte: u64) -> Option<Option<u64>> {
    let extent = extents.iter().find(|extent| extent.logical.contains(&byte))?;
    Some(extent.shared.map(|start| start + byte - extent.logical.start))
}

proptest! {
    #[test]
    fn a_byte_is_unchanged_only_if_both_are_holes_or_lie_at_one_place(older in extents(), newer in extents(), size in 0u64..41 * PAGE) {
        let changed = changed(&older, &newer, size);
        prop_assert!(changed.windows(2).all(|pair| pair[0].end < pair[1].start));
        prop_assert!(changed.iter().all(|range| range.start < range.end && range.end <= size));
        for page in 0..size.div_ceil(PAGE) {
            let byte = page * PAGE;
            let (was, is) = (at(&older, byte), at(&newer, byte));
            let same = was == is && was != Some(None);
            prop_assert_eq!(!changed.iter().any(|range| range.contains(&byte)), same, "page {}", page);
        }
    }
}

fn manifest(file: &DiskFile, look: Look<'_>, older: &[u8], older_size: u64) -> (Vec<u8>, Fingerprint, Scanned) {
    let size = file.size().unwrap();
    let mut writer = Writer::new(Vec::new(), size).unwrap();
    let mut each = |_: Change<'_>| Ok::<_, Infallible>(());
    let scanned = match older {
        [] => scan(file, size, look, std::iter::empty(), older_size, &mut writer, &mut each).unwrap(),
        older => scan(file, size, look, Reader::new(older).unwrap(), older_size, &mut writer, &mut each).unwrap(),
    };
    let (bytes, fingerprint) = writer.finish().unwrap();
    (bytes, fingerprint, scanned)
}

/// What is done to a clone.
#[derive(Debug, Clone)]
enum Act {
    Write(u64, usize, u8),
    Zero(u64, u64),
    Size(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let end = 40 * BLOCK as u64;
    prop_oneof![
        4 => (0..end, 1..3 * BLOCK, 0u8..3).prop_map(|(at, length, byte)| Act::Write(at, length, byte)),
        1 => (0..end, 0..3 * BLOCK as u64).prop_map(|(at, length)| Act::Zero(at, at + length)),
        1 => (0..end).prop_map(Act::Size),
    ]
}

fn act_on(file: &DiskFile, acts: &[Act]) {
    for act in acts {
        match act {
            Act::Write(at, length, byte) => file.write_at(*at, &vec![*byte; *length]).unwrap(),
            Act::Zero(start, end) => file.zero(*start..*end).unwrap(),
            Act::Size(size) => file.set_size(*size).unwrap(),
        }
    }
}

#[test]
fn a_clone_that_was_written_to_is_read_the_same_either_way() {
    let Some(xfs) = crate::bed::Xfs::mount() else { return };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    let acts = (proptest::collection::vec(act(), 1..12), proptest::collection::vec(act(), 0..6));
    let told = runner.run(&acts, |(first, second)| {
        let sites = xfs.sites();
        let disk: &Disk = &sites.east;
        act_on(&disk.create(&place("older")).unwrap(), &first);
        disk.clone_file(&place("older"), &place("newer")).unwrap();
        let (older, newer) = (disk.open(&place("older")).unwrap(), disk.open(&place("newer")).unwrap());
        act_on(&newer, &second);
        let size = older.size().unwrap();
        let (base, ..) = manifest(&older, Look::Data, &[], size);
        let whole = manifest(&newer, Look::Data, &base, size);
        let ranges = may_differ(&older, &newer).unwrap();
        let some = manifest(&newer, Look::Changed(&ranges), &base, size);
        prop_assert_eq!(some.1, whole.1);
        prop_assert_eq!((some.2.written, some.2.zeroed), (whole.2.written, whole.2.zeroed));
        Ok(())
    });
    told.unwrap();
}

#[test]
fn what_a_clone_shares_is_not_read() {
    let Some(xfs) = crate::bed::Xfs::mount() else { return };
    let sites = xfs.sites();
    let disk = &sites.east;
    disk.create(&place("older")).unwrap().write_at(0, &vec![7; 64 * BLOCK]).unwrap();
    disk.clone_file(&place("older"), &place("newer")).unwrap();
    let (older, newer) = (disk.open(&place("older")).unwrap(), disk.open(&place("newer")).unwrap());
    assert_eq!(may_differ(&older, &newer).unwrap(), []);
    newer.write_at(9 * BLOCK as u64, &[1]).unwrap();
    let changed = may_differ(&older, &newer).unwrap();
    let bytes: u64 = changed.iter().map(|range| range.end - range.start).sum();
    assert!(
        changed.iter().any(|range| range.contains(&(9 * BLOCK as u64))) && bytes <= 4 * BLOCK as u64,
        "{changed:?}"
    );
}
