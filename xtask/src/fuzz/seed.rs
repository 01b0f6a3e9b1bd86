//! What fuzzing starts from: golden cases and the documentation's examples.

use crate::binaries::repository;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The Go plug-in's ConfigMaps, as its users write them.
const CONFIG_MAPS: [&str; 4] = [
    r#"{"rule1.path": "/spec/csi/volumeHandle", "rule1.find": "^10\\.0\\.0\\.1#(.*)$", "rule1.replace": "10.0.0.2#$1"}"#,
    r#"{"rule2.path": "/spec/nfs/path", "rule2.find": "/(?P<pool>[a-z]+)/x", "rule2.replace": "/${pool}2/y",
        "rule10.path": "/spec/nfs/server", "rule10.find": "east", "rule10.replace": "west"}"#,
    r#"{"regex.find": "(?i)array-a", "regex.replace": "array-b"}"#,
    r#"{"rule1.path": "/spec/csi/volumeAttributes/share", "rule1.find": "[[:alpha:]]+\\d{2,3}?|\\Qa.b\\E", "rule1.replace": "$$x"}"#,
];

/// The folders of the golden cases.
fn cases() -> Result<Vec<(String, PathBuf)>> {
    let root = repository().join("crates/leeward-model/tests/profiles");
    let mut cases = Vec::new();
    for profile in super::files(&root)?.into_iter().filter(|path| path.is_dir()) {
        for case in super::files(&profile)?.into_iter().filter(|path| path.is_dir()) {
            cases.push((case.strip_prefix(&root)?.to_string_lossy().into_owned(), case));
        }
    }
    Ok(cases)
}

/// Code blocks that begin with this line.
fn blocks<'a>(page: &'a str, fence: &'a str) -> impl Iterator<Item = &'a str> {
    page.split("\n\n```").filter_map(move |rest| rest.strip_prefix(fence)?.split("\n```").next())
}

/// Mappings with the documents of their tables.
pub(super) fn mapping() -> Result<Vec<Vec<u8>>> {
    let page = fs_err::read_to_string(repository().join("docs/reference/mapping.md"))?;
    let mut seeds: Vec<_> = blocks(&page, "yaml mapping\n").map(|block| block.as_bytes().to_vec()).collect();
    seeds.extend(CONFIG_MAPS.map(|text| text.as_bytes().to_vec()));
    for (_, case) in cases()? {
        let mut seed = fs_err::read_to_string(case.join("mapping.yaml"))?;
        for file in super::files(&case)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !["mapping.yaml", "east.json", "west.json", "error.txt"].contains(&&*name) {
                seed = format!("{seed}\0{name}\0{}", fs_err::read_to_string(&file)?);
            }
        }
        seeds.push(seed.into_bytes());
    }
    Ok(seeds)
}

/// The volumes of the golden cases, without line breaks, by their case.
fn volumes() -> Result<Vec<(String, Vec<u8>)>> {
    let mut volumes = Vec::new();
    for (name, case) in cases()? {
        for file in ["east.json", "west.json"].map(|file| case.join(file)) {
            if Path::is_file(&file) {
                let value: serde_json::Value = serde_json::from_slice(&fs_err::read(&file)?)?;
                volumes.push((name.clone(), value.to_string().into_bytes()));
            }
        }
    }
    Ok(volumes)
}

/// Volumes, each below the name of its case.
pub(super) fn pv() -> Result<Vec<Vec<u8>>> {
    Ok(volumes()?.into_iter().map(|(name, volume)| [name.as_bytes(), b"\n", &volume].concat()).collect())
}

/// Requests of every method, about a few of the volumes.
pub(super) fn wire(methods: [(&str, &str); 17]) -> Result<Vec<Vec<u8>>> {
    let volumes = volumes()?;
    let run = br#"{"metadata":{"name":"run","namespace":"velero"},"spec":{"namespaceMapping":{"shop":"shop2"}}}"#;
    let mut seeds = Vec::new();
    for (number, (_, action)) in methods.iter().enumerate() {
        for (_, volume) in volumes.iter().step_by(20) {
            let mut seed = vec![u8::try_from(number)?];
            for (field, bytes) in [(1, action.as_bytes()), (2, volume), (3, run), (4, volume)] {
                seed.extend(super::target::field(field, bytes));
            }
            seeds.push(seed);
        }
    }
    Ok(seeds)
}

/// The words of the seeds, the most frequent first, as libFuzzer reads them.
pub(super) fn dictionary(seeds: &[Vec<u8>]) -> String {
    let mut words: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in seeds {
        let word = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"-./:#".contains(byte));
        for part in seed.split(word).filter(|part| (3..=32).contains(&part.len())) {
            *words.entry(std::str::from_utf8(part).unwrap_or_default()).or_default() += 1;
        }
    }
    let mut words: Vec<_> = words.into_iter().collect();
    words.sort_by_key(|(word, times)| (std::cmp::Reverse(*times), *word));
    words.iter().take(400).map(|(word, _)| format!("\"{word}\"\n")).collect()
}
