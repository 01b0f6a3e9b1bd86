//! What became of a run, for people and programs.

use crate::output::{Shown, columns};
use leeward_engine::engine::Carried;
use leeward_model::{
    address::VolumeAddress,
    journal::Outcome,
    name::{Epoch, GroupName, PointId, RunId, SiteName},
    plan::observed::DivergenceObserved,
    run::RunKind,
};
use serde::Serialize;
use std::fmt::Write;

/// A run that was carried out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunView {
    run: RunId,
    kind: RunKind,
    group: GroupName,
    source: SiteName,
    target: SiteName,
    epoch: Epoch,
    point: PointId,
    backup: String,
    resumed: bool,
    outcome: Option<Outcome>,
    started: Option<jiff::Timestamp>,
    ended: Option<jiff::Timestamp>,
    seconds: f64,
    steps: Vec<StepView>,
    volumes: Vec<VolumeView>,
    skipped: Vec<String>,
    warnings: Vec<String>,
    given_up: Vec<DivergenceObserved>,
    loses_since: Option<jiff::Timestamp>,
    put_right: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepView {
    step: String,
    attempts: u32,
    started: Option<jiff::Timestamp>,
    seconds: f64,
    output: serde_json::Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeView {
    claim: String,
    pv: String,
    before: VolumeAddress,
    after: VolumeAddress,
    /// The addresses as people write them.
    before_text: String,
    after_text: String,
}

impl RunView {
    pub(crate) fn new(carried: &Carried) -> Self {
        let (plan, state) = (&carried.run.plan, &carried.run.state);
        let started = state.steps.iter().filter_map(|step| step.started).min();
        let ended = state.steps.iter().filter_map(|step| step.ended).max();
        Self {
            run: plan.run.clone(),
            kind: plan.kind,
            group: plan.group.clone(),
            source: plan.source.clone(),
            target: plan.target.clone(),
            epoch: plan.epoch,
            point: plan.point.clone(),
            backup: plan.backup.clone(),
            resumed: carried.resumed,
            outcome: state.outcome,
            started,
            ended,
            seconds: seconds(started, ended),
            steps: state
                .steps
                .iter()
                .map(|step| StepView {
                    step: step.step.to_string(),
                    attempts: step.attempts,
                    started: step.started,
                    seconds: seconds(step.started, step.ended),
                    output: step.output.clone(),
                })
                .collect(),
            volumes: plan
                .volumes
                .iter()
                .map(|volume| VolumeView {
                    claim: volume.claim.to_string(),
                    pv: volume.pv.clone(),
                    before: volume.before.clone(),
                    after: volume.after.clone(),
                    before_text: volume.before.to_string(),
                    after_text: volume.after.to_string(),
                })
                .collect(),
            skipped: plan.skipped.iter().map(|skipped| format!("{}: {}", skipped.step, skipped.why)).collect(),
            warnings: plan.warnings.clone(),
            given_up: plan.given_up.clone(),
            loses_since: plan.loses_since,
            put_right: carried
                .put_right
                .iter()
                .flat_map(|site| site.stopped.iter().map(|vm| format!("{vm} stopped at {}", site.site)))
                .collect(),
        }
    }
}

fn seconds(from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs_f64(),
        _ => 0.0,
    }
}

impl Shown for RunView {
    fn name(&self) -> String {
        self.run.to_string()
    }

    fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .steps
            .iter()
            .map(|step| {
                let again = if step.attempts > 1 { format!("{} attempts", step.attempts) } else { String::new() };
                vec![step.step.clone(), format!("{:.1}", step.seconds), again]
            })
            .collect();
        let mut text = columns(&["step", "seconds", ""], &rows);
        for line in &self.put_right {
            let _ = write!(text, "\nput right first: {line}");
        }
        for lost in &self.given_up {
            let _ = write!(text, "\ngiven up at {}: {}, up to {} bytes", self.target, lost.pv, lost.bytes);
        }
        if let Some(since) = self.loses_since {
            let _ = write!(text, "\nlost: what was written after {since}");
        }
        if self.outcome == Some(Outcome::Abandoned) {
            let _ = write!(
                text,
                "\n{} {} was taken back: {} is active at {}",
                self.kind, self.run, self.group, self.source
            );
            return text;
        }
        let active = if self.kind.moves() { &self.target } else { &self.source };
        let _ = write!(
            text,
            "\n{} {} done in {:.1} s{}: {} is active at {active}, epoch {}, recovery point {}",
            self.kind,
            self.run,
            self.seconds,
            if self.resumed { " (begun earlier)" } else { "" },
            self.group,
            self.epoch,
            self.point
        );
        text
    }
}
