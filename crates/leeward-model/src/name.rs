//! Names that were checked once and are trusted from then on.
//!
//! Each newtype's `parse` is its only constructor; serde goes through it too, so that no unchecked name gets in by a file.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A name that does not have the form its kind requires.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {value:?} is not a valid name: use lower-case letters, digits and '-', at most {max} characters, starting and ending with a letter or digit [LW-0101]"
)]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    max: usize,
}

/// RFC 1123 label: what Kubernetes accepts as a namespace and as a label's value.
fn is_dns_label(value: &str, max: usize) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !value.is_empty()
        && value.len() <= max
        && value.chars().all(|c| ok(c) || c == '-')
        && value.starts_with(ok)
        && value.ends_with(ok)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the form of `value`.
            ///
            /// # Errors
            /// [`InvalidName`] if it is not an RFC 1123 label of permitted length.
            pub fn parse(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                if is_dns_label(&value, $max) {
                    Ok(Self(value))
                } else {
                    Err(InvalidName { kind: $kind, value, max: $max })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::parse(value)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::parse(value)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "minLength": 1, "maxLength": $max, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
                })
            }
        }
    };
}

name!(
    /// One cluster with its storage.
    SiteName, "site", 32
);
name!(
    /// The VMs that fail over together.
    GroupName, "protection group", 32
);
name!(
    /// A Kubernetes namespace.
    Namespace, "namespace", 63
);
name!(
    /// One moment that can be recovered, e.g. `rp-20261122-180501`.
    PointId, "recovery point", 48
);
name!(
    /// One execution of a plan, e.g. `migrate-20261122-180501`.
    RunId, "run", 48
);

/// A number per group that grows by one at each change of the active site; an effect of an older epoch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_labels_and_refuses_the_rest() {
        for good in ["east", "a", "shop-1", "0"] {
            assert!(SiteName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "East", "-a", "a-", "a_b", "a/b", "..", "a b", &"x".repeat(33)] {
            assert!(SiteName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_goes_through_the_check() {
        assert!(serde_json::from_str::<Namespace>("\"../x\"").is_err());
        assert_eq!(serde_json::to_string(&GroupName::parse("shop").unwrap()).unwrap(), "\"shop\"");
    }
}
