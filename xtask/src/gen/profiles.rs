//! The table of the driver profiles that Leeward brings.

use crate::binaries::repository;
use anyhow::{Context, Result};
use serde_json::Value;

/// One row for each file of `crates/leeward-model/profiles`.
///
/// # Errors
/// A profile cannot be read.
pub(super) fn table() -> Result<String> {
    let mut text = "| profile | volumes | parts |\n|---|---|---|\n".to_owned();
    let folder = repository().join("crates/leeward-model/profiles");
    let mut files = fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    for file in files {
        let read: Value = serde_saphyr::from_str(&fs_err::read_to_string(&file)?)
            .with_context(|| format!("read {}", file.display()))?;
        text.push_str(&row(&read).with_context(|| format!("{} lacks a field", file.display()))?);
    }
    Ok(text)
}

fn row(profile: &Value) -> Option<String> {
    let drivers = match &profile["driver"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect::<Vec<_>>(),
    };
    let mut volumes: Vec<_> = drivers.iter().map(|name| format!("`{name}`")).collect();
    volumes.extend(profile["driverSuffix"].as_str().map(|suffix| format!("`…{suffix}`")));
    volumes.extend(profile["inTree"].as_str().map(|kind| format!("`spec.{kind}`")));
    let parts: Vec<_> = profile["parts"].as_object()?.keys().map(String::as_str).collect();
    Some(format!("| `{}` | {} | {} |\n", profile["name"].as_str()?, volumes.join(", "), parts.join(", ")))
}
