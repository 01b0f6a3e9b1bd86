//! The journal of a run: numbered entries, each written once, and what they add up to.
//!
//! An entry is created only if its number is free, so of two executors of one run one loses at its next entry and stops
//! before its next effect. Times are for people; order is the number's alone.

use crate::{
    name::SiteName,
    plan::Plan,
    run::{IllegalTransition, RunKind, Step, StepEvent, StepPhase, next},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: jiff::Timestamp,
    /// Who wrote it: host and process, for people.
    pub by: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What an entry tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum Event {
    /// An executor took the run up.
    #[serde(rename_all = "camelCase")]
    Opened {
        /// Host of the executor; another host may take over only when told to.
        host: String,
    },
    /// A step's intent.
    #[serde(rename_all = "camelCase")]
    Started {
        /// The step.
        step: Step,
    },
    /// A step is done.
    #[serde(rename_all = "camelCase")]
    Succeeded {
        /// The step.
        step: Step,
        /// Whether it was found done rather than done now.
        observed: bool,
        /// What later steps and readers need of it.
        output: Value,
    },
    /// A step could not be done; a repeat tries it again.
    #[serde(rename_all = "camelCase")]
    Failed {
        /// The step.
        step: Step,
        /// Why, with all causes.
        error: String,
    },
    /// The run is over.
    #[serde(rename_all = "camelCase")]
    Finished {
        /// How.
        outcome: Outcome,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// All steps were done.
    Completed,
    /// Given up before it changed the active site; nothing but this record is left of it.
    Abandoned,
}

/// A journal that does not read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A number is missing or out of order.
    #[error(
        "the run's journal has entry {found} where {expected} should be: an object is missing from the store [LW-0152]"
    )]
    Gap {
        /// The number that should follow.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// An entry names a step that the plan has not.
    #[error("the run's journal names step {0}, which its plan does not have [LW-0153]")]
    ForeignStep(Step),
    /// Something follows the run's end.
    #[error("the run's journal has entry {0} after its end: an object was added to the store by hand [LW-0154]")]
    AfterEnd(u64),
    /// A move that the table forbids.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
}

/// One step, as far as it has come.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// The step.
    pub step: Step,
    /// Its phase.
    pub phase: StepPhase,
    /// How often it was started.
    pub attempts: u32,
    /// Its output, once it succeeded.
    pub output: Value,
    /// Its last error, if it failed last.
    pub error: Option<String>,
    /// When it was first started.
    pub started: Option<jiff::Timestamp>,
    /// When it succeeded.
    pub ended: Option<jiff::Timestamp>,
}

/// A run, as far as its journal tells.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    /// Its steps in the plan's order.
    pub steps: Vec<StepState>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    /// Host of the executor that had it last.
    pub host: Option<String>,
    /// Number of the last entry; 0 if there is none.
    pub last: u64,
}

impl RunState {
    /// A run of which nothing has been done.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let steps = plan
            .steps
            .iter()
            .map(|&step| StepState {
                step,
                phase: StepPhase::Pending,
                attempts: 0,
                output: Value::Null,
                error: None,
                started: None,
                ended: None,
            })
            .collect();
        Self { steps, outcome: None, host: None, last: 0 }
    }

    /// Whether the run has the step and was ever at it.
    #[must_use]
    pub fn has_begun(&self, step: Step) -> bool {
        self.step(step).is_some_and(|state| state.phase != StepPhase::Pending)
    }

    /// What the entries of a run add up to.
    ///
    /// # Errors
    /// [`JournalError`] if they do not follow one another as they must.
    pub fn replay(plan: &Plan, entries: &[Entry]) -> Result<Self, JournalError> {
        let mut state = Self::new(plan);
        for entry in entries {
            state.apply(entry)?;
        }
        Ok(state)
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// [`JournalError`] if it does not follow.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), JournalError> {
        if entry.seq != self.last + 1 {
            return Err(JournalError::Gap { expected: self.last + 1, found: entry.seq });
        }
        if self.outcome.is_some() {
            return Err(JournalError::AfterEnd(entry.seq));
        }
        match &entry.event {
            Event::Opened { host } => self.host = Some(host.clone()),
            Event::Started { step } => {
                let state = self.advance(*step, StepEvent::Start)?;
                state.attempts += 1;
                state.error = None;
                state.started.get_or_insert(entry.at);
            }
            Event::Succeeded { step, output, .. } => {
                let state = self.advance(*step, StepEvent::Succeed)?;
                state.output = output.clone();
                state.ended = Some(entry.at);
            }
            Event::Failed { step, error } => self.advance(*step, StepEvent::Fail)?.error = Some(error.clone()),
            Event::Finished { outcome } => self.outcome = Some(*outcome),
        }
        self.last = entry.seq;
        Ok(())
    }

    /// The first step that is not done, if any.
    #[must_use]
    pub fn pending(&self) -> Option<Step> {
        self.steps.iter().find(|state| state.phase != StepPhase::Succeeded).map(|state| state.step)
    }

    /// A step's state.
    #[must_use]
    pub fn step(&self, step: Step) -> Option<&StepState> {
        self.steps.iter().find(|state| state.step == step)
    }

    fn advance(&mut self, step: Step, event: StepEvent) -> Result<&mut StepState, JournalError> {
        let state = self.steps.iter_mut().find(|state| state.step == step).ok_or(JournalError::ForeignStep(step))?;
        state.phase = next(state.phase, event)?;
        Ok(state)
    }
}

/// The witness's record: who is active, since which epoch. One object an epoch, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WitnessRecord {
    /// The epoch.
    pub epoch: crate::name::Epoch,
    /// The site that is active from this epoch on.
    pub active: SiteName,
    /// The run that made it so.
    pub run: crate::name::RunId,
    /// What kind of run that was.
    pub kind: RunKind,
    /// The recovery point the active site started from; what any other site wrote later is not in it.
    pub point: crate::name::PointId,
    /// When.
    pub at: jiff::Timestamp,
    /// Host and process that wrote it.
    pub by: String,
}

#[cfg(test)]
mod tests;
