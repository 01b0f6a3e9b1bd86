//! Carries out a plan: step after step, intent before effect, going on where an earlier executor stopped.
//!
//! The executor makes no choices. For each step that the journal does not call done it
//! 1. writes `Started` (losing the race for the entry's number means that another executor is at work: stop),
//! 2. makes sure that the plan's epoch still holds (N1),
//! 3. asks whether the world is already so ([`Performer::observe`]), else does it ([`Performer::perform`]),
//! 4. writes `Succeeded` with the output that later steps need, or `Failed` with the causes.

use crate::{
    error::{EngineError, StateError, StepError},
    progress::{Listener, Told},
    state::{RunRecord, State},
};
use leeward_model::{
    journal::{Entry, Event, Outcome},
    plan::Plan,
    run::{Step, StepPhase},
};
use serde_json::Value;
use std::time::Instant;

/// What was done so far, for later steps.
pub struct Outputs<'a>(&'a RunRecord);

impl Outputs<'_> {
    /// The output of a step that is done.
    ///
    /// # Errors
    /// [`StepError::MissingOutput`] if there is none of that form.
    pub fn of<T: serde::de::DeserializeOwned>(&self, step: Step) -> Result<T, StepError> {
        self.0
            .state
            .step(step)
            .filter(|state| state.phase == StepPhase::Succeeded)
            .and_then(|state| serde_json::from_value(state.output.clone()).ok())
            .ok_or(StepError::MissingOutput(step))
    }
}

/// Does what steps say.
#[async_trait::async_trait]
pub trait Performer: Send + Sync {
    /// Whether the step's effect is there already; its output if so.
    ///
    /// # Errors
    /// What keeps it from being seen.
    async fn observe(&self, plan: &Plan, step: Step, outputs: &Outputs<'_>) -> Result<Option<Value>, StepError>;

    /// Does the step. May be called again after any interruption.
    ///
    /// # Errors
    /// What kept it from being done.
    async fn perform(&self, plan: &Plan, step: Step, outputs: &Outputs<'_>) -> Result<Value, StepError>;
}

/// Who carries out, for the journal.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Host name.
    pub host: String,
    /// Host and process.
    pub by: String,
}

/// The clock, injected.
pub type Clock = fn() -> jiff::Timestamp;

/// Carries out plans.
pub struct Executor<'a> {
    /// Leeward's records.
    pub state: &'a State,
    /// Who does it.
    pub performer: &'a dyn Performer,
    /// Who hears of it.
    pub listener: &'a dyn Listener,
    /// Who it is.
    pub identity: Identity,
    /// What time it is.
    pub clock: Clock,
}

impl Executor<'_> {
    /// Carries the run out to its end, from wherever it is.
    ///
    /// # Errors
    /// [`EngineError::Step`] at the first step that fails; a repeat goes on there.
    pub async fn carry_out(&self, run: &mut RunRecord) -> Result<(), EngineError> {
        self.write(run, Event::Opened { host: self.identity.host.clone() }).await?;
        let of = run.plan.steps.len();
        for (index, step) in run.plan.steps.clone().into_iter().enumerate() {
            if run.state.step(step).is_some_and(|state| state.phase == StepPhase::Succeeded) {
                self.listener.hear(Told::Before { step });
                continue;
            }
            self.listener.hear(Told::Started { step, number: index + 1, of });
            let began = Instant::now();
            self.write(run, Event::Started { step }).await?;
            match self.one(run, step).await {
                Ok((observed, output)) => {
                    self.write(run, Event::Succeeded { step, observed, output }).await?;
                    self.listener.hear(Told::Done { step, observed, took: began.elapsed() });
                }
                Err(source) => {
                    self.listener.hear(Told::Failed { step });
                    // A store that is down must not hide why the step failed.
                    let recorded = self.write(run, Event::Failed { step, error: chain(&source) }).await;
                    if let Err(error) = recorded {
                        tracing::warn!(error = %chain(&error), "the failure could not be recorded");
                    }
                    return Err(EngineError::Step { run: run.plan.run.clone(), step, source: Box::new(source) });
                }
            }
        }
        self.write(run, Event::Finished { outcome: Outcome::Completed }).await?;
        Ok(())
    }

    async fn one(&self, run: &RunRecord, step: Step) -> Result<(bool, Value), StepError> {
        let plan = &run.plan;
        if step.needs_epoch() {
            let active = if plan.kind.moves() { &plan.target } else { &plan.source };
            self.state.hold(&plan.group, plan.epoch, active).await?;
        }
        let outputs = Outputs(run);
        match self.performer.observe(plan, step, &outputs).await? {
            Some(output) => Ok((true, output)),
            None => Ok((false, self.performer.perform(plan, step, &outputs).await?)),
        }
    }

    async fn write(&self, run: &mut RunRecord, event: Event) -> Result<(), StateError> {
        let entry = Entry { seq: run.state.last + 1, at: (self.clock)(), by: self.identity.by.clone(), event };
        self.state.record(run, entry).await
    }
}

/// An error with all its causes, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let one = error.to_string();
        if !text.contains(&one) {
            text.push_str(": ");
            text.push_str(&one);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
