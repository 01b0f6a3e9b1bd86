//! The value of a part: one text, or one for each element of a list.

use super::Maps;
use crate::directory::Directory;
use crate::server::Server;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The parts of an address, by name.
pub type Parts = BTreeMap<String, PartValue>;

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PartValue {
    /// One text.
    One(String),
    /// One for each element of a list, in its order.
    Many(Vec<String>),
}

impl PartValue {
    /// All texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }

    /// The value with each of its texts mapped; `None` if one cannot be.
    pub(crate) fn map(&self, mut with: impl FnMut(&str) -> Option<String>) -> Option<Self> {
        Some(match self {
            Self::One(text) => Self::One(with(text)?),
            Self::Many(texts) => Self::Many(texts.iter().map(|text| with(text)).collect::<Option<_>>()?),
        })
    }

    /// In canonical spelling.
    pub(crate) fn canonical(&self, maps: Maps) -> Self {
        self.map(|text| Some(maps.canonical(text).into_owned())).unwrap_or_else(|| self.clone())
    }
}

impl fmt::Display for PartValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.write_str(text),
            Self::Many(texts) => write!(f, "[{}]", texts.join(", ")),
        }
    }
}

impl Maps {
    /// The one spelling that all spellings of a value share.
    pub(crate) fn canonical(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Equal | Self::Keep => Cow::Borrowed(text),
            Self::Caseless => Cow::Owned(text.to_ascii_lowercase()),
            Self::Host => Server::parse(text).map_or(Cow::Borrowed(text), |server| Cow::Owned(server.to_string())),
            Self::Path => match Directory::below_root(text) {
                Ok(directory) if text.starts_with('/') => Cow::Owned(directory.to_string()),
                Ok(directory) => Cow::Owned(directory.relative().to_owned()),
                Err(_) => Cow::Borrowed(text),
            },
        }
    }

    /// Whether two texts mean the same.
    pub(crate) fn same(self, a: &str, b: &str) -> bool {
        a == b || self.canonical(a) == self.canonical(b)
    }

    /// Why `text` is no value of such a part.
    pub(crate) fn fault(self, text: &str) -> Option<String> {
        match self {
            Self::Host => Server::parse(text).err().map(|_| "it is neither an IP address nor a host name".to_owned()),
            Self::Path => Directory::below_root(text).err().map(|why| why.to_string()),
            Self::Equal | Self::Keep | Self::Caseless => None,
        }
    }
}
