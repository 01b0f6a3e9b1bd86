//! [`Spread`]: what many measurements of one thing say together.

use std::time::Duration;

/// Durations of one thing, sorted.
#[derive(Debug, Default)]
pub(super) struct Spread(Vec<Duration>);

impl FromIterator<Duration> for Spread {
    fn from_iter<T: IntoIterator<Item = Duration>>(durations: T) -> Self {
        let mut sorted: Vec<_> = durations.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

impl Spread {
    /// The one below which `part` (0 to 1) of all are; zero if nothing was measured.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        // In range and not negative, for `part` is.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (last as f64 * part).round() as usize;
        self.0.get(at.min(last)).copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

pub(super) fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let spread: Spread = [5, 1, 3, 2, 4].map(Duration::from_millis).into_iter().collect();
        let at = |part| spread.quantile(part).as_millis();
        assert_eq!([at(0.0), at(0.5), at(0.99), at(1.0)], [1, 3, 5, 5]);
        assert_eq!(Spread::default().median(), Duration::ZERO);
    }
}
