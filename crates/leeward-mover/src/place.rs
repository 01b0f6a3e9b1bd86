//! Names inside a folder. What a peer calls a file never leads outside.

use std::fmt;

/// Bytes of the longest path, as Linux has it, less room for the suffixes of our own files.
const LONGEST: usize = 4000;
/// Bytes of the longest part of a path, less that room.
const LONGEST_PART: usize = 240;

/// A path relative to a folder: parts joined by `/`, each of them a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place(String);

/// A text that is no [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {why}")]
pub struct BadPlace {
    /// The text, cut if it is long.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Place {
    /// Takes a path that only leads down.
    ///
    /// # Errors
    /// An absolute path, an empty part, `.`, `..`, a NUL, or a path that no file system has.
    pub fn parse(text: &str) -> Result<Self, BadPlace> {
        let bad = |why| Err(BadPlace { text: text.chars().take(200).collect(), why });
        if text.is_empty() {
            return bad("is empty");
        }
        if text.len() > LONGEST || text.split('/').any(|part| part.len() > LONGEST_PART) {
            return bad("is too long");
        }
        if text.contains('\0') {
            return bad("has a NUL in it");
        }
        if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return bad("does not lead down: it has an empty part, `.` or `..`");
        }
        Ok(Self(text.to_owned()))
    }

    /// A number as a name.
    #[must_use]
    pub fn number(number: usize) -> Self {
        Self(number.to_string())
    }

    /// `below` inside this folder.
    #[must_use]
    pub fn join(&self, below: &Place) -> Self {
        Self(format!("{}/{}", self.0, below.0))
    }

    /// The same with something after its last part.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        Self(format!("{}{suffix}", self.0))
    }

    /// The folder it is in; none for the top.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Its last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Place {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.0
    }
}

impl TryFrom<String> for Place {
    type Error = BadPlace;

    fn try_from(text: String) -> Result<Self, BadPlace> {
        Self::parse(&text)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_down_is_a_place() {
        for good in ["disk.img", "a/b c/ü\n$(x)", "...", "a..b", "-rf"] {
            assert_eq!(Place::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b", &"x".repeat(241)] {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Place>(bad.into()).is_err(), "{bad:?}");
        }
        assert!(Place::parse(&"x/".repeat(3000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn parents_and_names() {
        let place = Place::parse("a/b/c").unwrap();
        assert_eq!((place.parent().unwrap().as_str(), place.name()), ("a/b", "c"));
        assert_eq!(Place::parse("a").unwrap().parent(), None);
        assert_eq!(place.join(&Place::parse("d").unwrap()).with_suffix(".x").as_str(), "a/b/c/d.x");
    }
}
