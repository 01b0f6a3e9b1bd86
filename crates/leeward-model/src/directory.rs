//! A directory as a file server exports it.
//!
//! Laws: absolute; no empty, `.` or `..` part; no trailing slash. Two spellings of one directory are equal after
//! [`Directory::parse`]. Prefixes count on path borders only: `/export` covers `/export/a` and not `/exports`.

use serde::Serialize;
use std::fmt;

/// A normalised absolute directory: `/` or `/a/b`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Directory(String);

/// Why a text is no [`Directory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// It does not start with a slash.
    #[error("it must start with '/'")]
    Relative,
    /// A `..` could lead out of the export.
    #[error("it must not contain '..'")]
    Parent,
    /// `#` separates the parts of a csi-driver-nfs handle, and control characters hide what a path says.
    #[error("it must not contain '#' or control characters")]
    Character,
}

impl Directory {
    /// Normalises `text`.
    ///
    /// # Errors
    /// [`DirectoryError`] if it is relative, climbs by `..`, or has characters that no handle can carry.
    pub fn parse(text: &str) -> Result<Self, DirectoryError> {
        if !text.starts_with('/') {
            return Err(DirectoryError::Relative);
        }
        Self::below_root(text)
    }

    /// As [`Self::parse`], where a missing first slash is meant to be there (parts of a volume handle, a `subdir`).
    pub(crate) fn below_root(text: &str) -> Result<Self, DirectoryError> {
        if text.chars().any(|c| c == '#' || c.is_control()) {
            return Err(DirectoryError::Character);
        }
        let mut normal = String::with_capacity(text.len() + 1);
        for part in text.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                return Err(DirectoryError::Parent);
            }
            normal.push('/');
            normal.push_str(part);
        }
        if normal.is_empty() {
            normal.push('/');
        }
        Ok(Self(normal))
    }

    /// The directory as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without its first slash; empty for `/`.
    pub(crate) fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// Its folders, outermost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|p| !p.is_empty())
    }

    /// How many folders deep it lies; 0 for `/`.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.folders().count()
    }

    /// What is left of `self` below `prefix`, empty if they are equal; `None` if `prefix` does not cover it.
    #[must_use]
    pub fn below<'a>(&'a self, prefix: &Self) -> Option<&'a str> {
        if prefix.0 == "/" {
            return Some(self.relative());
        }
        let rest = self.0.strip_prefix(&prefix.0)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }

    /// Whether `other` is this directory or lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.below(self).is_some()
    }

    /// The directory `rest` (as [`Self::below`] gave it) in this one.
    pub(crate) fn join(&self, rest: &str) -> Self {
        match (self.0.as_str(), rest) {
            (_, "") => self.clone(),
            ("/", _) => Self(format!("/{rest}")),
            (base, _) => Self(format!("{base}/{rest}")),
        }
    }

    /// Splits off the last `folders` folders: (what stays, what was split off as a relative path). `None` if it is not
    /// that deep.
    pub(crate) fn split_off(&self, folders: usize) -> Option<(Self, String)> {
        let all: Vec<&str> = self.folders().collect();
        let at = all.len().checked_sub(folders)?;
        let (head, tail) = all.split_at(at);
        Some((Self(format!("/{}", head.join("/"))), tail.join("/")))
    }

    /// How many leading folders both have in common.
    pub(crate) fn common(&self, other: &Self) -> usize {
        self.folders().zip(other.folders()).take_while(|(a, b)| a == b).count()
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(text: &str) -> Directory {
        Directory::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_directory_are_equal() {
        for text in ["/export/a", "/export/a/", "//export//a", "/export/./a/."] {
            assert_eq!(dir(text).as_str(), "/export/a", "{text}");
        }
        assert_eq!(dir("///").as_str(), "/");
    }

    #[test]
    fn refuses_what_could_lead_elsewhere() {
        assert_eq!(Directory::parse("export"), Err(DirectoryError::Relative));
        assert_eq!(Directory::parse(""), Err(DirectoryError::Relative));
        assert_eq!(Directory::parse("/export/../etc"), Err(DirectoryError::Parent));
        assert_eq!(Directory::parse("/a#b"), Err(DirectoryError::Character));
        assert_eq!(Directory::parse("/a\n"), Err(DirectoryError::Character));
    }

    #[test]
    fn prefixes_count_on_path_borders() {
        assert_eq!(dir("/export/a/b").below(&dir("/export")), Some("a/b"));
        assert_eq!(dir("/export").below(&dir("/export")), Some(""));
        assert_eq!(dir("/exports").below(&dir("/export")), None);
        assert_eq!(dir("/export").below(&dir("/export/a")), None);
        assert_eq!(dir("/a").below(&dir("/")), Some("a"));
    }

    #[test]
    fn splits_and_joins() {
        assert_eq!(dir("/v/b/c").split_off(2), Some((dir("/v"), "b/c".to_owned())));
        assert_eq!(dir("/v").split_off(1), Some((dir("/"), "v".to_owned())));
        assert_eq!(dir("/v").split_off(2), None);
        assert_eq!(dir("/").join("a"), dir("/a"));
        assert_eq!(dir("/x").join("a/b"), dir("/x/a/b"));
    }
}
