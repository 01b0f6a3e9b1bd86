//! The name of a volume or a snapshot, which is also the name of its folder.
//!
//! Laws: a name is one path component that stays where it is put: no separator, no `..`, no leading dot (the driver's
//! own folders begin with one), no `#` (it separates the parts of a handle), no control character, at most 128 bytes
//! (what CSI allows).

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The longest name in bytes.
pub const MAX_BYTES: usize = 128;

/// A checked name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryName(String);

/// Why a text is not a usable name.
#[derive(Debug, thiserror::Error)]
#[error("{name:?} cannot be the name of a folder on the export: {reason}")]
pub struct NameError {
    name: String,
    reason: &'static str,
}

impl EntryName {
    /// Checks a name.
    ///
    /// # Errors
    /// The name breaks one of the laws above.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > MAX_BYTES {
            "it is longer than 128 bytes"
        } else if name.starts_with('.') {
            "it begins with a dot"
        } else if name.contains('/') {
            "it contains a slash"
        } else if name.contains('#') {
            "it contains '#', which separates the parts of a volume handle"
        } else if name.chars().any(char::is_control) {
            "it contains a control character"
        } else {
            return Ok(EntryName(name.to_owned()));
        };
        Err(NameError { name: name.to_owned(), reason })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for EntryName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for EntryName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        EntryName::parse(&name)
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["pvc-4bcbf944-b6f7-4bd0-b50f-3c3dd00efc64", "web-disk", "a b", "ü", &"x".repeat(128)] {
            assert_eq!(EntryName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_would_leave_the_export_or_break_a_handle_are_refused() {
        for name in
            ["", ".", "..", ".csi", ".snapshots", "a/b", "/etc", "../x", "a#b", "a\nb", "a\0b", &"x".repeat(129)]
        {
            assert!(EntryName::parse(name).is_err(), "{name:?} must be refused");
        }
    }
}
