use super::*;
use crate::block::BLOCK;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn digest(seed: u8) -> Digest {
    Digest([seed; 16])
}

fn write(size: u64, blocks: &BTreeMap<u64, u8>) -> (Vec<u8>, Fingerprint) {
    let mut writer = Writer::new(Vec::new(), size).unwrap();
    for (&index, &seed) in blocks {
        writer.push(index, digest(seed)).unwrap();
    }
    writer.finish().unwrap()
}

fn three() -> (Vec<u8>, Fingerprint) {
    write(9 * BLOCK as u64 + 1, &BTreeMap::from([(0, 1), (1, 2), (9, 3)]))
}

proptest! {
    #[test]
    fn what_was_written_is_read(size in 0..200_000 * BLOCK as u64, some in proptest::collection::btree_map(0u64..200_000, 0u8.., 0..300)) {
        let some: BTreeMap<u64, u8> = some.into_iter().filter(|(index, _)| *index < blocks(size)).collect();
        let (bytes, fingerprint) = write(size, &some);
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        prop_assert_eq!(reader.size(), size);
        let read: Result<BTreeMap<_, _>, _> = reader.by_ref().collect();
        prop_assert_eq!(read.unwrap(), some.into_iter().map(|(index, seed)| (index, digest(seed))).collect());
        prop_assert_eq!(reader.fingerprint(), Some(fingerprint));
    }

    #[test]
    fn any_flipped_bit_is_found(at in 0usize..256, bit in 0u8..8) {
        let (mut bytes, _) = three();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(Reader::new(bytes.as_slice()).and_then(Reader::check).is_err());
    }

    #[test]
    fn any_bytes_end_in_an_error_or_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let whole = [&three().0[..HEADER], &bytes].concat();
        let _ = Reader::new(whole.as_slice()).and_then(Reader::check);
    }
}

#[test]
fn a_long_run_is_cut_and_reads_the_same() {
    let all: BTreeMap<u64, u8> = (0..RUN as u64 * 2 + 5).map(|index| (index, index as u8)).collect();
    let (bytes, fingerprint) = write((RUN as u64 * 2 + 5) * BLOCK as u64, &all);
    assert_eq!(Reader::new(bytes.as_slice()).unwrap().check().unwrap(), fingerprint);
}

#[test]
fn a_cut_one_is_short_wherever_it_is_cut() {
    let (bytes, _) = three();
    for length in 0..bytes.len() {
        let read = Reader::new(&bytes[..length]).and_then(Reader::check);
        assert!(matches!(read, Err(ManifestError::Short)), "{length}: {read:?}");
    }
}

#[test]
fn order_and_size_belong_to_the_fingerprint() {
    let one = write(9 * BLOCK as u64, &BTreeMap::from([(0, 1), (1, 2)])).1;
    assert_ne!(one, write(9 * BLOCK as u64, &BTreeMap::from([(0, 2), (1, 1)])).1);
    assert_ne!(one, write(9 * BLOCK as u64, &BTreeMap::from([(0, 1), (2, 2)])).1);
    assert_ne!(one, write(9 * BLOCK as u64 - 1, &BTreeMap::from([(0, 1), (1, 2)])).1);
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), one);
    assert!(serde_json::from_str::<Fingerprint>("\"ab\"").is_err());
}

#[test]
fn the_writer_takes_no_block_twice_or_behind_the_end() {
    let mut writer = Writer::new(Vec::new(), 2 * BLOCK as u64).unwrap();
    writer.push(1, digest(1)).unwrap();
    for wrong in [0, 1, 2, u64::MAX] {
        assert!(writer.push(wrong, digest(1)).is_err(), "{wrong}");
    }
    assert!(Writer::new(Vec::new(), LARGEST + 1).is_err());
}

#[test]
fn another_version_is_named() {
    let (mut bytes, _) = three();
    bytes[8] = 2;
    let error = Reader::new(bytes.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "the block manifest has version 2; this program reads 1");
    assert!(matches!(Reader::new(&b"something else entirely, of some length"[..]), Err(ManifestError::Foreign)));
}
