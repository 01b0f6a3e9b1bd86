//! How far an asynchronous operation is.

use crate::proto::generated as wire;
use std::time::SystemTime;

/// How far an asynchronous operation is.
///
/// Velero asks from a *new* process: whatever it takes to answer has to be in the operation's id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The operation has ended, well or badly.
    pub completed: bool,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// Units done.
    pub done: i64,
    /// Units in all.
    pub total: i64,
    /// What the units are, e.g. `bytes`.
    pub units: String,
    /// What is being done now.
    pub description: String,
    /// When it began.
    pub started: Option<SystemTime>,
    /// When it last got on.
    pub updated: Option<SystemTime>,
}

impl From<Progress> for wire::OperationProgress {
    fn from(p: Progress) -> Self {
        Self {
            completed: p.completed,
            err: p.error,
            n_completed: p.done,
            n_total: p.total,
            operation_units: p.units,
            description: p.description,
            started: p.started.map(Into::into),
            updated: p.updated.map(Into::into),
        }
    }
}
