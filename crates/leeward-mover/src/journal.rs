//! What was written to a working copy since its manifest was written: who goes on with it does not write it again.
//!
//! ```text
//! record   u64 first block  u32 number of blocks  u32 1 = digests follow, 0 = all of them are zero  16 bytes of digest each
//! ```
//!
//! A record is appended *after* its bytes were written to the image. Whoever is killed in between has written what no record
//! says, and writes it again. Nothing here is synced: after a crash of the machine the working copy is digested anew instead.

use crate::block::Digest;
use crate::manifest::ManifestError;
use crate::scan::STRIDE;
use std::io::Read;
use std::iter::Peekable;
use std::ops::Range;

const HEAD: usize = 16;

/// A record: blocks with their digests, or zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Blocks.
    pub blocks: Range<u64>,
    /// For each of them, none if it is zero. Empty if all are.
    pub digests: Vec<Option<Digest>>,
}

impl Record {
    /// As it is written.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.digests.len() * Digest::BYTES);
        bytes.extend_from_slice(&self.blocks.start.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.blocks.end - self.blocks.start).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&u32::from(!self.digests.is_empty()).to_le_bytes());
        for digest in &self.digests {
            // A hash that is all zero is not met.
            bytes.extend_from_slice(&digest.map_or([0; Digest::BYTES], |digest| digest.0));
        }
        bytes
    }

    /// Splits a range of zero blocks so that each record can count its blocks.
    pub fn zeros(blocks: Range<u64>) -> impl Iterator<Item = Self> {
        let step = u64::from(u32::MAX);
        let starts = (blocks.start..blocks.end).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        starts.map(move |start| Self { blocks: start..(start + step).min(blocks.end), digests: Vec::new() })
    }
}

/// Reads the records that were written whole, in order; stops at the first that makes no sense.
#[derive(Debug)]
pub struct Records<R> {
    from: R,
    next: u64,
    ended: bool,
}

impl<R: Read> Records<R> {
    /// Reads from the beginning of a journal.
    pub fn new(from: R) -> Self {
        Self { from, next: 0, ended: false }
    }

    fn read(&mut self) -> Option<Record> {
        let mut head = [0; HEAD];
        self.from.read_exact(&mut head).ok()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let start = u64::from(word(0)) | u64::from(word(4)) << 32;
        let count = u64::from(word(8));
        let end = start.checked_add(count).filter(|_| count > 0 && start >= self.next)?;
        let mut digests = Vec::new();
        match word(12) {
            0 => {}
            1 if count <= STRIDE => {
                for _ in 0..count {
                    let mut digest = [0; Digest::BYTES];
                    self.from.read_exact(&mut digest).ok()?;
                    digests.push((digest != [0; Digest::BYTES]).then_some(Digest(digest)));
                }
            }
            _ => return None,
        }
        self.next = end;
        Some(Record { blocks: start..end, digests })
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.ended {
            return None;
        }
        let record = self.read();
        self.ended = record.is_none();
        record
    }
}

/// The blocks of `older`, but where `records` say otherwise, up to block `end`.
pub fn overlay<B, J>(older: B, records: J, end: u64) -> Overlay<B, J>
where
    B: Iterator<Item = Result<(u64, Digest), ManifestError>>,
    J: Iterator<Item = Record>,
{
    Overlay { older: older.peekable(), records: records.peekable(), at: 0, end }
}

/// See [`overlay`].
pub struct Overlay<B: Iterator, J: Iterator> {
    older: Peekable<B>,
    records: Peekable<J>,
    /// Blocks before this one were given.
    at: u64,
    end: u64,
}

