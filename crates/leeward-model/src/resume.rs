//! What becomes of an unfinished run when something is asked for: it is gone on with, given up, or in the way.
//!
//! A run may be given up only as long as no VM was started at its target: until then the source's data is the newest.

use crate::{
    journal::{Outcome, RunState, WitnessRecord},
    name::SiteName,
    plan::{Plan, observed::Request},
    run::{RunKind, Step, StepPhase},
};

/// What becomes of an unfinished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// It is what was asked for: go on with it.
    GoOn,
    /// Give it up, and do what was asked for.
    GiveUp,
    /// It has to be finished, or rolled back, first.
    InTheWay,
}

/// Whether VMs may have been started at the run's target.
#[must_use]
pub fn may_have_started(state: &RunState) -> bool {
    state.step(Step::StartVms).is_some_and(|step| step.phase != StepPhase::Pending)
}

/// What becomes of the unfinished run (`plan`, `state`) when `request` is asked for.
#[must_use]
pub fn unfinished(plan: &Plan, state: &RunState, request: &Request) -> Unfinished {
    if plan.kind == request.kind && plan.target == request.target {
        return Unfinished::GoOn;
    }
    match (plan.kind, request.kind) {
        // A cycle changes nothing that a later cycle does not sweep up. The disaster must not wait for it (N4, N6).
        (RunKind::Cycle, _) => Unfinished::GiveUp,
        // The source was lost in the middle of a planned move: what has arrived is what there is.
        (RunKind::Migrate | RunKind::Failback, RunKind::Failover)
            if plan.target == request.target && !may_have_started(state) =>
        {
            Unfinished::GiveUp
        }
        (RunKind::Migrate | RunKind::Failback | RunKind::Failover, _) => Unfinished::InTheWay,
    }
}

/// The site that holds the newest data although a move has taken the epoch from it: the source of a move that has not
/// started anything at its target. `None` if the witness's word holds.
#[must_use]
pub fn half_moved<'a>(witness: &WitnessRecord, plan: &'a Plan, state: &RunState) -> Option<&'a SiteName> {
    let by_this_run = witness.run == plan.run && witness.active == plan.target && plan.kind.moves();
    (by_this_run && state.outcome != Some(Outcome::Completed) && !may_have_started(state)).then_some(&plan.source)
}

#[cfg(test)]
mod tests;
