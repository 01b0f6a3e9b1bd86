//! What fuzzing of the mover starts from: small ones of each kind, as the mover itself writes them.

use anyhow::Result;
use leeward_mover::block::{BLOCK, Digest, LARGEST};
use leeward_mover::journal::Record;
use leeward_mover::manifest::Writer;
use serde_json::{Map, Value, json};

const BLOCK_BYTES: u64 = BLOCK as u64;

fn digest(seed: u64) -> Digest {
    let mut digest = [0; Digest::BYTES];
    digest[..8].copy_from_slice(&seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    Digest(digest)
}

/// Manifests of empty, short, sparse, full and huge images.
pub(super) fn manifest() -> Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for size in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 40 * BLOCK_BYTES, LARGEST] {
        for step in [1, 2, 7, 1 << 20] {
            let mut writer = Writer::new(Vec::new(), size)?;
            for index in (0..size.div_ceil(BLOCK_BYTES)).step_by(step).take(40) {
                writer.push(index, digest(index))?;
            }
            seeds.push(writer.finish()?.0);
        }
    }
    Ok(seeds)
}

/// Journals of a few records, over a few older blocks.
pub(super) fn journal() -> Vec<Vec<u8>> {
    let record = |start: u64, count: u64, zero: bool| {
        let blocks = start..start + count;
        let digests =
            if zero { Vec::new() } else { blocks.clone().map(|at| (at % 3 > 0).then_some(digest(at))).collect() };
        Record { blocks, digests }
    };
    let mut seeds = Vec::new();
    for count in [1, 3, 64] {
        for gap in [0, 1, 300] {
            for zeros in 0..3 {
                let mut seed = vec![1, 0, 0x55, 0xff, 0, 1, 2, 3, 4, 5];
                let records = (0..4).map(|at| record(at * (count + gap), count, at % 3 < zeros));
                seed.extend(records.flat_map(|record| record.bytes()));
                seeds.push(seed);
            }
        }
    }
    seeds
}

fn identity(size: u64) -> Value {
    json!({"size": size, "inode": [1, 2], "modified": [3, 4], "changed": [5, 6]})
}

pub(super) fn order_of(disks: &[(&str, u64)]) -> Value {
    let key = |disk: &str| disk.split('/').next().unwrap_or_default().to_owned();
    let owner = json!({"user": 0, "group": 0, "mode": 0o755});
    let volumes: Map<_, _> = disks
        .iter()
        .map(|(disk, size)| (key(disk), json!({"about": [null], "seed": "old", "allocated": size})))
        .collect();
    let folders: Map<_, _> = disks.iter().map(|(disk, _)| (key(disk), owner.clone())).collect();
    let disks: Map<_, _> = disks.iter().map(|(disk, size)| ((*disk).to_owned(), identity(*size))).collect();
    json!({"group": "shop", "point": "rp-2", "base": "rp-1", "from": "east", "epoch": 1, "volumes": volumes, "carried": [],
        "folders": folders, "disks": disks})
}

/// A request of each kind, and paths.
pub(super) fn request() -> Result<Vec<Vec<u8>>> {
    let fingerprint = "ab".repeat(32);
    let file = json!({"name": "disk.img", "bytes": 5, "fingerprint": fingerprint});
    let whole = json!({"size": 5, "fingerprint": fingerprint, "identity": identity(5)});
    let volume = json!({"key": "pv-1", "folder": "a/b", "seed": "c", "about": {"spec": [1, null, "x"]}});
    let requests = [
        (0, json!({"group": "shop", "point": "rp-1", "from": "east", "to": "west", "epoch": 1, "volumes": [volume]})),
        (
            0,
            json!({"group": "shop", "point": "rp-1", "base": "rp-0", "from": "east", "to": "west", "epoch": u64::MAX,
            "volumes": [volume, volume], "carried": ["pv-2"]}),
        ),
        (
            1,
            json!({"group": "shop", "point": "rp-1", "key": "pv-1", "folder": "a", "files": [file], "url": "nfs://h/x"}),
        ),
        (2, json!({"group": "shop", "point": "rp-1", "at": "west", "volumes": [["pv-1", "a/b"]]})),
        (3, json!({"group": "shop", "point": "rp-1"})),
        (4, json!({"kind": "full", "code": "LW-0705", "text": "no", "neededBytes": 5, "freeBytes": 4})),
        (4, json!({"kind": "oldEpoch", "code": "LW-0705", "text": "no", "volume": "pv-1", "file": "disk.img"})),
        (
            5,
            json!({"group": "shop", "point": "rp-1", "from": "east", "epoch": 1, "number": 3, "volumes": {"pv-1": 5},
            "disks": {"pv-1/disk.img": whole}}),
        ),
        (6, order_of(&[("pv-1/disk.img", 5), ("pv-2/a/b", LARGEST)])),
    ];
    let mut seeds = Vec::new();
    for (kind, request) in requests {
        seeds.push([&[kind], serde_json::to_vec(&request)?.as_slice()].concat());
    }
    let paths =
        ["a", "pv-1/disk.img", "../x", "/etc/passwd", "a/../b", "a//b", "./a", "a/.", "...", "-rf", "ü/\n", "a\0b"];
    seeds.extend(paths.map(|path| [&[7], path.as_bytes()].concat()));
    Ok(seeds)
}

fn change(disk: u8, fill: Option<u8>, length: u32, offset: u64) -> Vec<u8> {
    let mut bytes = vec![disk, u8::from(fill.is_some()), fill.unwrap_or_default(), 0];
    bytes.extend(length.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// An order whose seed is behind a link.
fn leads_out() -> Result<Value> {
    let text = order_of(&[("pv-1/disk.img", 4 * BLOCK_BYTES)]).to_string();
    Ok(serde_json::from_str(&text.replace("\"old\"", "\"out/old\""))?)
}

/// Orders of small, odd and huge disks, with changes that are right and wrong.
pub(super) fn order() -> Result<Vec<Vec<u8>>> {
    let orders = [
        order_of(&[("pv-1/disk.img", 4 * BLOCK_BYTES)]),
        order_of(&[("pv-1/disk.img", 4 * BLOCK_BYTES + 5), ("pv-2/disk.img", 1)]),
        order_of(&[("pv-1/disk.img", LARGEST), ("pv-1/a/b", 0)]),
        order_of(&[("pv-1/disk.img", 1 << 63)]),
        order_of(&[("a/b", 1), ("a/b/c", 1)]),
        leads_out()?,
    ];
    let (block, whole) = (u32::try_from(BLOCK)?, 4 * BLOCK_BYTES);
    let sent = [
        vec![],
        vec![change(0, Some(1), block, 0), change(0, Some(2), block, 2 * BLOCK_BYTES)],
        vec![change(0, Some(1), 2 * block, BLOCK_BYTES), change(1, Some(2), 1, 0), change(0, Some(9), 5, whole)],
        vec![change(0, None, 4, 0), change(0, Some(1), block, BLOCK_BYTES), change(0, None, u32::MAX, 2 * BLOCK_BYTES)],
        vec![change(0, Some(1), block, BLOCK_BYTES), change(0, Some(1), block, 0)],
        vec![change(0, Some(1), block, u64::MAX - 1)],
    ];
    let mut seeds = Vec::new();
    for order in &orders {
        for changes in &sent {
            seeds.push([serde_json::to_vec(order)?, b"\n".to_vec(), changes.concat()].concat());
        }
    }
    Ok(seeds)
}
