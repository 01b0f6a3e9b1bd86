//! Which versions of what movers say are spoken.

use std::fmt;

/// The metadata that names a call's version.
pub const KEY: &str = "leeward-version";

/// All that this program speaks.
pub const SPOKEN: Versions = Versions { oldest: 1, newest: 1 };

/// Versions from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Versions {
    /// The newest that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let (oldest, newest) = (self.oldest.max(other.oldest), self.newest.min(other.newest));
        (oldest <= newest).then_some(newest)
    }

    /// Whether it is among them.
    #[must_use]
    pub fn has(self, version: u32) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "{}", self.newest)
        } else {
            write!(f, "{} to {}", self.oldest, self.newest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_both_speak() {
        let versions = |oldest, newest| Versions { oldest, newest };
        for (one, other, common) in [
            (versions(1, 1), versions(1, 1), Some(1)),
            (versions(1, 3), versions(2, 5), Some(3)),
            (versions(1, 2), versions(3, 4), None),
            (versions(5, 1), versions(1, 5), None),
            (versions(0, u32::MAX), versions(7, 7), Some(7)),
        ] {
            assert_eq!((one.common(other), other.common(one)), (common, common), "{one} and {other}");
        }
        assert!(versions(2, 3).has(3) && !versions(2, 3).has(4));
    }
}
