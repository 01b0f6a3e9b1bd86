//! The lines that a guest prints on its serial console, the only thing it ever tells the outside.
//!
//! A line is `LW <what> key=value …`; values with blanks are quoted. [`std::fmt::Display`] and [`parse_line`] are each
//! other's inverse for values without quotes and line ends, which are replaced when a line is written.

use crate::chain::Reason;
use std::fmt;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The guest is up; every line until the next of these is of this boot.
    Boot {
        /// Virtual machine, as told by the kernel command line.
        vm: String,
        /// Site, likewise.
        site: String,
        /// Milliseconds since 1970.
        time: u64,
    },
    /// A disk was read from start to end before anything is written to it.
    Chain {
        /// Serial of the disk.
        disk: String,
        /// Whether its chain is whole.
        status: ChainStatus,
    },
    /// A record was written and the disk acknowledged it.
    Record {
        /// Serial of the disk.
        disk: String,
        /// Number of the record.
        number: u64,
        /// Time in the record, milliseconds since 1970.
        time: u64,
    },
    /// The disk has no room for another record.
    Full {
        /// Serial of the disk.
        disk: String,
    },
    /// Something failed; if it was a write, the same record is tried again.
    Error {
        /// Serial of the disk, or `-`.
        disk: String,
        /// Number of the record, or 0.
        number: u64,
        /// The operating system's words.
        detail: String,
    },
    /// The guest was asked to stop: everything acknowledged is on disk, nothing is written any more.
    Stop {
        /// Milliseconds since 1970.
        time: u64,
    },
}

/// What a guest says about one disk's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainStatus {
    /// Whole.
    Ok {
        /// How many.
        records: u64,
        /// Number of the first, 0 if there is none.
        first: u64,
        /// Number of the last, 0 if there is none.
        last: u64,
        /// Site that wrote the last, `-` if there is none.
        last_site: String,
        /// Time of the last, 0 if there is none.
        last_time: u64,
    },
    /// Not whole: the guest writes nothing and powers off.
    Broken {
        /// Block number.
        at: u64,
        /// What kind of wrong.
        reason: Reason,
        /// For people.
        detail: String,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Boot { vm, site, time } => write!(f, "LW boot vm={} site={} t={time}", Word(vm), Word(site)),
            Line::Chain { disk, status: ChainStatus::Ok { records, first, last, last_site, last_time } } => write!(
                f,
                "LW chain disk={} status=ok records={records} first={first} last={last} last_site={} last_t={last_time}",
                Word(disk),
                Word(last_site)
            ),
            Line::Chain { disk, status: ChainStatus::Broken { at, reason, detail } } => {
                let (disk, detail) = (Word(disk), Quoted(detail));
                write!(f, "LW chain disk={disk} status=broken at={at} reason={reason} detail={detail}")
            }
            Line::Record { disk, number, time } => write!(f, "LW rec disk={} n={number} t={time}", Word(disk)),
            Line::Full { disk } => write!(f, "LW full disk={}", Word(disk)),
            Line::Error { disk, number, detail } => {
                write!(f, "LW error disk={} n={number} detail={}", Word(disk), Quoted(detail))
            }
            Line::Stop { time } => write!(f, "LW stop t={time}"),
        }
    }
}

/// A value without blanks; an empty one is `-`.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        f.write_str(&self.0.replace(|c: char| c.is_whitespace() || c.is_control() || c == '"', "_"))
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "'").replace(char::is_control, " "))
    }
}

/// Reads one line; `None` for everything that is not the guest's (firmware, kernel) or not whole.
pub fn parse_line(line: &str) -> Option<Line> {
    let (kind, rest) = split_word(line.trim().strip_prefix("LW ")?);
    let fields = Fields::parse(rest)?;
    let text = |key| fields.text(key);
    let number = |key| fields.text(key)?.parse().ok();
    Some(match kind {
        "boot" => Line::Boot { vm: text("vm")?, site: text("site")?, time: number("t")? },
        "chain" => Line::Chain {
            disk: text("disk")?,
            status: match text("status")?.as_str() {
                "ok" => ChainStatus::Ok {
                    records: number("records")?,
                    first: number("first")?,
                    last: number("last")?,
                    last_site: text("last_site")?,
                    last_time: number("last_t")?,
                },
                "broken" => ChainStatus::Broken {
                    at: number("at")?,
                    reason: Reason::parse(&text("reason")?)?,
                    detail: text("detail")?,
                },
                _ => return None,
            },
        },
        "rec" => Line::Record { disk: text("disk")?, number: number("n")?, time: number("t")? },
        "full" => Line::Full { disk: text("disk")? },
        "error" => Line::Error { disk: text("disk")?, number: number("n")?, detail: text("detail")? },
        "stop" => Line::Stop { time: number("t")? },
        _ => return None,
    })
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn parse(mut rest: &'a str) -> Option<Fields<'a>> {
        let mut fields = Vec::new();
        while !rest.trim_start().is_empty() {
            let (key, after) = rest.trim_start().split_once('=')?;
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => split_word(after),
            };
            fields.push((key, value));
        }
        Some(Fields(fields))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_they_were_written() {
        for line in [
            Line::Boot { vm: "db".into(), site: "east".into(), time: 1_763_800_000_000 },
            Line::Chain {
                disk: "data".into(),
                status: ChainStatus::Ok {
                    records: 12,
                    first: 1,
                    last: 12,
                    last_site: "west".into(),
                    last_time: 1_763_800_000_001,
                },
            },
            Line::Chain {
                disk: "log".into(),
                status: ChainStatus::Broken { at: 4, reason: Reason::Torn, detail: "not zero, and wrong".into() },
            },
            Line::Record { disk: "data".into(), number: 13, time: 5 },
            Line::Full { disk: "data".into() },
            Line::Error { disk: "data".into(), number: 14, detail: "Read-only file system (os error 30)".into() },
            Line::Stop { time: 9 },
        ] {
            assert_eq!(parse_line(&line.to_string()), Some(line.clone()), "{line}");
            assert_eq!(parse_line(&format!("{line}\r\n")), Some(line));
        }
    }

    #[test]
    fn the_seams_are_kept_to_the_letter() {
        let boot = Line::Boot { vm: "db".into(), site: "east".into(), time: 7 };
        assert_eq!(boot.to_string(), "LW boot vm=db site=east t=7");
        let record = Line::Record { disk: "data".into(), number: 3, time: 8 };
        assert_eq!(record.to_string(), "LW rec disk=data n=3 t=8");
    }

    #[test]
    fn other_lines_are_nobodys() {
        for line in ["", "SeaBIOS (version 1.16)", "LW", "LW rec disk=data n=", "LW rec disk=da", "xLW stop t=1"] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }

    #[test]
    fn values_cannot_break_a_line() {
        let line = Line::Error { disk: "a b".into(), number: 1, detail: "x\" n=9\nLW stop t=1".into() };
        assert_eq!(line.to_string(), "LW error disk=a_b n=1 detail=\"x' n=9 LW stop t=1\"");
    }
}
