//! What fuzzing of the movers' link starts from: a call of each method, and conversations about a disk that are right, and not
//! quite.

use super::seed_mover::order_of;
use super::target::{BEGIN, CALLS, CONVERSATION, MESSAGE, field, varint};
use anyhow::{Context, Result};
use leeward_mover::block::{BLOCK, BLOCK_BYTES, Digest};
use leeward_mover::manifest::Writer;

const DISK: &str = "pv-1/disk.img";

/// A field of a protobuf message that holds a number.
fn number(field: u8, value: u64) -> Vec<u8> {
    [&[field << 3], varint(value).as_slice()].concat()
}

fn frame(kind: u8, bytes: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(bytes.len()).context("a frame is short")?;
    Ok([&[kind], length.to_le_bytes().as_slice(), bytes].concat())
}

/// A message about a disk, by its number among those that are.
fn message(kind: u8, inside: &[u8]) -> Result<Vec<u8>> {
    frame(MESSAGE, &field(kind, inside))
}

fn manifest() -> Result<Vec<u8>> {
    message(2, &[])
}

fn write(offset: u64, bytes: &[u8], unpacked: u64) -> Result<Vec<u8>> {
    message(3, &[number(1, offset), field(2, bytes).to_vec(), number(3, unpacked)].concat())
}

fn zero(start: u64, end: u64) -> Result<Vec<u8>> {
    message(4, &[number(1, start), number(2, end)].concat())
}

fn finish(fingerprint: &[u8]) -> Result<Vec<u8>> {
    message(5, &[field(1, fingerprint).to_vec(), number(2, 0), number(3, 0), number(4, 0o600)].concat())
}

/// That of a disk whose second block alone holds something.
fn fingerprint(size: u64, second: &[u8]) -> Result<[u8; 32]> {
    let mut writer = Writer::new(std::io::sink(), size)?;
    writer.push(1, Digest::of(second).context("it is not zero")?)?;
    Ok(writer.finish()?.1.0)
}

/// Calls and conversations.
pub(super) fn link() -> Result<Vec<Vec<u8>>> {
    let order = serde_json::to_vec(&order_of(&[(DISK, 4 * BLOCK_BYTES)]))?;
    let group = field(1, b"shop");
    let asked = [&group, &field(2, b"rp-1"), &field(3, DISK.as_bytes())].map(|field| field.to_vec()).concat();
    let hello = [number(1, 1), number(2, 1), field(3, b"east").to_vec()].concat();
    let messages: [(usize, &[u8]); 9] = [
        (0, &hello),
        (0, &[]),
        (1, &field(1, &order)),
        (2, &field(1, &order)),
        (2, &field(1, b"{}")),
        (3, &field(1, b"0123456789abcdef")),
        (4, &group),
        (5, &asked),
        (6, &[]),
    ];
    let mut seeds = Vec::new();
    for (method, message) in messages {
        seeds.push([&[u8::try_from(method.min(CALLS.len()))?], message].concat());
    }
    let begin = frame(BEGIN, DISK.as_bytes())?;
    let squeezed = zstd(&[7; BLOCK])?;
    let right = fingerprint(4 * BLOCK_BYTES, &[7; BLOCK])?;
    let talks = [
        vec![],
        vec![begin.clone()],
        vec![begin.clone(), manifest()?],
        vec![begin.clone(), write(BLOCK_BYTES, &squeezed, BLOCK_BYTES)?, finish(&right)?],
        vec![begin.clone(), write(BLOCK_BYTES, &[7; BLOCK], 0)?, finish(&right)?],
        vec![
            begin.clone(),
            manifest()?,
            zero(0, BLOCK_BYTES)?,
            write(BLOCK_BYTES, &squeezed, BLOCK_BYTES)?,
            finish(&right)?,
        ],
        vec![begin.clone(), write(BLOCK_BYTES, &squeezed, BLOCK_BYTES)?, manifest()?],
        vec![begin.clone(), write(BLOCK_BYTES, &squeezed, BLOCK_BYTES)?, write(0, &squeezed, BLOCK_BYTES)?],
        vec![begin.clone(), write(1 << 63, &squeezed, BLOCK_BYTES)?],
        vec![begin.clone(), write(u64::MAX, b"x", 0)?],
        vec![begin.clone(), zero(5, 3)?],
        vec![begin.clone(), zero(0, u64::MAX)?],
        vec![begin.clone(), finish(&[0; 32])?],
        vec![begin.clone(), finish(b"short")?],
        vec![begin.clone(), begin.clone()],
        vec![frame(BEGIN, b"../out")?],
        vec![frame(BEGIN, b"pv-2/disk.img")?],
        vec![frame(MESSAGE, b"nonsense")?],
    ];
    for talk in talks {
        seeds.push([&[CONVERSATION], order.as_slice(), b"\n", &talk.concat()].concat());
    }
    Ok(seeds)
}

/// One zstd frame.
fn zstd(bytes: &[u8]) -> Result<Vec<u8>> {
    let (squeezed, unpacked) = leeward_mover::wire::squeeze::Squeezer::new()?.squeeze(bytes);
    unpacked.context("it becomes shorter")?;
    Ok(squeezed.to_vec())
}
