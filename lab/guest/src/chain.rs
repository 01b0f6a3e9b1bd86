//! Reads a disk's chain from its header to its end and says whether it is whole.
//!
//! Laws:
//! - An older state of the same disk is a whole, shorter chain.
//! - After the last record come only zeros; anything else there means that records before it are missing.
//! - The first thing wrong decides: at most one [`Break`] is reported, with the block's number.

use crate::block::{BLOCK, BadBlock, Block, Hash, Header, ImageId, Record};
use std::{
    fmt,
    io::{self, ErrorKind, Read},
};

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A record that must be there is not: a gap, another one in its place, or an end too early.
    Lost,
    /// A block holds something, but not what was once written there.
    Torn,
    /// A whole block of another image, another disk or another virtual machine.
    Foreign,
    /// There is no header: the image was never formatted, or is a new empty one.
    Empty,
}

impl Reason {
    /// As on the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Lost => "lost",
            Reason::Torn => "torn",
            Reason::Foreign => "foreign",
            Reason::Empty => "empty",
        }
    }

    /// From the console.
    pub fn parse(text: &str) -> Option<Reason> {
        [Reason::Lost, Reason::Torn, Reason::Foreign, Reason::Empty].into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first place where a chain is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Block number: 0 is the header, n the place of record n.
    pub at: u64,
    /// What kind of wrong.
    pub reason: Reason,
    /// What was expected and what was found, for people.
    pub detail: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at block {}: {}", self.reason, self.at, self.detail)
    }
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Block 0, if it could be read.
    pub header: Option<Header>,
    /// Whole records in order from number 1, up to the break if there is one.
    pub records: u64,
    /// Number 1.
    pub first: Option<Record>,
    /// The last whole one.
    pub last: Option<Record>,
    /// Hash that the next record has to name as its previous one.
    pub tip: Hash,
    /// Whole blocks that were there to read, the header's included.
    pub blocks: u64,
    /// The first thing wrong; `None` if the chain is whole.
    pub broken: Option<Break>,
}

impl ChainReport {
    /// Whether a guest may go on writing.
    pub fn is_whole(&self) -> bool {
        self.broken.is_none()
    }

    /// The next record, counted as written: the report is then what a scan after the write would find. The caller sees
    /// to it that the chain is whole and the disk is not full.
    pub fn append(&mut self, site: &str, vm: &str, time: u64) -> Record {
        let record = Record {
            number: self.records + 1,
            site: site.to_owned(),
            vm: vm.to_owned(),
            time,
            image: self.header.as_ref().map_or(ImageId([0; 16]), |header| header.image),
            previous: self.tip,
        };
        self.records += 1;
        self.tip = record.to_block().hash();
        self.first.get_or_insert_with(|| record.clone());
        self.last = Some(record.clone());
        record
    }
}

/// What the reader of a disk knows beforehand. Everything it leaves out is taken from the disk itself.
#[derive(Debug, Clone, Default)]
pub struct Expected<'a> {
    /// Serial that the header must name.
    pub serial: Option<&'a str>,
    /// Virtual machine that must have written every record.
    pub vm: Option<&'a str>,
    /// How many blocks after the end must be zeros; `None` = all there are.
    pub look_ahead: Option<u64>,
}

/// [`scan_expecting`] with nothing known beforehand: for image files on the host.
pub fn scan(reader: impl Read) -> io::Result<ChainReport> {
    scan_expecting(reader, &Expected::default())
}

/// Reads a disk or an image file from its start. Fails only if reading fails; what is wrong with the content is in the
/// report.
pub fn scan_expecting(mut reader: impl Read, expected: &Expected<'_>) -> io::Result<ChainReport> {
    let mut scan = Scan {
        report: ChainReport {
            header: None,
            records: 0,
            first: None,
            last: None,
            tip: Hash([0; 32]),
            blocks: 0,
            broken: None,
        },
        hole: None,
    };
    let mut block = Block([0; BLOCK]);
    while read_block(&mut reader, &mut block)? {
        let at = scan.report.blocks;
        scan.report.blocks += 1;
        if let Err(broken) = scan.take(at, &block, expected) {
            scan.report.broken = Some(broken);
            return Ok(scan.report);
        }
        if scan.hole.zip(expected.look_ahead).is_some_and(|(hole, ahead)| at - hole >= ahead) {
            return Ok(scan.report);
        }
    }
    scan.report.broken = scan.end();
    Ok(scan.report)
}

struct Scan {
    report: ChainReport,
    /// First zero block after the records.
    hole: Option<u64>,
}

