//! Files and folders: as they are, as they are on stable storage, and what happened since that was synced.

use rand::Rng;
use std::collections::BTreeMap;
use std::ops::Range;

/// What is written whole or not at all.
const SECTOR: usize = 512;
/// The folder that all others are in.
pub(super) const TOP: usize = 0;

#[derive(Debug, Clone)]
pub(super) enum Write {
    Bytes(u64, Vec<u8>),
    Zero(Range<u64>),
    Size(u64),
    /// All of it, as by a clone.
    All(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(super) enum Name {
    Is(String, usize),
    Gone(String),
    Renamed(String, String),
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File { live: Vec<u8>, stable: Vec<u8>, since: Vec<Write>, version: i64 },
    Folder { live: BTreeMap<String, usize>, stable: BTreeMap<String, usize>, since: Vec<Name> },
}

pub(super) fn new_folder() -> Node {
    Node::Folder { live: BTreeMap::new(), stable: BTreeMap::new(), since: Vec::new() }
}

/// Empties what no name leads to any more.
pub(super) fn forget(nodes: &mut [Node]) {
    let mut named = vec![false; nodes.len()];
    let mut look = vec![TOP];
    while let Some(node) = look.pop() {
        if std::mem::replace(&mut named[node], true) {
            continue;
        }
        if let Node::Folder { live, stable, since } = &nodes[node] {
            look.extend(live.values().chain(stable.values()));
            look.extend(since.iter().filter_map(|name| if let Name::Is(_, node) = name { Some(*node) } else { None }));
        }
    }
    for (node, _) in nodes.iter_mut().zip(named).filter(|(_, named)| !named) {
        *node = new_folder();
    }
}

pub(super) fn rename(names: &mut BTreeMap<String, usize>, change: &Name) {
    match change {
        Name::Is(name, node) => drop(names.insert(name.clone(), *node)),
        Name::Gone(name) => drop(names.remove(name)),
        Name::Renamed(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

pub(super) fn write(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Bytes(offset, new) => {
            let range = *offset as usize..*offset as usize + new.len();
            if bytes.len() < range.end {
                bytes.resize(range.end, 0);
            }
            bytes[range].copy_from_slice(new);
        }
        Write::Zero(range) => {
            let end = bytes.len().min(range.end as usize);
            bytes[(range.start as usize).min(end)..end].fill(0);
        }
        Write::Size(size) => bytes.resize(*size as usize, 0),
        Write::All(all) => bytes.clone_from(all),
    }
}

/// Does a write, or some sectors of it.
pub(super) fn tear(bytes: &mut Vec<u8>, all: &Write, lot: &mut impl Rng) {
    let Write::Bytes(offset, new) = all else { return write(bytes, all) };
    if lot.random_bool(0.5) {
        return write(bytes, all);
    }
    for (at, sector) in new.chunks(SECTOR).enumerate() {
        if lot.random_bool(0.5) {
            write(bytes, &Write::Bytes(offset + (at * SECTOR) as u64, sector.to_vec()));
        }
    }
}
