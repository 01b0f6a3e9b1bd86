//! Collects what happened while the story goes on: for the reader's page, and for the exit code.

use jiff::Timestamp;
use leeward_model::{
    name::SiteName,
    report::{Check, DemoReport, EventKind, Objective, StoryRow, TimelineEvent, Verdict, VolumeMove},
};
use serde_json::Value;
use std::sync::Mutex;

/// Collects and tells.
pub struct Tale {
    report: Mutex<DemoReport>,
    aloud: bool,
}

impl Tale {
    /// A tale that has just begun; `aloud` tells it on stderr, too.
    #[must_use]
    pub fn begin(title: &str, aloud: bool) -> Self {
        let now = Timestamp::now();
        let site = |name| SiteName::parse(name).ok();
        let report = DemoReport {
            title: title.to_owned(),
            started: now,
            finished: now,
            sites: ["east", "west"].into_iter().filter_map(site).collect(),
            events: Vec::new(),
            rows: Vec::new(),
            volumes: Vec::new(),
            objectives: Vec::new(),
            checks: Vec::new(),
        };
        Self { report: Mutex::new(report), aloud }
    }

    /// The report as it stands.
    #[must_use]
    pub fn report(&self) -> DemoReport {
        let mut report = self.change(|report| report.clone());
        report.finished = Timestamp::now();
        report
    }

    fn change<T>(&self, change: impl FnOnce(&mut DemoReport) -> T) -> T {
        // A thread that panicked while it told something has left a whole report behind: each change is one push.
        let mut report = self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut report)
    }

    /// Says a line.
    pub fn say(&self, text: &str) {
        if self.aloud {
            eprintln!("{text}");
        }
    }

    /// Says a heading.
    pub fn heading(&self, text: &str) {
        self.say(&format!("\n== {text}"));
    }

    /// Something happened at a moment.
    pub fn note(&self, site: Option<&str>, text: &str) {
        self.event(Timestamp::now(), site, EventKind::Note, text, 0.0);
        self.say(&format!("   {text}"));
    }

    /// Something lasted.
    pub fn event(&self, at: Timestamp, site: Option<&str>, kind: EventKind, text: &str, seconds: f64) {
        let site = site.and_then(|name| SiteName::parse(name).ok());
        let event = TimelineEvent { at, site, kind, text: text.to_owned(), seconds };
        self.change(|report| report.events.push(event));
    }

    /// A claim and whether it holds.
    pub fn check(&self, claim: impl Into<String>, passed: bool, evidence: impl Into<String>) {
        let check = Check { claim: claim.into(), passed, evidence: evidence.into() };
        self.say(&format!("   {} {} ({})", if passed { "ok  " } else { "FAIL" }, check.claim, check.evidence));
        self.change(|report| report.checks.push(check));
    }

    /// Checks that did not hold since `from` checks were made.
    #[must_use]
    pub fn failures(&self, from: usize) -> Vec<String> {
        self.change(|report| {
            report
                .checks
                .iter()
                .skip(from)
                .filter(|check| !check.passed)
                .map(|check| format!("{}: {}", check.claim, check.evidence))
                .collect()
        })
    }

    /// How many checks were made.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.change(|report| report.checks.len())
    }

    /// A part of the story is over.
    pub fn part(&self, began: Timestamp, row: StoryRow, objective: Option<Objective>) {
        self.event(began, None, EventKind::Part, &row.part, row.seconds);
        self.change(|report| {
            report.rows.push(row);
            report.objectives.extend(objective);
        });
    }

    /// The verdict over the checks since `from`.
    #[must_use]
    pub fn verdict(&self, from: usize) -> Verdict {
        if self.failures(from).is_empty() { Verdict::Passed } else { Verdict::Failed }
    }

    /// Takes steps and volumes over from what `leeward` printed of a run.
    pub fn run(&self, data: &Value) {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        for step in data.get("steps").and_then(Value::as_array).into_iter().flatten() {
            let Ok(at) = text(step, "started").parse() else { continue };
            let name = text(step, "step");
            let site = match name.as_str() {
                "takeSnapshots" | "backUpPoint" | "backUpFinal" | "stopVms" | "fenceSource" | "reprotect" => {
                    text(data, "source")
                }
                _ => text(data, "target"),
            };
            let seconds = step.get("seconds").and_then(Value::as_f64).unwrap_or_default();
            self.event(at, Some(&site), EventKind::Step, &name, seconds);
        }
        for volume in data.get("volumes").and_then(Value::as_array).into_iter().flatten() {
            let moved = VolumeMove {
                claim: text(volume, "claim"),
                pv: text(volume, "pv"),
                before: text(volume, "beforeText"),
                after: text(volume, "afterText"),
            };
            self.change(|report| {
                if !report.volumes.contains(&moved) {
                    report.volumes.push(moved);
                }
            });
        }
    }
}
