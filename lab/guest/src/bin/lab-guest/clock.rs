//! The time that goes into records.
//!
//! The kernel reads the real-time clock once at start. While the host has the machine paused (after an I/O error) the
//! kernel's own clock stands still, the real-time clock does not; so it is asked again once a second, and a difference
//! of more than its own resolution is made up for. Without this, records written after a pause would look older than
//! the pause.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Seconds since 1970, by the real-time clock.
const REAL_TIME_CLOCK: &str = "/sys/class/rtc/rtc0/since_epoch";

#[derive(Default)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Default)]
struct State {
    asked: Option<Instant>,
    ahead: Duration,
}

impl Clock {
    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let kernel = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Ok(mut state) = self.0.lock() else { return millis(kernel) };
        if state.asked.is_none_or(|asked| asked.elapsed() >= Duration::from_secs(1)) {
            state.asked = Some(Instant::now());
            let seconds = fs::read_to_string(REAL_TIME_CLOCK).ok().and_then(|text| text.trim().parse().ok());
            state.ahead = correction(kernel, state.ahead, seconds.map(Duration::from_secs));
        }
        millis(kernel + state.ahead)
    }
}

/// By how much the kernel's clock is behind, given what was known and what the real-time clock says.
fn correction(kernel: Duration, known: Duration, real: Option<Duration>) -> Duration {
    match real {
        Some(real) if real > kernel + known + Duration::from_secs(1) => real.saturating_sub(kernel),
        _ => known,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_made_up_for_and_jitter_is_not() {
        let second = Duration::from_secs;
        assert_eq!(correction(second(100), second(0), Some(second(101))), second(0));
        assert_eq!(correction(second(100), second(0), Some(second(130))), second(30));
        assert_eq!(correction(second(110), second(30), Some(second(140))), second(30));
        assert_eq!(correction(second(110), second(30), None), second(30));
        assert_eq!(correction(second(110), second(0), Some(second(100))), second(0), "never backwards");
    }
}
