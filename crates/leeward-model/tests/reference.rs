//! The reference of the site mapping says what is so: its examples run as they stand on the page, there and back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by stopping")]

use leeward_model::mapping::{Documents, Mapping};
use leeward_model::name::SiteName;
use leeward_model::rewrite::rewrite;
use serde_json::Value;

fn reference() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/mapping.md");
    std::fs::read_to_string(file).unwrap()
}

/// Every fenced block with its info string, in order.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(info) if !open => {
                blocks.push((info, String::new()));
                open = true;
            }
            Some(_) => open = false,
            None if open => blocks.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            None => {}
        }
    }
    blocks
}

/// One of the two volumes that a comparison holds: the lines that are in both, and those with this sign.
fn volume(comparison: &str, sign: char) -> Value {
    let lines = comparison.lines().filter_map(|line| line.strip_prefix([' ', sign]));
    let yaml: String = lines.map(|line| format!("{line}\n")).collect();
    serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// Without Leeward's marks.
fn plain(mut pv: Value) -> Value {
    let metadata = pv["metadata"].as_object_mut().unwrap();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("leeward.io/"));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    pv
}

#[test]
fn every_example_is_true() {
    let text = reference();
    let site = |name: &str| SiteName::parse(name).unwrap();
    let (east, west) = (site("east"), site("west"));
    let mut examples = 0;
    let mut mapping: Option<String> = None;
    let mut documents = Documents::new();
    for (info, block) in blocks(&text) {
        match info.split_once(' ').unwrap_or((info, "")) {
            ("yaml", _) => {
                documents.clear();
                mapping = Some(block);
            }
            ("csv", name) => {
                documents.insert(name.to_owned(), block);
            }
            ("diff", _) => {
                let text = mapping.take().unwrap_or_else(|| panic!("no mapping before\n{block}"));
                let mapping =
                    Mapping::parse_with(&text, &documents).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
                let (here, there) = (volume(&block, '-'), volume(&block, '+'));
                let got = rewrite(&here, &mapping, &east, &west).unwrap_or_else(|error| panic!("{error}\n{here:#}"));
                assert_eq!(plain(got.pv.clone()), there);
                assert_eq!(plain(rewrite(&got.pv, &mapping, &west, &east).unwrap().pv), here);
                examples += 1;
            }
            _ => {}
        }
    }
    assert!(examples >= 20, "{examples} examples were found");
}

#[test]
fn the_first_mapping_of_the_page_is_one() {
    let text = reference();
    let (_, mapping) = blocks(&text).into_iter().find(|(info, _)| *info == "yaml").unwrap();
    Mapping::parse(&mapping).unwrap();
}