impl Scan {
    fn take(&mut self, at: u64, block: &Block, expected: &Expected<'_>) -> Result<(), Break> {
        let broken = |reason, detail| Break { at, reason, detail };
        let Some(header) = &self.report.header else {
            let header = Header::from_block(block).map_err(|bad| match bad {
                BadBlock::Zero => broken(Reason::Empty, "no header: the disk was never formatted".to_owned()),
                BadBlock::Torn => broken(Reason::Torn, "the header's own hash does not match".to_owned()),
            })?;
            if let Some(serial) = expected.serial.filter(|serial| **serial != header.serial) {
                let detail = format!("the header is of disk {}, this disk is {serial}", header.serial);
                return Err(broken(Reason::Foreign, detail));
            }
            self.report.tip = block.hash();
            self.report.header = Some(header);
            return Ok(());
        };
        let record = match Record::from_block(block) {
            Ok(record) => record,
            Err(BadBlock::Zero) => {
                self.hole.get_or_insert(at);
                return Ok(());
            }
            Err(BadBlock::Torn) => {
                return Err(broken(Reason::Torn, "not zero, and its own hash does not match".to_owned()));
            }
        };
        let vm = expected.vm.or(self.report.first.as_ref().map(|first| first.vm.as_str())).unwrap_or(&record.vm);
        if record.image != header.image {
            let image = header.image;
            Err(broken(Reason::Foreign, format!("record of image {}, this image is {image}", record.image)))
        } else if record.vm != vm {
            Err(broken(Reason::Foreign, format!("record of virtual machine {}, expected {vm}", record.vm)))
        } else if let Some(hole) = self.hole {
            let detail = format!("block {hole} is empty, but block {at} holds record {}", record.number);
            Err(Break { at: hole, reason: Reason::Lost, detail })
        } else if record.number != at {
            Err(broken(Reason::Lost, format!("record {} is in the place of record {at}", record.number)))
        } else if record.previous != self.report.tip {
            let detail = format!("record {at} follows a record {} that is no longer here", at - 1);
            Err(broken(Reason::Lost, detail))
        } else {
            self.report.records = at;
            self.report.tip = block.hash();
            self.report.first.get_or_insert_with(|| record.clone());
            self.report.last = Some(record);
            Ok(())
        }
    }

    /// Judges the length, once everything could be read.
    fn end(&self) -> Option<Break> {
        let at = self.report.blocks;
        match &self.report.header {
            None => Some(Break { at: 0, reason: Reason::Empty, detail: "smaller than one block".to_owned() }),
            Some(header) if at < header.bytes / BLOCK as u64 => Some(Break {
                at,
                reason: Reason::Lost,
                detail: format!("ends after {at} blocks, was formatted with {}", header.bytes / BLOCK as u64),
            }),
            Some(_) => None,
        }
    }
}

