//! How far an asynchronous operation is.

use crate::proto::generated as wire;
use std::time::SystemTime;

/// How far an asynchronous operation is.
///
/// Velero asks every ten seconds, and from a *new* process: whatever it takes to answer has to be in the operation's id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The operation has ended, well or badly.
    pub completed: bool,
    /// Why it failed; empty if it did not. Ends the operation, for Velero passes over an error of one that goes on.
    pub error: String,
    /// Units done.
    pub done: i64,
    /// Units in all.
    pub total: i64,
    /// What the units are, e.g. `bytes`.
    pub units: String,
    /// What is being done now.
    pub description: String,
    /// When it began. Velero shows 1970 if absent.
    pub started: Option<SystemTime>,
    /// When it last got on. Velero shows 1970 if absent.
    pub updated: Option<SystemTime>,
}

impl Progress {
    /// `done` of `total` so far, e.g. of `bytes`.
    #[must_use]
    pub fn running(done: i64, total: i64, units: impl Into<String>) -> Self {
        Self { done, total, units: units.into(), ..Self::default() }
    }

    /// Ended well.
    #[must_use]
    pub fn completed() -> Self {
        Self { completed: true, ..Self::default() }
    }

    /// Ended badly, for this reason.
    #[must_use]
    pub fn failed(error: impl Into<String>) -> Self {
        Self { completed: true, error: error.into(), ..Self::default() }
    }

    /// What is being done now.
    #[must_use]
    pub fn doing(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// When it began and when it last got on.
    #[must_use]
    pub fn at(mut self, started: SystemTime, updated: SystemTime) -> Self {
        (self.started, self.updated) = (Some(started), Some(updated));
        self
    }
}

impl From<Progress> for wire::OperationProgress {
    fn from(p: Progress) -> Self {
        Self {
            completed: p.completed || !p.error.is_empty(),
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

#[cfg(feature = "harness")]
impl From<wire::OperationProgress> for Progress {
    fn from(p: wire::OperationProgress) -> Self {
        // A time that no clock can show is as good as none.
        let time = |t: prost_types::Timestamp| SystemTime::try_from(t).ok();
        Self {
            completed: p.completed,
            error: p.err,
            done: p.n_completed,
            total: p.n_total,
            units: p.operation_units,
            description: p.description,
            started: p.started.and_then(time),
            updated: p.updated.and_then(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_ends_the_operation() {
        let odd = Progress { error: "disk full".to_owned(), ..Progress::running(1, 2, "bytes") };
        assert!(wire::OperationProgress::from(odd).completed);
        assert!(!wire::OperationProgress::from(Progress::running(1, 2, "bytes")).completed);
    }
}
