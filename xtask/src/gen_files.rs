//! `cargo xtask gen`: files that are generated and committed.

#[path = "gen/csi_proto.rs"]
mod csi_proto;
#[path = "gen/examples.rs"]
mod examples;
#[path = "gen/fields.rs"]
mod fields;
#[path = "gen/mover_proto.rs"]
mod mover_proto;
#[path = "gen/pages.rs"]
mod pages;
#[path = "gen/profiles.rs"]
mod profiles;
#[path = "gen/proto.rs"]
mod proto;
#[path = "gen/rights.rs"]
mod rights;

use crate::binaries::{cargo, repository};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where generated files are, and nothing else.
const GENERATED: [&str; 4] = [
    "crates/leeward-mover/src/wire/generated",
    "crates/velero-plugin/src/proto/generated",
    "docs/reference/schema",
    "lab/csi/src/generated",
];

/// Writes all generated files and names those that are new or other than before. With `check` it leaves the files as they
/// were, and having to name one is an error.
///
/// # Errors
/// A generator fails, or a checked file is out of date.
pub(crate) fn run(check: bool) -> Result<()> {
    let before = read()?;
    let generated = generate();
    let after = read()?;
    let mut changed: Vec<_> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    changed.sort();
    changed.dedup();
    if check || generated.is_err() {
        for path in &changed {
            match before.get(*path) {
                Some(bytes) => fs_err::write(path, bytes)?,
                None => fs_err::remove_file(path)?,
            }
        }
    }
    generated?;
    let names: Vec<_> =
        changed.iter().map(|path| path.strip_prefix(repository()).unwrap_or(path).display().to_string()).collect();
    if check && !names.is_empty() {
        bail!("out of date: {}; run `cargo xtask gen` and commit them", names.join(", "));
    }
    for name in names {
        eprintln!("written: {name}");
    }
    Ok(())
}

fn generate() -> Result<()> {
    proto::generate()?;
    csi_proto::generate()?;
    mover_proto::generate()?;
    pages::generate()?;
    schemas()
}

fn schemas() -> Result<()> {
    let folder = repository().join("docs/reference/schema");
    fs_err::create_dir_all(&folder)?;
    for of in ["config", "mapping"] {
        let output = cargo().args(["run", "--quiet", "--package", "leeward-cli", "--", "schema", of]).output()?;
        if !output.status.success() {
            bail!("`leeward schema {of}` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        fs_err::write(folder.join(format!("{of}.json")), output.stdout)?;
    }
    Ok(())
}

/// All generated files.
fn read() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for folder in GENERATED.map(|folder| repository().join(folder)) {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            files.insert(path.clone(), fs_err::read(&path)?);
        }
    }
    for page in pages::PAGES.map(|page| repository().join(page)) {
        let text = fs_err::read(&page)?;
        files.insert(page, text);
    }
    Ok(files)
}
