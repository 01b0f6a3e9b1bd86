//! When to let a guest go on that stands still after an I/O error.
//!
//! The rule is virt-handler's (KubeVirt 1.8, `FailRetryManager`): it does not look whether the storage is back, it
//! just tries. A first failure is tried again at once. If the guest fails again within half a minute of an attempt,
//! the next one waits, 10 s at first and twice as long each time, up to three minutes.

use std::time::{Duration, Instant};

/// A failure this soon after an attempt means that the attempt did not help.
const RELATED: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) struct IoRetry {
    first: Duration,
    max: Duration,
    last: Option<(Instant, Duration)>,
}

impl IoRetry {
    /// `first` and `max` bound the waiting time.
    pub(crate) fn new(first: Duration, max: Duration) -> IoRetry {
        IoRetry { first, max, last: None }
    }

    /// The guest has just stood still: when to let it go on. Counts as the attempt.
    pub(crate) fn failed(&mut self, now: Instant) -> Instant {
        let (at, wait) = match self.last {
            Some((attempt, wait)) if now.saturating_duration_since(attempt) < RELATED => {
                ((attempt + wait).max(now), (wait * 2).min(self.max))
            }
            _ => (now, self.first.min(self.max)),
        };
        self.last = Some((at, wait));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_ever_slower() {
        let start = Instant::now();
        let mut retry = IoRetry::new(Duration::from_secs(10), Duration::from_secs(180));
        let mut now = start;
        let mut tries = Vec::new();
        for _ in 0..7 {
            now = retry.failed(now);
            tries.push((now - start).as_secs());
            now += Duration::from_millis(5);
        }
        assert_eq!(tries, [0, 10, 30, 70, 150, 310, 490]);
    }

    #[test]
    fn a_later_failure_is_a_new_one() {
        let start = Instant::now();
        let mut retry = IoRetry::new(Duration::from_secs(10), Duration::from_secs(180));
        retry.failed(start);
        let later = start + Duration::from_secs(31);
        assert_eq!(retry.failed(later), later);
    }
}
