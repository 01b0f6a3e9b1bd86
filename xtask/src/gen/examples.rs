//! Worked examples for the mapping's reference, out of the golden cases of `leeward-model`: the mapping, and the volume
//! before and after as one comparison. A test of that crate runs them as they stand on the page, there and back.

use crate::binaries::repository;
use anyhow::{Context, Result, bail};
use leeward_model::mapping::{Documents, Mapping};
use leeward_model::name::SiteName;
use leeward_model::profile::BESIDES_STORAGE;
use leeward_model::rewrite::rewrite;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::path::PathBuf;

fn cases() -> PathBuf {
    repository().join("crates/leeward-model/tests/profiles")
}

/// The case `FAMILY/CASE` as Markdown.
///
/// # Errors
/// The case is not there, is one that must fail, or is not what its own files say.
pub(super) fn example(case: &str) -> Result<String> {
    let folder = cases().join(case);
    let read = |file: &str| fs_err::read_to_string(folder.join(file));
    let json = |file: &str| Ok::<Value, anyhow::Error>(serde_json::from_str(&read(file)?)?);
    let text = read("mapping.yaml")?;
    let mut documents = Documents::new();
    let mut shown = format!("```yaml\n{}\n```\n", text.trim_end());
    for name in Mapping::documents(&text) {
        let table = read(&name)?;
        shown.push_str(&format!("\n```csv {name}\n{}\n```\n", table.trim_end()));
        documents.insert(name, table);
    }
    let trip = Trip { mapping: Mapping::parse_with(&text, &documents)?, sites: [site("east")?, site("west")?] };
    let (east, west) = (json("east.json")?, json("west.json")?);
    let (east, west) = trip.relevant(&east, &west).with_context(|| format!("golden case {case}"))?;
    let (east, west) = (yaml(&east)?, yaml(&west)?);
    shown.push_str("\n```diff\n");
    for change in TextDiff::from_lines(&east, &west).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        shown.push_str(&format!("{sign}{}", change.value()));
    }
    shown.push_str("```\n");
    Ok(shown)
}

/// # Errors
/// Names the families of storage of which no case is in `shown`.
pub(super) fn all_families(shown: &[String]) -> Result<()> {
    let mut missing = Vec::new();
    for entry in fs_err::read_dir(cases())? {
        let family = entry?.file_name().to_string_lossy().into_owned();
        if !shown.iter().any(|case| case.strip_prefix(family.as_str()).is_some_and(|rest| rest.starts_with('/'))) {
            missing.push(family);
        }
    }
    missing.sort();
    if !missing.is_empty() {
        bail!("no example of {}; add `<!-- gen example: FAMILY/CASE -->`", missing.join(", "));
    }
    Ok(())
}

/// As people write it: a long handle stays on its line.
fn yaml(pv: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(pv, options)?)
}

fn site(name: &str) -> Result<SiteName> {
    Ok(SiteName::parse(name)?)
}

/// A mapping, and the two sites of the golden cases.
struct Trip {
    mapping: Mapping,
    sites: [SiteName; 2],
}

impl Trip {
    /// The volume there, without Leeward's own marks.
    fn there(&self, pv: &Value) -> Result<Value> {
        Ok(unmarked(rewrite(pv, &self.mapping, &self.sites[0], &self.sites[1])?.pv))
    }

    fn home(&self, pv: &Value) -> Result<Value> {
        Ok(unmarked(rewrite(pv, &self.mapping, &self.sites[1], &self.sites[0])?.pv))
    }

    /// Both volumes with what the rewriting is about alone. What is the same at both sites and has no part in it is left
    /// out, and so is what only the first landing takes away (a claim's uid, finalizers of the provisioner).
    fn relevant(&self, east: &Value, west: &Value) -> Result<(Value, Value)> {
        let there = self.there(east)?;
        if there != unmarked(west.clone()) {
            bail!("west.json is not what becomes of east.json");
        }
        let (mut east, mut west) = (self.home(&there)?, there);
        for pointer in besides(&east) {
            let (shorter, other) = (without(&east, &pointer), without(&west, &pointer));
            if east.pointer(&pointer) == west.pointer(&pointer)
                && self.there(&shorter).is_ok_and(|pv| pv == other)
                && self.home(&other).is_ok_and(|pv| pv == shorter)
            {
                (east, west) = (shorter, other);
            }
        }
        Ok((east, west))
    }
}

/// The fields that may be left out, by JSON pointer.
fn besides(pv: &Value) -> Vec<String> {
    let keys = |pointer: &str| {
        let keys = pv.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
        keys.map(|(key, _)| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))).collect::<Vec<_>>()
    };
    let mut found: Vec<_> = ["/metadata/annotations", "/metadata/labels"].iter().flat_map(|at| keys(at)).collect();
    found.extend(keys("/metadata").into_iter().filter(|at| at != "/metadata/name"));
    found.extend(BESIDES_STORAGE.iter().map(|field| format!("/spec/{field}")));
    found.extend(keys("").into_iter().filter(|at| at != "/metadata" && at != "/spec"));
    found
}

fn without(pv: &Value, pointer: &str) -> Value {
    let mut pv = pv.clone();
    if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(fields) = pv.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        fields.shift_remove(&key.replace("~1", "/").replace("~0", "~"));
    }
    pv
}

fn unmarked(mut pv: Value) -> Value {
    if let Some(annotations) = pv.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("leeward.io/"));
    }
    for field in ["annotations", "labels"] {
        let pointer = format!("/metadata/{field}");
        if pv.pointer(&pointer).and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            pv = without(&pv, &pointer);
        }
    }
    pv
}
