//! What is known about one running or ended guest: pure, fed with console lines and QEMU's events.

use leeward_lab_guest::console::{ChainStatus, Line, parse_line};
use std::collections::BTreeMap;

/// How a guest ended, in KubeVirt's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It shut itself down when it was asked to.
    Succeeded,
    /// Anything else; the message says what.
    Failed { reason: &'static str, message: String },
}

/// Why QEMU holds the processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IoPause {
    /// Drive id of the disk that failed, if known (not after a restart of this program).
    pub(crate) drive: Option<String>,
    /// The operating system's words.
    pub(crate) reason: String,
}

/// Everything that is reported of a guest. Two equal ones need no new report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Set while QEMU has stopped the guest because a disk failed.
    pub(crate) paused: Option<IoPause>,
    /// By serial, of this boot.
    pub(crate) chains: BTreeMap<String, ChainStatus>,
    /// The guest said that it stops.
    pub(crate) said_stop: bool,
    /// Set once QEMU has ended.
    pub(crate) outcome: Option<Outcome>,
}

impl Observed {
    /// Takes in one line of the console.
    pub(crate) fn console(&mut self, line: &str) {
        match parse_line(line) {
            Some(Line::Boot { .. }) => {
                self.chains.clear();
                self.said_stop = false;
            }
            Some(Line::Chain { disk, status }) => {
                self.chains.insert(disk, status);
            }
            Some(Line::Stop { .. }) => self.said_stop = true,
            _ => {}
        }
    }

    /// Whether the guest has found every one of these disks whole.
    pub(crate) fn all_whole<'a>(&self, mut serials: impl Iterator<Item = &'a str>) -> bool {
        serials.all(|serial| matches!(self.chains.get(serial), Some(ChainStatus::Ok { .. })))
    }

    /// Judges the end of the guest. `killed`: this program ended it, after its grace period.
    pub(crate) fn end(&mut self, killed: bool) {
        self.paused = None;
        let broken = self.chains.iter().find_map(|(disk, status)| match status {
            ChainStatus::Broken { at, reason, detail } => Some(format!(
                "disk {disk} is not whole: {reason} at block {at}: {detail}; nothing was written [LW-0974]"
            )),
            ChainStatus::Ok { .. } => None,
        });
        self.outcome = Some(match broken {
            Some(message) => Outcome::Failed { reason: "BrokenDisk", message },
            None if self.said_stop => Outcome::Succeeded,
            None if killed => Outcome::Failed {
                reason: "Killed",
                message:
                    "the guest did not stop within its grace period and was ended; records that it printed are on \
                          its disks [LW-0976]"
                        .to_owned(),
            },
            None => Outcome::Failed {
                reason: "GuestEnded",
                message: "the guest ended without having been asked to; its console log says why [LW-0975]".to_owned(),
            },
        });
    }

    /// Whether QEMU runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.outcome.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(lines: &[&str]) -> Observed {
        let mut observed = Observed::default();
        for line in lines {
            observed.console(line);
        }
        observed
    }

    const OK: &str = "LW chain disk=data status=ok records=1 first=1 last=1 last_site=east last_t=5";

    #[test]
    fn the_agent_is_there_when_all_disks_are_whole() {
        let observed = fed(&["LW boot vm=db site=east t=1", OK]);
        assert!(observed.all_whole(["data"].into_iter()));
        assert!(!observed.all_whole(["data", "log"].into_iter()));
        let again = fed(&["LW boot vm=db site=east t=1", OK, "LW boot vm=db site=east t=2"]);
        assert!(!again.all_whole(["data"].into_iter()), "only this boot counts");
    }

    #[test]
    fn ends_are_told_apart() {
        let outcome = |lines: &[&str], killed| {
            let mut observed = fed(lines);
            observed.end(killed);
            observed.outcome.unwrap()
        };
        assert_eq!(outcome(&[OK, "LW stop t=9"], false), Outcome::Succeeded);
        assert_eq!(outcome(&[OK, "LW stop t=9"], true), Outcome::Succeeded, "it stopped just in time");
        let reason = |lines: &[&str], killed| match outcome(lines, killed) {
            Outcome::Failed { reason, .. } => reason,
            Outcome::Succeeded => "Succeeded",
        };
        assert_eq!(reason(&[OK], true), "Killed");
        assert_eq!(reason(&[OK], false), "GuestEnded");
        let broken = "LW chain disk=log status=broken at=4 reason=lost detail=\"x\"";
        assert_eq!(reason(&[OK, broken], false), "BrokenDisk");
        assert_eq!(reason(&[OK, broken, "LW stop t=1"], true), "BrokenDisk");
    }
}
