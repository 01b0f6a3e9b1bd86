//! Names that follow from what they are for, so that doing it again finds what was done, and that are never too long.

use leeward_model::keys::USED_BY;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// What an object's name may be long (RFC 1123 subdomain).
const MAX_NAME: usize = 253;
/// What a label's value, and an annotation's name after the `/`, may be long.
const MAX_LABEL: usize = 63;
const HASH: usize = 12;

/// Twelve hexadecimal digits that differ for different texts.
pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(HASH / 2).fold(String::with_capacity(HASH), |mut hash, byte| {
        // Writing to a text cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// `text` if it is at most `max` bytes long, else its beginning and its hash.
fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max.saturating_sub(HASH + 1)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}-{}", text[..end].trim_end_matches(['.', '-', '_']), hash(text))
}

/// The name of what is made from the object `of` for `point`.
pub(crate) fn made_from(of: &str, point: &str) -> String {
    format!("{}-{point}", shortened(of, MAX_NAME - 1 - point.len()))
}

/// `name` as a label's value.
pub(crate) fn label_value(name: &str) -> String {
    shortened(name, MAX_LABEL)
}

/// The annotation that says: the Backup `backup` (`namespace/name`) needs this.
pub(crate) fn used_by(backup: &str) -> String {
    format!("{USED_BY}{}", shortened(&backup.replace('/', "."), MAX_LABEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_plain_and_long_ones_stay_apart() {
        assert_eq!(made_from("db-data", "rp-1"), "db-data-rp-1");
        assert_eq!(label_value("db-data"), "db-data");
        assert_eq!(used_by("velero/nightly"), "used-by.leeward.io/velero.nightly");

        let (a, b) = (format!("{}a", "x".repeat(252)), format!("{}b", "x".repeat(252)));
        for short in [label_value, |name: &str| used_by(name).split_once('/').unwrap().1.to_owned()] {
            assert_ne!(short(&a), short(&b));
            assert_eq!(short(&a).len(), 63);
        }
        let point = "p".repeat(48);
        assert_eq!(made_from(&a, &point).len(), 253);
        assert!(made_from(&a, &point).ends_with(&format!("-{point}")));
        assert_ne!(made_from(&a, &point), made_from(&b, &point));
        // What is cut off must not leave a separator before the hash.
        let dotted = format!("{}.{}", "x".repeat(49), "y".repeat(50));
        assert_eq!(label_value(&dotted), format!("{}-{}", "x".repeat(49), hash(&dotted)));
    }
}
