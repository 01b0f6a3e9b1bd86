//! The report of a demonstration: what was done, what it cost, and what proves it; for people who were not there.
//!
//! Laws: a report is data, rendered by pure functions; the same report gives the same bytes. The verdict is never
//! stored but follows from the rows and checks, so that no page can say more than its evidence. Everything shown is
//! escaped: names and console lines come from the systems under test.

mod html;
mod style;
mod table;
mod text;
mod timeline;

use crate::name::SiteName;
pub use html::html;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use table::table;

/// All that is told about one demonstration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DemoReport {
    /// The page's title.
    pub title: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The sites, in the order in which they are drawn.
    pub sites: Vec<SiteName>,
    /// What happened when.
    pub events: Vec<TimelineEvent>,
    /// The parts of the story, in order.
    pub rows: Vec<StoryRow>,
    /// The volumes that were rewritten.
    pub volumes: Vec<VolumeMove>,
    /// Recovery point and recovery time, for each part that has them.
    pub objectives: Vec<Objective>,
    /// What was claimed, and what proves it.
    pub checks: Vec<Check>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// When it began.
    pub at: Timestamp,
    /// Where; `None` if it was everywhere or nowhere.
    pub site: Option<SiteName>,
    /// What kind of thing it is.
    pub kind: EventKind,
    /// What happened, one line.
    pub text: String,
    /// How long it lasted, seconds; 0 for a moment.
    pub seconds: f64,
}

/// How an event is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A part of the story: a bar of its own.
    Part,
    /// A step of a run: a bar in its site's lane.
    Step,
    /// The machines did not answer: a gap in the service lane.
    Outage,
    /// Something was broken on purpose (a site cut off); lasts until it was repaired.
    Fault,
    /// Anything else worth knowing.
    Note,
}

/// One part of the story, with what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryRow {
    /// Its name, e.g. `migrate`.
    pub part: String,
    /// What was done, a sentence.
    pub what: String,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Records that the machines had been told are safe, before.
    pub records_before: Option<u64>,
    /// Records found on the disks, after.
    pub records_after: Option<u64>,
    /// Records missing.
    pub records_lost: Option<u64>,
    /// How much time's worth of data is missing, seconds.
    pub seconds_lost: Option<f64>,
    /// How it ended.
    pub verdict: Verdict,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It was not done.
    Skipped,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The sign for it.
    fn sign(self) -> &'static str {
        match self {
            Self::Passed => "✓",
            Self::Failed => "✗",
            Self::Skipped => "–",
        }
    }
}

/// A volume whose address was rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMove {
    /// Its claim, `namespace/name`.
    pub claim: String,
    /// The PersistentVolume.
    pub pv: String,
    /// Where its data was, e.g. `nfs://10.77.0.1/export/web`.
    pub before: String,
    /// Where its copy is.
    pub after: String,
}

/// What a part lost and how long it took, against what was promised. All in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The part.
    pub part: String,
    /// Recovery point: the age of the newest data that came over.
    pub rpo_seconds: Option<f64>,
    /// What was promised.
    pub rpo_target_seconds: Option<f64>,
    /// Recovery time: how long the machines did not answer.
    pub rto_seconds: Option<f64>,
    /// What was promised.
    pub rto_target_seconds: Option<f64>,
}

impl Objective {
    /// Whether nothing that was measured is over what was promised.
    #[must_use]
    pub fn kept(&self) -> bool {
        let kept = |measured: Option<f64>, target: Option<f64>| match (measured, target) {
            (Some(measured), Some(target)) => measured <= target,
            _ => true,
        };
        kept(self.rpo_seconds, self.rpo_target_seconds) && kept(self.rto_seconds, self.rto_target_seconds)
    }
}

/// A claim and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is claimed, a sentence.
    pub claim: String,
    /// Whether it holds.
    pub passed: bool,
    /// What shows it: a line of a log, a number, an answer of a server.
    pub evidence: String,
}