impl<B, J> Iterator for Overlay<B, J>
where
    B: Iterator<Item = Result<(u64, Digest), ManifestError>>,
    J: Iterator<Item = Record>,
{
    type Item = Result<(u64, Digest), ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.records.next_if(|record| record.blocks.end <= self.at).is_some() {}
            let Some(record) = self.records.peek() else { return self.older(self.end) };
            if self.at < record.blocks.start {
                let start = record.blocks.start;
                if let Some(block) = self.older(start.min(self.end)) {
                    return Some(block);
                }
                self.at = start;
                continue;
            }
            // Inside the record: what was older does not count.
            let index = self.at;
            let inside = usize::try_from(index - record.blocks.start).unwrap_or(usize::MAX);
            let next = if record.digests.is_empty() { record.blocks.end } else { index + 1 };
            let digest = record.digests.get(inside).copied().flatten();
            if let Err(error) = self.pass(next) {
                return Some(Err(error));
            }
            self.at = next;
            if let Some(digest) = digest.filter(|_| index < self.end) {
                return Some(Ok((index, digest)));
            }
        }
    }
}

impl<B, J> Overlay<B, J>
where
    B: Iterator<Item = Result<(u64, Digest), ManifestError>>,
    J: Iterator<Item = Record>,
{
    /// The next older block before `end`.
    fn older(&mut self, end: u64) -> Option<Result<(u64, Digest), ManifestError>> {
        let block = self.older.next_if(|block| block.as_ref().map_or(true, |(index, _)| *index < end))?;
        if let Ok((index, _)) = &block {
            self.at = index + 1;
        }
        Some(block)
    }

    /// Passes over older blocks before `end`.
    fn pass(&mut self, end: u64) -> Result<(), ManifestError> {
        while let Some(block) = self.older.next_if(|block| block.as_ref().map_or(true, |(index, _)| *index < end)) {
            block?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn digest(seed: u8) -> Digest {
        Digest([seed; 16])
    }

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let record = (0u64..6, 1u64..5, proptest::collection::vec(proptest::option::of(1u8..9), 4), any::<bool>());
        proptest::collection::vec(record, 0..8).prop_map(|records| {
            let mut at = 0;
            let made = records.into_iter().map(|(gap, count, seeds, zero)| {
                let blocks = at + gap..at + gap + count;
                at = blocks.end;
                let digests = seeds.into_iter().take(count as usize).map(|seed| seed.map(digest));
                Record { blocks, digests: if zero { Vec::new() } else { digests.collect() } }
            });
            made.collect()
        })
    }

    proptest! {
        #[test]
        fn the_later_wins(older in proptest::collection::btree_map(0u64..60, 10u8..20, 0..30), records in records(), end in 0u64..70) {
            let mut expected: BTreeMap<u64, Digest> = older.iter().map(|(&index, &seed)| (index, digest(seed))).collect();
            for record in &records {
                for (at, index) in record.blocks.clone().enumerate() {
                    match record.digests.get(at).copied().flatten() {
                        Some(digest) => expected.insert(index, digest),
                        None => expected.remove(&index),
                    };
                }
            }
            expected.retain(|index, _| *index < end);
            let older = older.into_iter().map(|(index, seed)| Ok((index, digest(seed))));
            let bytes: Vec<u8> = records.iter().flat_map(Record::bytes).collect();
            let read: Vec<Record> = Records::new(bytes.as_slice()).collect();
            prop_assert_eq!(&read, &records);
            let found: Result<BTreeMap<_, _>, _> = overlay(older, read.into_iter(), end).collect();
            prop_assert_eq!(found.unwrap(), expected);
        }

        #[test]
        fn a_cut_journal_gives_its_whole_records(records in records(), cut in 0usize..400) {
            let mut bytes = Vec::new();
            let mut whole = 0;
            for record in &records {
                bytes.extend(record.bytes());
                whole += usize::from(bytes.len() <= cut);
            }
            bytes.truncate(cut);
            prop_assert_eq!(Records::new(bytes.as_slice()).count(), whole);
        }
    }

    #[test]
    fn nonsense_ends_a_journal() {
        let record = |start: u64, end: u64| Record { blocks: start..end, digests: Vec::new() }.bytes();
        let twice = [record(5, 9), record(5, 9)].concat();
        assert_eq!(Records::new(twice.as_slice()).count(), 1);
        let long = Record { blocks: 0..STRIDE + 1, digests: vec![Some(digest(1)); STRIDE as usize + 1] }.bytes();
        assert_eq!(Records::new(long.as_slice()).count(), 0);
        assert_eq!(Record::zeros(0..u64::from(u32::MAX) + 2).count(), 2);
    }
}
