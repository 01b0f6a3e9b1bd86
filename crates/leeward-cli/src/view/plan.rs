//! A plan, for people and programs.

use crate::output::{Shown, columns};
use leeward_model::plan::{Copy, Plan};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// A plan, with what it can be told by.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    #[serde(flatten)]
    plan: Plan,
    sha256: String,
}

impl PlanView {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { sha256: plan.fingerprint(), plan }
    }
}

impl Shown for PlanView {
    fn name(&self) -> String {
        self.plan.run.to_string()
    }

    fn table(&self) -> String {
        let plan = &self.plan;
        let mut text = format!(
            "{} {} of group {}: {} → {}, epoch {} → {}, recovery point {}, plan {}\n",
            plan.kind,
            plan.run,
            plan.group,
            plan.source,
            plan.target,
            plan.epoch_before,
            plan.epoch,
            plan.point,
            short(&self.sha256)
        );
        let vms: Vec<Vec<String>> = plan
            .vms
            .iter()
            .map(|vm| {
                let what = match (&vm.note, vm.start) {
                    (Some(note), _) => note.clone(),
                    (None, true) => format!("starts at {}", plan.target),
                    (None, false) => format!("staged at {}, halted", plan.target),
                };
                vec![vm.priority.to_string(), vm.vm.to_string(), what]
            })
            .collect();
        section(&mut text, &columns(&["wave", "vm", "what happens"], &vms));
        let volumes: Vec<Vec<String>> = plan
            .volumes
            .iter()
            .map(|volume| vec![volume.claim.to_string(), volume.pv.clone(), how(&volume.copy)])
            .collect();
        section(&mut text, &columns(&["claim", "volume", "data"], &volumes));
        for volume in &plan.volumes {
            let _ = write!(text, "\n{} ({})\n  {} → {}\n", volume.pv, volume.claim, volume.before, volume.after);
            for change in &volume.trace.changes {
                let _ = write!(
                    text,
                    "  {}\n    - {}\n    + {}\n",
                    change.pointer,
                    shown(change.before.as_ref()),
                    shown(change.after.as_ref())
                );
            }
        }
        let steps: Vec<Vec<String>> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| vec![(index + 1).to_string(), step.to_string(), step.title().to_owned()])
            .collect();
        section(&mut text, &columns(&["step", "name", "what"], &steps));
        list(&mut text, "left out", plan.skipped.iter().map(|skipped| format!("{}: {}", skipped.step, skipped.why)));
        list(&mut text, "warnings", plan.warnings.iter().cloned());
        list(
            &mut text,
            &format!("given up at {}", plan.target),
            plan.given_up.iter().map(|lost| {
                let until = lost.last_written.map_or(String::new(), |at| format!(", last written {at}"));
                format!("{}: up to {} bytes written after {}{until}", lost.pv, lost.bytes, lost.since)
            }),
        );
        if let Some(since) = plan.loses_since {
            let _ = write!(text, "\nDATA LOSS: everything written after {since} is lost\n");
        }
        if let Some(accepted) = &plan.accepted {
            let _ = write!(text, "\naccepted by {}: {}\n", accepted.who, accepted.reason);
        }
        text.trim_end().to_owned()
    }
}

fn section(text: &mut String, table: &str) {
    let _ = write!(text, "\n{table}\n");
}

fn list(text: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    if !items.is_empty() {
        let _ = write!(text, "\n{title}:\n");
        for item in items {
            let _ = writeln!(text, "  {item}");
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "(nothing)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Enough of a plan's fingerprint for people.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn how(copy: &Copy) -> String {
    match copy {
        Copy::Snapshot { class } => format!("from a snapshot (class {class}), promoted"),
        Copy::Stopped => "from the live volume, its VM stopped".to_owned(),
        Copy::AtPoint { at } => format!("at the target, as of {at}"),
        Copy::Carried { at, why } => format!("stays as of {at}: {why}"),
        Copy::Kept { why } => format!("what the target has: {why}"),
        Copy::Never { why } => format!("none: {why}"),
    }
}
