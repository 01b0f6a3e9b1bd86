//! Names that follow from what they are for, so that doing it again finds what was done, and that are never too long.
//!
//! One place for both who make promoted claims (the plug-in) and who look for them (the engine).

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// What an object's name may be long in a backup. Kubernetes allows 253 bytes; Velero files an object as `<name>.json`, and no
/// file may have a longer name than 255. A backup with one that is longer is `Completed`, and cannot be restored at all.
pub const MAX_NAME: usize = 250;
const HASH: usize = 12;

/// Twelve hexadecimal digits that differ for different texts.
#[must_use]
pub fn hash(text: &str) -> String {
    let mut hash = sha256(text);
    hash.truncate(HASH);
    hash
}

/// The SHA-256 of a text or its bytes, in hexadecimal.
#[must_use]
pub fn sha256(text: impl AsRef<[u8]>) -> String {
    Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hash, byte| {
        // Writing to a text cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// `text` if it is at most `max` bytes long, else its beginning and its hash.
#[must_use]
pub fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max.saturating_sub(HASH + 1)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}-{}", text[..end].trim_end_matches(['.', '-', '_']), hash(text))
}

/// The name of what is made from the object `of` for `point`: its snapshot, and the claim that this is promoted to.
#[must_use]
pub fn made_from(of: &str, point: &str) -> String {
    format!("{}-{point}", shortened(of, MAX_NAME.saturating_sub(1 + point.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_plain_and_long_ones_stay_apart() {
        assert_eq!(made_from("db-data", "rp-1"), "db-data-rp-1");
        let (a, b) = (format!("{}a", "x".repeat(252)), format!("{}b", "x".repeat(252)));
        let point = "p".repeat(48);
        assert_eq!(made_from(&a, &point).len(), MAX_NAME);
        assert!(made_from(&a, &point).ends_with(&format!("-{point}")));
        assert_ne!(made_from(&a, &point), made_from(&b, &point));
        // What is cut off must not leave a separator before the hash.
        let dotted = format!("{}.{}", "x".repeat(49), "y".repeat(50));
        assert_eq!(shortened(&dotted, 63), format!("{}-{}", "x".repeat(49), hash(&dotted)));
    }
}
