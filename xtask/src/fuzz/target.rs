//! The targets: each takes any bytes at all, and has to return. Compiled into libFuzzer's programs (`fuzz/targets`), and
//! into the test that replays what was ever found.
//!
//! A panic is a finding, an endless loop too, and so is what breaks one of the laws that are asserted here.

mod cut;
pub(crate) mod damage;
pub(crate) mod exports;
mod link;
mod mover;
pub(crate) mod undo;
mod wire;

use leeward_model::address::VolumeAddress;
use leeward_model::mapping::import::import;
use leeward_model::mapping::{Documents, Mapping};
use leeward_model::name::SiteName;
use leeward_model::rewrite::rewrite;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

#[allow(unused_imports, reason = "each program needs one of them")]
pub(crate) use self::{
    exports::exports,
    link::{BEGIN, CALLS, CONVERSATION, MESSAGE, field, link, varint},
    mover::{journal, manifest, order, request},
    undo::undo,
    wire::{METHODS, wire},
};

/// Golden cases: a mapping in each folder below a profile's.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/leeward-model/tests/profiles");

/// East and west, the sites of every golden case.
static SITES: LazyLock<Option<[SiteName; 2]>> =
    LazyLock::new(|| Some([SiteName::parse("east").ok()?, SiteName::parse("west").ok()?]));

/// The golden cases' mappings, by `profile/case`.
static MAPPINGS: LazyLock<BTreeMap<String, Mapping>> = LazyLock::new(|| {
    let below = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found = BTreeMap::new();
    for case in below(Path::new(CASES)).iter().flat_map(|profile| below(profile)) {
        let Ok(text) = std::fs::read_to_string(case.join("mapping.yaml")) else { continue };
        let documents: Documents = below(&case)
            .iter()
            .filter_map(|file| Some((file.file_name()?.to_str()?.to_owned(), std::fs::read_to_string(file).ok()?)))
            .collect();
        let name = case.strip_prefix(CASES).ok().and_then(Path::to_str).unwrap_or_default().to_owned();
        // Those that have to be refused are.
        found.extend(Mapping::parse_with(&text, &documents).ok().map(|mapping| (name, mapping)));
    }
    assert!(found.len() > 20, "golden cases are missing: {} in {CASES}", found.len());
    found
});

/// A mapping, and the documents with its tables: `text NUL name NUL text …`. Or, as a JSON object of texts, the data of
/// the Go plug-in's ConfigMap; what is made of that has to be a mapping.
pub(crate) fn mapping(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let (Ok(data), Some([east, west])) = (serde_json::from_str::<BTreeMap<String, String>>(text), &*SITES) {
        if let Ok(proposal) = import(&data, east, west)
            && let Err(faults) = Mapping::parse(&proposal.text)
        {
            panic!("imported, but not a mapping: {faults}\n{}", proposal.text);
        }
        return;
    }
    let mut parts = text.split('\0');
    let document = parts.next().unwrap_or_default();
    let mut documents = Documents::new();
    while let (Some(name), Some(text)) = (parts.next(), parts.next()) {
        documents.insert(name.to_owned(), text.to_owned());
    }
    drop(Mapping::documents(document));
    let alone = Mapping::parse(document).map_err(|faults| faults.to_string());
    let whole = Mapping::parse_with(document, &documents).map_err(|faults| faults.to_string());
    // Documents that nobody names change nothing, so what is whole without them is whole with them.
    if let (Ok(_), Err(faults)) = (&alone, &whole) {
        panic!("only readable without its documents: {faults}");
    }
    if let (Ok(mapping), Some([east, west])) = (&whole, &*SITES) {
        // It also has to hold for a volume.
        drop(rewrite(&serde_json::json!({"metadata": {"name": "v"}}), mapping, east, west));
    }
}

/// A line with a golden case's name, for its mapping, then a PersistentVolume as JSON. Without such a line: the shipped
/// profiles alone.
pub(crate) fn pv(input: &[u8]) {
    let line = input.iter().position(|byte| *byte == b'\n');
    let (case, json) = line.map_or((&[][..], input), |at| (&input[..at], &input[at + 1..]));
    let Ok(pv) = serde_json::from_slice::<Value>(json) else { return };
    drop(VolumeAddress::from_pv(&pv).map(|address| address.to_string()));
    let mapping = std::str::from_utf8(case).ok().and_then(|case| MAPPINGS.get(case));
    let (Some(mapping), Some([east, west])) = (mapping, &*SITES) else { return };
    drop(mapping.address_of(&pv).map_err(|error| error.to_string()));
    let there = match rewrite(&pv, mapping, east, west) {
        Ok(there) => there,
        Err(error) => return drop(error.to_string()),
    };
    match rewrite(&there.pv, mapping, east, west) {
        Ok(twice) => assert!(twice.pv == there.pv, "twice is not once: {}", there.pv),
        Err(error) => panic!("what was rewritten cannot be read: {error}\n{}", there.pv),
    }
    if there.trace.rule.is_some() {
        assert!(there.trace.undo(&there.pv).is_some(), "the trace cannot be undone: {}", there.pv);
    }
    // The way back may be refused; it returns.
    drop(rewrite(&there.pv, mapping, west, east).map_err(|error| error.to_string()));
}
