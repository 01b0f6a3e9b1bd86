//! Names that only the plug-in gives; the others are [`leeward_model::naming`]'s.

use leeward_model::keys::USED_BY;
use leeward_model::naming::shortened;
pub(crate) use leeward_model::naming::{MAX_NAME, hash, made_from, sha256};

/// What a label's value, and an annotation's name after the `/`, may be long.
const MAX_LABEL: usize = 63;

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
        assert_eq!(label_value("db-data"), "db-data");
        assert_eq!(used_by("velero/nightly"), "used-by.leeward.io/velero.nightly");
        let (a, b) = (format!("{}a", "x".repeat(252)), format!("{}b", "x".repeat(252)));
        for short in [label_value, |name: &str| used_by(name).split_once('/').unwrap().1.to_owned()] {
            assert_ne!(short(&a), short(&b));
            assert_eq!(short(&a).len(), 63);
        }
    }
}
