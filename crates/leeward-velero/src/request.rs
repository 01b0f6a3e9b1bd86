//! What backups and restores have in common when they are asked for.

use crate::VeleroError;
use serde_json::Value;
use std::time::Duration;

/// Longest name of a request: a label's value is 63, and an attempt may add `-99`.
const LONGEST_NAME: usize = 60;

/// Attempts under one name before a person has to look.
pub(crate) const ATTEMPTS: u32 = 20;

/// The name of an attempt, the first being 1.
pub(crate) fn attempt_name(name: &str, attempt: u32) -> String {
    if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") }
}

pub(crate) fn invalid(kind: &'static str, name: &str, problem: &str) -> VeleroError {
    VeleroError::InvalidRequest { kind, name: name.to_owned(), problem: problem.to_owned() }
}

pub(crate) fn check_name(kind: &'static str, name: &str) -> Result<(), VeleroError> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.len() <= LONGEST_NAME
        && name.chars().all(|c| alphanumeric(c) || c == '-')
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric);
    if good {
        return Ok(());
    }
    let problem = format!("the name must be lower-case letters, digits and '-', at most {LONGEST_NAME} characters");
    Err(invalid(kind, name, &problem))
}

/// Text at a path of keys; a JSON pointer would need `/` in a label's key escaped.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(object, |value, key| value.get(key))?.as_str()
}

/// As Go writes a duration, to the second.
pub(crate) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(go_duration(Duration::from_secs(720 * 3600)), "720h0m0s");
        assert_eq!(go_duration(Duration::from_secs(3725)), "1h2m5s");
    }

    #[test]
    fn every_attempt_fits_a_label() {
        let longest = "x".repeat(LONGEST_NAME);
        check_name("Backup", &longest).unwrap();
        assert!(attempt_name(&longest, ATTEMPTS).len() <= 63);
        assert_eq!(attempt_name("a", 1), "a");
        assert_eq!(attempt_name("a", 2), "a-2");
        for bad in ["", "A", "a.b", "../a", "-a", "a-", &"x".repeat(61)] {
            assert!(check_name("Backup", bad).is_err(), "{bad}");
        }
    }
}
