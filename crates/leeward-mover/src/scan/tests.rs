use super::*;
use crate::manifest::{Fingerprint, Reader};
use proptest::prelude::*;
use std::cell::RefCell;
use std::convert::Infallible;

/// An image in memory whose holes are the zero pages of 4 KiB, and which says which pages were read.
#[derive(Debug, Clone, Default)]
struct Image {
    bytes: Vec<u8>,
    read: RefCell<Vec<Range<u64>>>,
}

const PAGE: u64 = 4096;

impl Image {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), read: RefCell::default() }
    }
}

impl Readable for Image {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = self.bytes.len().min(offset as usize);
        let read = buffer.len().min(self.bytes.len() - from);
        buffer[..read].copy_from_slice(&self.bytes[from..from + read]);
        self.read.borrow_mut().push(offset..offset + read as u64);
        Ok(read)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let pages: Vec<bool> = self.bytes.chunks(PAGE as usize).map(|page| !crate::block::is_zero(page)).collect();
        let data = |page: &u64| pages[*page as usize];
        let count = pages.len() as u64;
        let Some(start) = (from / PAGE..count).find(data) else { return Ok(None) };
        let end = (start..count).find(|page| !data(page)).unwrap_or(count);
        Ok(Some((start * PAGE).max(from)..(end * PAGE).min(self.bytes.len() as u64)))
    }
}

struct Outcome {
    image: Vec<u8>,
    manifest: Vec<u8>,
    fingerprint: Fingerprint,
    scanned: Scanned,
}

/// Scans `newer` against `older` and does what the scan says to a copy of `older`.
fn run(older: &[u8], older_manifest: Option<&[u8]>, newer: &Image, look: Look<'_>) -> Outcome {
    let size = newer.bytes.len() as u64;
    let mut image = older.to_vec();
    image.resize(newer.bytes.len(), 0);
    let mut writer = Writer::new(Vec::new(), size).unwrap();
    let mut last = 0;
    let mut each = |change: Change<'_>| -> Result<(), Infallible> {
        let range = match &change {
            Change::Write { offset, bytes } => *offset..offset + bytes.len() as u64,
            Change::Zero { range } => range.clone(),
        };
        assert!(range.start >= last && range.start % BLOCK_BYTES == 0 && !range.is_empty() && range.end <= size);
        assert!(range.end % BLOCK_BYTES == 0 || range.end == size);
        last = range.end;
        let target = &mut image[range.start as usize..range.end as usize];
        match change {
            Change::Write { bytes, .. } => {
                assert!(bytes.len() <= STRIDE as usize * BLOCK);
                target.copy_from_slice(bytes);
            }
            Change::Zero { .. } => target.fill(0),
        }
        Ok(())
    };
    let scanned = match older_manifest {
        Some(manifest) => {
            let reader = Reader::new(manifest).unwrap();
            scan(newer, size, look, reader, older.len() as u64, &mut writer, &mut each).unwrap()
        }
        None => scan(newer, size, look, std::iter::empty(), size, &mut writer, &mut each).unwrap(),
    };
    let (manifest, fingerprint) = writer.finish().unwrap();
    Outcome { image, manifest, fingerprint, scanned }
}

/// Images of some blocks: each block is zero, or full of one byte, or has one byte set somewhere.
fn image() -> impl Strategy<Value = Vec<u8>> {
    let block = prop_oneof![
        3 => Just((0u8, 0usize)),
        2 => (1u8..4).prop_map(|fill| (fill, BLOCK)),
        2 => (1u8..4, 0..BLOCK),
    ];
    (proptest::collection::vec(block, 0..12), 0..BLOCK).prop_map(|(blocks, cut)| {
        let mut bytes = Vec::new();
        for (fill, at) in blocks {
            let start = bytes.len();
            bytes.resize(start + BLOCK, if at == BLOCK { fill } else { 0 });
            if at < BLOCK {
                bytes[start + at] = fill;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

/// Pages in which the two differ, and some in which they do not.
fn changed(older: &[u8], newer: &[u8], more: u64) -> Vec<Range<u64>> {
    let end = newer.len() as u64;
    let differs = |page: &Range<u64>| {
        let range = page.start as usize..page.end as usize;
        older.get(range.clone()) != newer.get(range)
    };
    let pages = (0..end.div_ceil(PAGE)).map(|page| page * PAGE..((page + 1) * PAGE).min(end));
    pages.filter(|page| differs(page) || (more >> (page.start / PAGE % 64)) & 1 == 1).collect()
}

proptest! {
    #[test]
    fn every_way_of_looking_gives_the_source(older in image(), newer in image(), more in any::<u64>()) {
        let base = run(&[], None, &Image::new(&older), Look::Everything);
        prop_assert_eq!(&base.image, &older);
        let ranges = changed(&older, &newer, more);
        let mut found = Vec::new();
        for look in [Look::Data, Look::Everything, Look::Changed(&ranges)] {
            let outcome = run(&older, Some(&base.manifest), &Image::new(&newer), look);
            prop_assert_eq!(&outcome.image, &newer);
            found.push((outcome.fingerprint, outcome.scanned.written, outcome.scanned.zeroed));
        }
        prop_assert_eq!(found[0].0, found[2].0);
        prop_assert_eq!(found[0], found[1]);
        prop_assert!(found[2].1 == found[0].1, "what is changed is sent once, however it was found");
        let again = run(&newer, Some(&run(&[], None, &Image::new(&newer), Look::Data).manifest), &Image::new(&newer), Look::Data);
        prop_assert_eq!((again.scanned.written, again.scanned.zeroed), (0, 0));
    }
}

#[test]
fn holes_are_not_read_and_unchanged_blocks_neither() {
    let mut bytes = vec![0; 100 * BLOCK];
    bytes[50 * BLOCK..51 * BLOCK].fill(7);
    let image = Image::new(&bytes);
    let first = run(&[], None, &image, Look::Data);
    assert_eq!(first.scanned, Scanned { read: BLOCK_BYTES, written: BLOCK_BYTES, zeroed: 0 });
    let nothing = run(&bytes, Some(&first.manifest), &image, Look::Changed(&[]));
    assert_eq!(nothing.scanned, Scanned::default());
    assert_eq!(nothing.fingerprint, first.fingerprint);
}

#[test]
fn an_image_that_shrinks_while_it_is_read_is_an_error() {
    let image = Image::new(&[1; BLOCK]);
    let mut writer = Writer::new(Vec::new(), 2 * BLOCK_BYTES).unwrap();
    let mut each = |_: Change<'_>| Ok::<_, Infallible>(());
    let found = scan(&image, 2 * BLOCK_BYTES, Look::Everything, std::iter::empty(), 0, &mut writer, &mut each);
    assert!(matches!(found, Err(ScanError::Shrunk { .. })), "{found:?}");
}

#[test]
fn who_takes_the_changes_can_stop_the_scan() {
    let image = Image::new(&[1; BLOCK]);
    let mut writer = Writer::new(Vec::new(), BLOCK_BYTES).unwrap();
    let found = scan(&image, BLOCK_BYTES, Look::Data, std::iter::empty(), 0, &mut writer, &mut |_| Err("enough"));
    assert!(matches!(found, Err(ScanError::Sink("enough"))), "{found:?}");
}
