//! How far Velero is with a `Backup` or a `Restore`.

use serde_json::Value;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Velero has not looked at it.
    NotStarted,
    /// Velero works on it: what it does, as a sentence.
    Running(String),
    /// Done, whole.
    Completed,
    /// Ended, and not whole.
    Failed {
        /// Velero's phase.
        phase: String,
        /// What the object itself says of it; the items that failed are in the results file.
        reasons: Vec<String>,
    },
}

impl Verdict {
    /// Reads it from the object's status.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let phase = object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        if object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
            return failed("Deleting", vec!["it is being deleted".to_owned()]);
        }
        match phase {
            "" | "New" => Self::NotStarted,
            "Completed" => Self::Completed,
            "Failed" | "PartiallyFailed" | "FailedValidation" | "Deleting" => failed(phase, reasons(object)),
            "Queued" => Self::Running(match number(object, "queuePosition") {
                0 => "in Velero's queue".to_owned(),
                position => format!("in Velero's queue, position {position}"),
            }),
            "ReadyToStart" => Self::Running("about to start".to_owned()),
            "InProgress" => Self::Running(progress(object)),
            "WaitingForPluginOperations" | "WaitingForPluginOperationsPartiallyFailed" => {
                Self::Running("waiting for work that plug-ins started".to_owned())
            }
            "Finalizing" | "FinalizingPartiallyFailed" => Self::Running("being finalized".to_owned()),
            // A phase of a newer Velero: not an end that Leeward knows, so it is waited on.
            other => Self::Running(format!("in phase {other}")),
        }
    }
}

/// Objects done so far, or altogether when it has ended.
pub(crate) fn items_done(object: &Value) -> u64 {
    // A Backup counts `itemsBackedUp`, a Restore `itemsRestored`.
    let backed_up = number(object, "progress/itemsBackedUp");
    if backed_up > 0 { backed_up } else { number(object, "progress/itemsRestored") }
}

pub(crate) fn number(object: &Value, field: &str) -> u64 {
    object.pointer(&format!("/status/{field}")).and_then(Value::as_u64).unwrap_or(0)
}

/// When it was completed.
pub(crate) fn completed(object: &Value) -> Option<jiff::Timestamp> {
    object.pointer("/status/completionTimestamp").and_then(Value::as_str)?.parse().ok()
}

fn progress(object: &Value) -> String {
    match number(object, "progress/totalItems") {
        0 => "in progress".to_owned(),
        total => format!("{} of {total} objects done", items_done(object)),
    }
}

fn failed(phase: &str, reasons: Vec<String>) -> Verdict {
    Verdict::Failed { phase: phase.to_owned(), reasons }
}

fn reasons(object: &Value) -> Vec<String> {
    let validation = object.pointer("/status/validationErrors").and_then(Value::as_array).into_iter().flatten();
    let mut reasons: Vec<String> = validation.filter_map(Value::as_str).map(str::to_owned).collect();
    reasons.extend(
        object
            .pointer("/status/failureReason")
            .and_then(Value::as_str)
            .filter(|why| !why.is_empty())
            .map(str::to_owned),
    );
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: Value) -> Verdict {
        Verdict::read(&json!({ "status": status }))
    }

    #[test]
    fn only_completed_is_good() {
        assert_eq!(read(json!({ "phase": "Completed" })), Verdict::Completed);
        for phase in ["Failed", "PartiallyFailed", "FailedValidation", "Deleting"] {
            assert!(matches!(read(json!({ "phase": phase })), Verdict::Failed { .. }), "{phase}");
        }
        for phase in ["Queued", "ReadyToStart", "InProgress", "Finalizing", "FinalizingPartiallyFailed", "Tidying"] {
            assert!(matches!(read(json!({ "phase": phase })), Verdict::Running(_)), "{phase}");
        }
        assert_eq!(Verdict::read(&json!({})), Verdict::NotStarted);
        assert_eq!(read(json!({ "phase": "New" })), Verdict::NotStarted);
    }

    #[test]
    fn says_what_it_is_doing() {
        let running = |status| match read(status) {
            Verdict::Running(what) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            running(json!({ "phase": "InProgress", "progress": { "totalItems": 40, "itemsBackedUp": 12 } })),
            "12 of 40 objects done"
        );
        assert_eq!(
            running(json!({ "phase": "InProgress", "progress": { "totalItems": 9, "itemsRestored": 3 } })),
            "3 of 9 objects done"
        );
        assert_eq!(running(json!({ "phase": "InProgress", "progress": null })), "in progress");
        assert!(running(json!({ "phase": "Queued", "queuePosition": 2 })).contains("position 2"));
    }

    #[test]
    fn keeps_the_reasons_the_object_gives() {
        let status = json!({ "phase": "FailedValidation", "validationErrors": ["no location"], "failureReason": "" });
        assert_eq!(
            read(status),
            Verdict::Failed { phase: "FailedValidation".into(), reasons: vec!["no location".into()] }
        );
        let gone =
            json!({ "metadata": { "deletionTimestamp": "2026-11-22T18:05:01Z" }, "status": { "phase": "Completed" } });
        assert!(matches!(Verdict::read(&gone), Verdict::Failed { .. }));
    }
}
