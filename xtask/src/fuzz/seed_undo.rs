//! What fuzzing of the undo logs starts from: stories of points, and logs that are damaged in every part.

use super::target::{self, damage};
use leeward_mover::block::BLOCK;
use serde_json::json;

/// A quarter of a block, in the steps' unit.
const QUARTER: u16 = 1 << 11;

fn step(what: u8, [a, b, c]: [u8; 3], at: u16, length: u16) -> Vec<u8> {
    let [low, high] = at.to_le_bytes();
    let [less, more] = length.to_le_bytes();
    vec![what, a, b, c, low, high, less, more]
}

fn make(number: u8, base: u8, how: u8, effects: u16) -> Vec<u8> {
    step(target::undo::MAKE, [number, base, how], 0, effects)
}

fn withdraw(number: u8, effects: u16) -> Vec<u8> {
    step(target::undo::WITHDRAW, [number, 0, 0], 0, effects)
}

/// Not a point's number.
const NONE: u8 = 9;
/// Both volumes are read; the first, or the second, is carried.
const BOTH: u8 = 0;
const FIRST: u8 = 2;
const SECOND: u8 = 2 << 2;

/// Three points, each with other bytes, zeros and another length.
fn three() -> Vec<Vec<u8>> {
    vec![
        make(0, NONE, BOTH, 0),
        step(target::undo::WRITE, [7, 0, 0], QUARTER, 9000),
        step(target::undo::MODE, [0o24, 0, 1], 0, 0),
        make(1, 0, BOTH, 0),
        step(target::undo::ZERO, [0, 0, 0], 0, 20000),
        step(target::undo::RESIZE, [0, 0, 0], 5 * QUARTER + 3, 0),
        make(2, 1, BOTH, 0),
    ]
}

fn stories() -> Vec<Vec<Vec<u8>>> {
    let mut stories = vec![
        vec![make(0, NONE, BOTH, 0), withdraw(0, 0)],
        [three(), vec![withdraw(1, 0)]].concat(),
        // The newest goes; what it was written over comes back.
        [three(), vec![withdraw(2, 0), withdraw(1, 0), make(3, 0, BOTH, 0)]].concat(),
        [three(), vec![make(3, 0, BOTH, 0), make(3, 1, BOTH, 0)]].concat(),
        [three(), vec![make(3, 2, FIRST, 0), withdraw(2, 0), withdraw(0, 0)]].concat(),
        [three(), vec![make(3, 2, SECOND, 0), withdraw(3, 0), make(3, 2, BOTH, 0)]].concat(),
        [three(), vec![make(3, 3, BOTH, 0), make(3, NONE, FIRST, 0), withdraw(3, 0)]].concat(),
        [
            three(),
            vec![
                step(target::undo::STRANGER, [1, 0, 0], 0, 9),
                step(target::undo::STRANGER, [1, 1, 0], 0, 9),
                withdraw(1, 0),
            ],
        ]
        .concat(),
        [
            three(),
            vec![step(target::undo::STRANGER, [1, 0, 0], 0, 255), step(target::undo::STRANGER, [1, 1, 0], 0, 255)],
        ]
        .concat(),
        [
            three(),
            vec![step(target::undo::STRANGER, [1, 1, 0], 0, 255), withdraw(1, 0), withdraw(2, 0), make(3, 0, BOTH, 0)],
        ]
        .concat(),
    ];
    for effects in [3, 17, 40, 60, 75, 90] {
        stories.push([three(), vec![make(3, 2, FIRST, effects), make(3, 2, FIRST, 0)]].concat());
        stories.push(
            [three(), vec![make(3, 2, BOTH, effects), step(target::undo::BOOT, [0; 3], 0, 0), make(3, 2, BOTH, 0)]]
                .concat(),
        );
        stories.push([three(), vec![withdraw(2, 0), make(3, 1, BOTH, effects), make(2, 1, SECOND, 0)]].concat());
    }
    // A rollback that is cut off anywhere.
    for effects in 1..40 {
        stories.push([three(), vec![withdraw(2, 0), make(3, 1, BOTH, effects), make(3, 1, SECOND, 0)]].concat());
    }
    for effects in [1, 5, 9, 14, 20] {
        stories.push([three(), vec![withdraw(1, effects), withdraw(1, 0)]].concat());
        stories.push([three(), vec![withdraw(1, effects), make(3, 0, BOTH, effects), make(3, 0, BOTH, 0)]].concat());
    }
    stories
}

/// What is done to a log: see `damage::break_logs`.
fn broken(log: u8, file: u8, what: u8, value: u8, at: usize) -> Vec<u8> {
    let [low, high] = u16::try_from(at).unwrap_or(u16::MAX).to_le_bytes();
    vec![file | log << 2 | what << 3, value, low, high]
}

fn replaced(log: u8, file: u8, bytes: &[u8]) -> Vec<u8> {
    [broken(log, file, 2, 0, bytes.len()), bytes.to_vec()].concat()
}

fn head(next: &str, size: u64) -> Vec<u8> {
    let owner = json!({"user": 0, "group": 0, "mode": 0o640});
    json!({"id": 5, "next": next, "size": size, "owner": owner}).to_string().into_bytes()
}

/// Every damage of a log, with every use of it that follows.
fn damages() -> Vec<Vec<u8>> {
    let size = 5 * BLOCK as u64 + 100;
    let mut found = vec![Vec::new()];
    for log in 0..2 {
        found.extend([
            broken(log, 0, 0, 0, 9),
            broken(log, 1, 0, 0, 0),
            broken(log, 2, 0, 0, 3 * BLOCK),
            broken(log, 0, 1, 1, 3),
            broken(log, 1, 1, 0x15, 0),
            broken(log, 2, 1, 0x80, 7),
            broken(log, 0, 3, 0, 0),
            broken(log, 1, 3, 0, 0),
            broken(log, 2, 3, 0, 0),
            replaced(log, 1, &[0xff; 2]),
            replaced(log, 1, &[0xff; 4100]),
        ]);
        for next in ["rp-0", "rp-1", "rp-2", "rp-8"] {
            found.push(replaced(log, 0, &head(next, size)));
        }
        for size in [0, 1, size + 1, BLOCK as u64 * 4 + 7, 1 << 62, u64::MAX] {
            found.push(replaced(log, 0, &head(if log == 0 { "rp-1" } else { "rp-2" }, size)));
        }
    }
    found
}

pub(super) fn undo() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = stories().into_iter().map(|steps| steps.concat()).collect();
    let follow = [
        0,
        damage::WITHDRAWN | damage::OF_FIRST,
        damage::WITHDRAWN | damage::OF_NEWEST,
        damage::OF_FIRST,
        damage::OF_NEWEST | damage::CARRIES,
        damage::OF_FIRST | damage::CARRIES,
        damage::WITHDRAWN | damage::OF_FIRST | damage::CARRIES,
    ];
    let begin = [0, damage::THIRD, damage::CARRIED, damage::CARRIED | damage::THIRD, damage::SHORTER | damage::THIRD];
    for (number, broken) in damages().iter().enumerate() {
        for at in number..number + 3 {
            let flags = begin[at % begin.len()] | follow[at % follow.len()];
            seeds.push([&[target::undo::DAMAGE, flags], broken.as_slice()].concat());
        }
    }
    seeds
}
