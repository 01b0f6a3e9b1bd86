//! The reference of the site mapping says what is so: its examples run, there and back.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by stopping")]

use leeward_model::mapping::Mapping;
use leeward_model::name::SiteName;
use leeward_model::profile::shipped;
use leeward_model::rewrite::rewrite;
use serde_json::Value;

fn reference() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/site-mapping.md");
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
    let mut blocks = blocks(&text).into_iter().peekable();
    let site = |name: &str| SiteName::parse(name).unwrap();
    let (east, west) = (site("east"), site("west"));
    let mut examples = 0;
    while let Some((info, mapping)) = blocks.next() {
        if info == "yaml" {
            Mapping::parse(&mapping).unwrap_or_else(|errors| panic!("{errors}\n{mapping}"));
        }
        if info != "yaml mapping" {
            continue;
        }
        let mut json = |wanted: &str| -> Value {
            let (info, text) = blocks.next().unwrap();
            assert_eq!(info, wanted, "after {mapping}");
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
        };
        let (here, there) = (json("json east"), json("json west"));
        let mapping = Mapping::parse(&mapping).unwrap_or_else(|errors| panic!("{errors}\n{mapping}"));
        let got = rewrite(&here, &mapping, &east, &west).unwrap_or_else(|error| panic!("{error}\n{here:#}"));
        assert_eq!(plain(got.pv.clone()), there);
        assert_eq!(plain(rewrite(&got.pv, &mapping, &west, &east).unwrap().pv), here);
        examples += 1;
    }
    assert!(examples >= 7, "{examples} examples were found");
}

#[test]
fn every_profile_is_in_the_reference() {
    let text = reference();
    for profile in shipped() {
        assert!(text.contains(&format!("| `{}` |", profile.name)), "profile {} is missing", profile.name);
    }
}
