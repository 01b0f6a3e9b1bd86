//! Golden cases: for every profile, volumes as the driver makes them, and what they become.
//!
//! `tests/profiles/<profile>/<case>/` holds `mapping.yaml` and `east.json` (the volume at site `east`), and either
//! `west.json` (what it is at site `west`; the way back must give `east.json` again) or `error.txt` (whose every line the
//! error says; without `east.json` it is the mapping that cannot be read). Other files of a case are documents that the
//! mapping's tables are read from.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by stopping")]

use leeward_model::mapping::{Documents, Mapping};
use leeward_model::name::SiteName;
use leeward_model::profile::shipped;
use leeward_model::rewrite::{Trace, rewrite};
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};

const MARKS: [&str; 3] =
    ["leeward.io/site", "leeward.io/rewrite-trace", "kubectl.kubernetes.io/last-applied-configuration"];

fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).unwrap_or_else(|e| panic!("{}: {e}", of.display()));
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn text(case: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(case.join(file)).ok()
}

fn json(case: &Path, file: &str) -> Value {
    let text = text(case, file).unwrap_or_else(|| panic!("{} is missing", case.join(file).display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", case.join(file).display()))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// Without what every landing notes, drops or sets.
fn plain(pv: &Value) -> Value {
    let mut pv = pv.clone();
    if let Some(annotations) = pv.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !MARKS.contains(&key.as_str()));
    }
    let empty = |value: Option<&Value>| value.is_some_and(|v| v.as_object().is_some_and(serde_json::Map::is_empty));
    for field in ["annotations", "labels"] {
        if empty(pv["metadata"].get(field)) {
            pv["metadata"].as_object_mut().unwrap().remove(field);
        }
    }
    pv
}

/// `plain`, and without what does not come back.
fn returned(pv: &Value) -> Value {
    let mut pv = plain(pv);
    if let Some(claim) = pv.pointer_mut("/spec/claimRef").and_then(Value::as_object_mut) {
        claim.remove("uid");
        claim.remove("resourceVersion");
    }
    if let Some(list) = pv.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
        list.retain(|f| f == "kubernetes.io/pv-protection");
    }
    if let Some(annotations) = pv.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("leeward.io/original-reclaim-policy");
    }
    pv["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into();
    plain(&pv)
}

/// The first difference, for people.
fn same(what: &str, got: &Value, wanted: &Value) -> Result<(), String> {
    if got == wanted {
        return Ok(());
    }
    Err(format!("{what}:\n--- wanted\n{wanted:#}\n--- got\n{got:#}"))
}

fn run(case: &Path) -> Result<(), String> {
    let mapping = text(case, "mapping.yaml").ok_or("mapping.yaml is missing")?;
    let documents: Documents = Mapping::documents(&mapping)
        .into_iter()
        .filter_map(|name| text(case, &name).map(|text| (name, text)))
        .collect();
    let expected = text(case, "error.txt");
    let says = |error: String| {
        let wanted = expected.clone().ok_or_else(|| error.clone())?;
        let missing: Vec<_> = wanted.lines().map(str::trim).filter(|line| !error.contains(line)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("the error does not say {missing:?}: {error}")) }
    };
    let mapping = match Mapping::parse_with(&mapping, &documents) {
        Ok(mapping) => mapping,
        Err(error) => return says(chain(&error)),
    };
    let east = json(case, "east.json");
    let west = match rewrite(&east, &mapping, &site("east"), &site("west")) {
        Ok(west) => west,
        Err(error) => return says(chain(&error)),
    };
    if expected.is_some() {
        return Err(format!("it should fail, but becomes {}", west.after));
    }
    same("east to west", &plain(&west.pv), &plain(&json(case, "west.json")))?;

    let trace: Trace = serde_json::from_str(west.pv["metadata"]["annotations"][MARKS[1]].as_str().unwrap()).unwrap();
    same("undone by the trace", &plain(&trace.undo(&west.pv).ok_or("the trace cannot be undone")?), &{
        let mut east = plain(&east);
        // Leeward's own annotation stays when a rewriting is undone.
        if let Some(kept) = west.pv["metadata"]["annotations"].get("leeward.io/original-reclaim-policy") {
            east["metadata"]["annotations"]["leeward.io/original-reclaim-policy"] = kept.clone();
        }
        plain(&east)
    })?;
    let twice = rewrite(&west.pv, &mapping, &site("east"), &site("west")).map_err(|e| chain(&e))?;
    same("twice", &twice.pv, &west.pv)?;
    let home = rewrite(&west.pv, &mapping, &site("west"), &site("east")).map_err(|e| chain(&e))?;
    same("west to east", &returned(&home.pv), &returned(&east))?;
    if home.after != west.before {
        return Err(format!("home is {}, not {}", home.after, west.before));
    }
    Ok(())
}

#[test]
fn golden_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
    let mut failed = Vec::new();
    let mut number = 0;
    for profile in folders(&root) {
        for case in folders(&profile) {
            number += 1;
            let name = case.strip_prefix(&root).unwrap().display().to_string();
            match std::panic::catch_unwind(|| run(&case)) {
                Ok(Ok(())) => {}
                Ok(Err(why)) => failed.push(format!("{name}: {why}")),
                Err(_) => failed.push(format!("{name}: panicked")),
            }
        }
    }
    assert!(failed.is_empty(), "{} of {number} cases failed:\n{}", failed.len(), failed.join("\n"));
    assert!(number > 0, "there is no case");
}

/// A profile without a case is a claim without proof.
#[test]
fn every_profile_has_a_case_that_succeeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
    for profile in shipped() {
        let folder = root.join(&profile.name);
        let proven = folder.is_dir() && folders(&folder).iter().any(|case| case.join("west.json").is_file());
        assert!(proven, "profile {} has no golden case in {}", profile.name, folder.display());
        assert!(!profile.read.is_empty(), "profile {} does not say where its shape was read", profile.name);
    }
}
