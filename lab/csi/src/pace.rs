//! How long filling a volume takes. The driver's own copies share extents and take no time; an array's take as long as their
//! data is large. A StorageClass can ask for that, so that what waits for copies is seen to wait.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// The longest that can be asked for, in seconds.
const MOST: u64 = 3600;

/// From the shortest to the longest copy, in seconds. Which volume takes which is by its name, so that a request repeated
/// means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    least: u64,
    most: u64,
}

impl Pace {
    /// Reads `5` or `2-20`.
    ///
    /// # Errors
    /// It is neither, or out of order, or over an hour.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        match (least.trim().parse(), most.trim().parse()) {
            (Ok(least), Ok(most)) if least <= most && most <= MOST => Ok(Pace { least, most }),
            _ => Err(format!("copySeconds {text:?} is neither seconds nor `LEAST-MOST`, up to {MOST}")),
        }
    }

    /// How long the volume `name` takes.
    pub fn of(self, name: &str) -> Duration {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let span = Duration::from_secs(self.most - self.least);
        let [first, ..] = hasher.finish().to_be_bytes();
        Duration::from_secs(self.least) + span * u32::from(first) / u32::from(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_or_from_and_to() {
        assert_eq!(Pace::parse("5").unwrap().of("a"), Duration::from_secs(5));
        for wrong in ["", "-", "20-2", "2-", "x", "2-3-4", "3601", "-1", "1.5"] {
            assert!(Pace::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_volume_has_its_own_time_and_always_the_same() {
        let pace = Pace::parse("2-20").unwrap();
        let times: Vec<_> = (0..50).map(|n| pace.of(&format!("pvc-{n}"))).collect();
        assert_eq!(times, (0..50).map(|n| pace.of(&format!("pvc-{n}"))).collect::<Vec<_>>());
        assert!(times.iter().all(|time| (2.0..=20.0).contains(&time.as_secs_f64())), "{times:?}");
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*most - *least > Duration::from_secs(9), "{times:?}");
    }
}