/// False at the end, where less than a block counts as nothing.
fn read_block(reader: &mut impl Read, block: &mut Block) -> io::Result<bool> {
    match reader.read_exact(&mut block.0) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCKS: usize = 24;

    fn disk(records: u64) -> Vec<u8> {
        disk_of("data", ImageId([7; 16]), "db", records)
    }

    fn disk_of(serial: &str, image: ImageId, vm: &str, records: u64) -> Vec<u8> {
        let header = Header { serial: serial.into(), image, created: 1, bytes: (BLOCKS * BLOCK) as u64 };
        let mut disk = vec![0; BLOCKS * BLOCK];
        disk[..BLOCK].copy_from_slice(&header.to_block().0);
        let mut report = scan(&disk[..]).unwrap();
        for _ in 0..records {
            let block = report.append("east", vm, 1000).to_block();
            let at = usize::try_from(report.records).unwrap() * BLOCK;
            disk[at..at + BLOCK].copy_from_slice(&block.0);
        }
        disk
    }

    fn reason(disk: &[u8], expected: &Expected<'_>) -> Option<(u64, Reason)> {
        scan_expecting(disk, expected).unwrap().broken.map(|broken| (broken.at, broken.reason))
    }

    #[test]
    fn a_whole_chain_is_whole() {
        for records in [0, 1, 5, BLOCKS as u64 - 1] {
            let report = scan(&disk(records)[..]).unwrap();
            assert!(report.is_whole(), "{report:?}");
            assert_eq!(report.records, records);
            assert_eq!(report.last.map_or(0, |last| last.number), records);
        }
    }

    #[test]
    fn appending_is_what_a_scan_of_the_result_finds() {
        let disk = disk(9);
        let mut grown = scan(&disk[..]).unwrap();
        let again = scan(&disk[..]).unwrap();
        grown.append("west", "db", 5);
        assert_eq!(grown.records, again.records + 1);
        assert_ne!(grown.tip, again.tip);
        assert_eq!(grown.last.unwrap().previous, again.tip);
    }

    #[test]
    fn no_header_is_empty() {
        assert_eq!(reason(&vec![0; BLOCK * 4], &Expected::default()), Some((0, Reason::Empty)));
        assert_eq!(reason(&[], &Expected::default()), Some((0, Reason::Empty)));
    }

    #[test]
    fn a_shorter_file_has_lost_something() {
        let disk = disk(5);
        assert_eq!(reason(&disk[..BLOCK * 8], &Expected::default()), Some((8, Reason::Lost)));
        assert_eq!(reason(&disk[..BLOCK * 3 + 100], &Expected::default()), Some((3, Reason::Lost)));
    }

    #[test]
    fn a_longer_file_has_not() {
        let mut disk = disk(5);
        disk.resize(BLOCK * 100, 0);
        assert_eq!(reason(&disk, &Expected::default()), None);
    }

    #[test]
    fn foreign_disks_are_found() {
        let mine = Expected { serial: Some("data"), vm: Some("db"), look_ahead: None };
        let other = ImageId([8; 16]);
        assert_eq!(reason(&disk(3), &mine), None);
        assert_eq!(reason(&disk_of("log", other, "db", 3), &mine), Some((0, Reason::Foreign)));
        assert_eq!(reason(&disk_of("data", other, "web", 3), &mine), Some((1, Reason::Foreign)));
        // The same serial and machine, but blocks of another image.
        let mut mixed = disk(5);
        mixed[BLOCK * 4..].copy_from_slice(&disk_of("data", other, "db", 5)[BLOCK * 4..]);
        assert_eq!(reason(&mixed, &mine), Some((4, Reason::Foreign)));
    }

    #[test]
    fn two_histories_of_one_image_do_not_mix() {
        let mut mixed = disk(9);
        let mut report = scan(&disk(3)[..]).unwrap();
        // The other history parts at record 4, and its record 5 lands in this one: whole, of this image, wrong parent.
        report.append("west", "db", 77);
        let block = report.append("west", "db", 78).to_block();
        mixed[BLOCK * 5..BLOCK * 6].copy_from_slice(&block.0);
        assert_eq!(reason(&mixed, &Expected::default()), Some((5, Reason::Lost)));
    }

    #[test]
    fn a_record_that_skips_a_number_is_found() {
        let mut disk = disk(3);
        let mut report = scan(&disk[..]).unwrap();
        let skipping = Record { number: 5, ..report.append("east", "db", 1000) };
        disk[BLOCK * 4..BLOCK * 5].copy_from_slice(&skipping.to_block().0);
        assert_eq!(reason(&disk, &Expected::default()), Some((4, Reason::Lost)));
    }

    #[test]
    fn look_ahead_bounds_what_is_read() {
        let mut disk = disk(3);
        disk[BLOCK * 20] = 1;
        let near = Expected { look_ahead: Some(8), ..Expected::default() };
        assert_eq!(reason(&disk, &near), None);
        let far = Expected { look_ahead: Some(16), ..Expected::default() };
        assert_eq!(reason(&disk, &far), Some((20, Reason::Torn)));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found(records in 0u64..20, block in 0usize..21, byte in 0..BLOCK, flip in 1u8..) {
            let mut disk = disk(records);
            let block = block % (usize::try_from(records).unwrap() + 1);
            disk[block * BLOCK + byte] ^= flip;
            prop_assert_eq!(reason(&disk, &Expected::default()), Some((block as u64, Reason::Torn)));
        }

        #[test]
        fn any_byte_after_the_end_is_found(records in 0u64..20, byte in 0..BLOCK * 3, value in 1u8..) {
            let mut disk = disk(records);
            let end = (usize::try_from(records).unwrap() + 1) * BLOCK;
            disk[end + byte] = value;
            let found = reason(&disk, &Expected::default());
            prop_assert_eq!(found, Some(((end + byte) as u64 / BLOCK as u64, Reason::Torn)));
        }

        #[test]
        fn an_older_state_is_whole_and_shorter(records in 0u64..20, keep in 0u64..20) {
            let keep = keep.min(records);
            let mut disk = disk(records);
            disk[(usize::try_from(keep).unwrap() + 1) * BLOCK..].fill(0);
            let report = scan(&disk[..]).unwrap();
            prop_assert!(report.is_whole());
            prop_assert_eq!(report.records, keep);
        }

        #[test]
        fn swapped_blocks_are_found(records in 2u64..20, a in 0u64..20, b in 0u64..20) {
            let (a, b) = (a % records + 1, b % records + 1);
            prop_assume!(a != b);
            let mut disk = disk(records);
            let (low, high) = (usize::try_from(a.min(b)).unwrap(), usize::try_from(a.max(b)).unwrap());
            let (front, back) = disk.split_at_mut(high * BLOCK);
            front[low * BLOCK..(low + 1) * BLOCK].swap_with_slice(&mut back[..BLOCK]);
            prop_assert_eq!(reason(&disk, &Expected::default()), Some((low as u64, Reason::Lost)));
        }

        #[test]
        fn a_missing_block_is_found(records in 2u64..20, gone in 0u64..20) {
            let gone = gone % (records - 1) + 1;
            let mut disk = disk(records);
            let at = usize::try_from(gone).unwrap() * BLOCK;
            disk[at..at + BLOCK].fill(0);
            prop_assert_eq!(reason(&disk, &Expected::default()), Some((gone, Reason::Lost)));
        }
    }
}
