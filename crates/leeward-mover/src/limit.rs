//! How fast a link is used: a bucket that fills with the bytes that may be sent, and is emptied by sending.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time, so that a test can put its own in the place of it.
pub trait Clock: Sync + Send {
    /// Time since some beginning.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug)]
pub struct RealClock(Instant);

impl RealClock {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Bytes that may be sent, for all who share a link.
///
/// It holds no credit but that of the last instant: who was silent for an hour may not send an hour's worth at once.
#[derive(Debug)]
pub struct Bucket<C> {
    rate: NonZeroU64,
    clock: C,
    /// When all that was taken will have been sent.
    empty_at: Mutex<Duration>,
}

impl<C: Clock> Bucket<C> {
    /// Fills with `rate` bytes in a second.
    pub fn new(rate: NonZeroU64, clock: C) -> Self {
        let empty_at = Mutex::new(clock.now());
        Self { rate, clock, empty_at }
    }

    /// Takes `bytes`, and returns when they may be sent.
    pub fn take(&self, bytes: u64) {
        let now = self.clock.now();
        let wait = {
            let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = now.max(*empty_at);
            let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
            *empty_at = begins + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            begins - now
        };
        if !wait.is_zero() {
            self.clock.sleep(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes on only while somebody sleeps.
    #[derive(Default)]
    struct Played(Mutex<Duration>);

    impl Clock for &Played {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }

    #[test]
    fn no_more_goes_than_the_rate() {
        let clock = Played::default();
        let bucket = Bucket::new(NonZeroU64::new(1000).unwrap(), &clock);
        for _ in 0..11 {
            bucket.take(500);
        }
        assert_eq!((&clock).now(), Duration::from_secs(5), "the eleventh goes when ten were sent");
        (&clock).sleep(Duration::from_secs(3600));
        let before = (&clock).now();
        bucket.take(1000);
        bucket.take(1000);
        bucket.take(1);
        assert_eq!((&clock).now() - before, Duration::from_secs(2), "an hour's silence is no credit");
        bucket.take(u64::MAX);
    }
}