impl DemoReport {
    /// Failed if a part or a check failed or an objective was missed; skipped if nothing was done or proven; else passed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let failed = self.rows.iter().any(|row| row.verdict == Verdict::Failed)
            || self.checks.iter().any(|check| !check.passed)
            || !self.objectives.iter().all(Objective::kept);
        let done = self.rows.iter().any(|row| row.verdict == Verdict::Passed);
        match (failed, done && !self.checks.is_empty()) {
            (true, _) => Verdict::Failed,
            (false, true) => Verdict::Passed,
            (false, false) => Verdict::Skipped,
        }
    }

    /// The verdict as a sentence, with the numbers that it rests on.
    #[must_use]
    pub fn sentence(&self) -> String {
        let parts = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let held = self.checks.iter().filter(|check| check.passed).count();
        let skipped = match parts(Verdict::Skipped) {
            0 => String::new(),
            n => format!(", {n} skipped"),
        };
        let missed = match self.objectives.iter().filter(|o| !o.kept()).count() {
            0 => String::new(),
            n => format!(", {} missed", text::count(n as u64, "objective")),
        };
        format!(
            "{} of {} passed{skipped}, {held} of {} hold{missed}.",
            parts(Verdict::Passed),
            text::count(self.rows.len() as u64, "part"),
            text::count(self.checks.len() as u64, "check"),
        )
    }

    /// What went wrong, one line each; empty unless the verdict is failed.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let rows = self.rows.iter().filter(|row| row.verdict == Verdict::Failed);
        let rows = rows.map(|row| format!("Part {} failed: {}", row.part, row.what));
        let checks = self.checks.iter().filter(|check| !check.passed);
        let checks = checks.map(|check| format!("Does not hold: {}", check.claim));
        let objectives = self.objectives.iter().filter(|objective| !objective.kept()).map(|objective| {
            let over = |name: &str, measured: Option<f64>, target: Option<f64>| match (measured, target) {
                (Some(measured), Some(target)) if measured > target => {
                    Some(format!("{name} {}, promised {}", text::seconds(measured), text::seconds(target)))
                }
                _ => None,
            };
            let rpo = over("RPO", objective.rpo_seconds, objective.rpo_target_seconds);
            let rto = over("RTO", objective.rto_seconds, objective.rto_target_seconds);
            let over: Vec<String> = rpo.into_iter().chain(rto).collect();
            format!("Part {} missed its objective: {}", objective.part, over.join("; "))
        });
        rows.chain(checks).chain(objectives).collect()
    }

    /// What was lost in which part, with what was promised; says so if nothing was. `None` if nobody counted.
    #[must_use]
    pub fn losses(&self) -> Option<String> {
        self.records_lost()?;
        let lost = |row: &&StoryRow| row.records_lost.unwrap_or(0) > 0 || row.seconds_lost.unwrap_or(0.0) > 0.0;
        let losses: Vec<String> = self
            .rows
            .iter()
            .filter(lost)
            .map(|row| {
                let records = row.records_lost.map_or_else(|| "records".to_owned(), |n| text::count(n, "record"));
                let time = row.seconds_lost.map_or_else(String::new, |s| format!(", {} of data", text::seconds(s)));
                let target = self.objectives.iter().find(|o| o.part == row.part).and_then(|o| o.rpo_target_seconds);
                let promise = target.map_or_else(String::new, |s| format!("; promised: at most {}", text::seconds(s)));
                format!("Part {} lost {records}{time}{promise}.", row.part)
            })
            .collect();
        Some(if losses.is_empty() { "No acknowledged record was lost.".to_owned() } else { losses.join(" ") })
    }

    /// Records lost over all parts; `None` if nobody counted.
    fn records_lost(&self) -> Option<u64> {
        let counted: Vec<u64> = self.rows.iter().filter_map(|row| row.records_lost).collect();
        (!counted.is_empty()).then(|| counted.iter().fold(0u64, |sum, n| sum.saturating_add(*n)))
    }

    /// The longest time for which the machines did not answer.
    fn longest_outage(&self) -> Option<f64> {
        let outages = self.events.iter().filter(|e| e.kind == EventKind::Outage).map(|e| e.seconds);
        outages.filter(|s| s.is_finite()).reduce(f64::max)
    }
}

#[cfg(test)]
mod tests;
