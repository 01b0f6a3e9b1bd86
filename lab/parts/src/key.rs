//! [`PartKey`]: what a part was made from. Two builds with one key give the same programs.

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// 16 hex digits over every byte that decides what a build gives: `go.mod`, `go.sum` and all `.go` files of the module,
/// the version of Go and the build's flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartKey(String);

/// The Go sources of a part cannot be read.
#[derive(Debug, Error)]
#[error("cannot read the lab's Go sources at {}; run this from a complete checkout [LW-0969]", path.display())]
pub struct KeyError {
    path: PathBuf,
    source: std::io::Error,
}

impl PartKey {
    /// Key of the module in folder `module` (nothing for a program named by module path and version alone).
    pub(crate) fn of(module: Option<&Path>, go_version: &str, flags: &[String]) -> Result<Self, KeyError> {
        let mut hash = Sha256::new();
        if let Some(module) = module {
            let mut names = Vec::new();
            collect(module, "", &mut names)?;
            names.sort();
            for name in names {
                let path = module.join(&name);
                let bytes = fs_err::read(&path).map_err(|source| KeyError { path, source })?;
                hash.update(format!("{name}\n{}\n", bytes.len()));
                hash.update(bytes);
            }
        }
        hash.update(format!("{go_version}\n"));
        for flag in flags {
            hash.update(format!("{flag}\n"));
        }
        Ok(Self(hex::encode(&hash.finalize()[..8])))
    }

    /// The 16 digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds the names, relative to `module`, of all files below `folder` that a build reads.
fn collect(module: &Path, folder: &str, names: &mut Vec<String>) -> Result<(), KeyError> {
    let path = module.join(folder);
    let fail = |source| KeyError { path: path.clone(), source };
    for entry in fs_err::read_dir(&path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let relative = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type().map_err(fail)?.is_dir() {
            collect(module, &relative, names)?;
        } else if name == "go.mod" || name == "go.sum" || name.ends_with(".go") {
            names.push(relative);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("go.mod"), "module x\n").unwrap();
        fs_err::write(dir.path().join("go.sum"), "a h1:1=\n").unwrap();
        fs_err::create_dir(dir.path().join("tool")).unwrap();
        fs_err::write(dir.path().join("tool/main.go"), "package main\n").unwrap();
        dir
    }

    fn key(dir: &tempfile::TempDir, go: &str, flag: &str) -> String {
        PartKey::of(Some(dir.path()), go, &[flag.to_owned()]).unwrap().to_string()
    }

    #[test]
    fn every_byte_that_decides_the_build_changes_the_key() {
        let dir = module();
        let first = key(&dir, "go1.26.8", "-trimpath");
        assert_eq!(first.len(), 16);
        assert_eq!(first, key(&dir, "go1.26.8", "-trimpath"));
        assert_ne!(first, key(&dir, "go1.26.9", "-trimpath"));
        assert_ne!(first, key(&dir, "go1.26.8", "-race"));
        for file in ["go.sum", "go.mod", "tool/main.go"] {
            let path = dir.path().join(file);
            let text = fs_err::read_to_string(&path).unwrap();
            fs_err::write(&path, text.replacen('m', "n", 1).replacen('1', "2", 1)).unwrap();
            assert_ne!(first, key(&dir, "go1.26.8", "-trimpath"), "{file}");
            fs_err::write(&path, text).unwrap();
        }
        assert_eq!(first, key(&dir, "go1.26.8", "-trimpath"));
    }

    #[test]
    fn files_that_do_not_decide_leave_the_key_alone() {
        let dir = module();
        let first = key(&dir, "go1.26.8", "");
        fs_err::write(dir.path().join("README.md"), "x").unwrap();
        assert_eq!(first, key(&dir, "go1.26.8", ""));
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = PartKey::of(Some(Path::new("/nowhere/kube")), "go1.26.8", &[]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/kube"), "{error}");
    }
}
