//! What a run is made of: its kind, its steps, and the one table that says how a step moves from phase to phase.
//!
//! Laws:
//! - A step's intent (`Started`) is recorded before its first effect, its end after its last one.
//! - A step that is `Started` may or may not have happened: whoever goes on observes the world before doing it again.
//! - Nothing but [`next`] changes a phase; what it does not list is illegal.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunKind {
    /// Make a new recovery point at the standby site; the active site stays the same.
    Cycle,
    /// Planned move to the standby site, without loss.
    Migrate,
    /// The active site is lost: go on at the standby from the newest recovery point.
    Failover,
    /// Planned move back to where the group was first active.
    Failback,
}

impl RunKind {
    /// The verb of the command line, and the prefix of run names.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::Migrate => "migrate",
            Self::Failover => "failover",
            Self::Failback => "failback",
        }
    }

    /// Whether the active site changes.
    #[must_use]
    pub fn moves(self) -> bool {
        !matches!(self, Self::Cycle)
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}

/// One resumable action. What it acts on stands in the plan; a step has no choices of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Give both sites' plug-ins the mapping this plan was made with.
    PublishMapping,
    /// Take a VolumeSnapshot of each claim that can be snapshotted.
    TakeSnapshots,
    /// Metadata backup at the active site, in which the plug-in promotes the snapshots.
    BackUpPoint,
    /// Bring the point's data to the standby site.
    Replicate,
    /// Restore the point's objects at the standby site, VMs halted, and check that every claim has the right address.
    Stage,
    /// Read the point at the standby site again, and say which staged VM has all its disks.
    VerifyStaged,
    /// Remove what older points left behind.
    Prune,
    /// Claim the next epoch for the target site.
    TakeEpoch,
    /// Stop the VMs at the source site, gracefully.
    StopVms,
    /// Make the source site's volumes read-only and prove it.
    FenceSource,
    /// Metadata backup of the stopped VMs.
    BackUpFinal,
    /// Bring the last data to the target site.
    FinalSync,
    /// Read the recovery point at the target site again and compare fingerprints.
    VerifyPoint,
    /// Make the target site's volumes writable and put the point's data where the PVs say.
    Present,
    /// Restore the objects at the target site, VMs halted, and check every claim's address.
    Restore,
    /// Start the VMs at the target site, wave by wave.
    StartVms,
    /// Wait until every started VM is up.
    Confirm,
    /// Write down the outcome: from here on the target site is the active one.
    Commit,
    /// Make the old active site the standby: its stopped disks become the base of the replication back.
    Reprotect,
}

impl Step {
    /// What it does, for people, in the imperative.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::PublishMapping => "publish the site mapping",
            Self::TakeSnapshots => "snapshot the volumes",
            Self::BackUpPoint => "back up the objects, promote the snapshots",
            Self::Replicate => "replicate the point's data",
            Self::Stage => "stage the objects, VMs halted",
            Self::VerifyStaged => "verify what was staged",
            Self::Prune => "prune older points",
            Self::TakeEpoch => "take the epoch",
            Self::StopVms => "stop the VMs",
            Self::FenceSource => "fence the source's volumes",
            Self::BackUpFinal => "back up the objects",
            Self::FinalSync => "replicate the last data",
            Self::VerifyPoint => "verify the recovery point",
            Self::Present => "present the volumes",
            Self::Restore => "restore the objects, VMs halted",
            Self::StartVms => "start the VMs",
            Self::Confirm => "confirm that the VMs are up",
            Self::Commit => "commit",
            Self::Reprotect => "reprotect",
        }
    }

    /// Whether the step may be carried out only at the plan's own epoch (N1).
    #[must_use]
    pub fn needs_epoch(self) -> bool {
        match self {
            Self::PublishMapping | Self::TakeEpoch => false,
            Self::TakeSnapshots
            | Self::BackUpPoint
            | Self::Replicate
            | Self::Stage
            | Self::VerifyStaged
            | Self::Prune
            | Self::StopVms
            | Self::FenceSource
            | Self::BackUpFinal
            | Self::FinalSync
            | Self::VerifyPoint
            | Self::Present
            | Self::Restore
            | Self::StartVms
            | Self::Confirm
            | Self::Commit
            | Self::Reprotect => true,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The serde name, so that journal, output and code use one word for one step.
        let name = format!("{self:?}");
        let mut chars = name.chars();
        match chars.next() {
            Some(first) => write!(f, "{}{}", first.to_ascii_lowercase(), chars.as_str()),
            None => Ok(()),
        }
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepPhase {
    /// Not begun.
    Pending,
    /// Begun; maybe done.
    Started,
    /// Done.
    Succeeded,
    /// Tried and not done; may be tried again.
    Failed,
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepEvent {
    /// Somebody is about to do it.
    Start,
    /// It is done.
    Succeed,
    /// It could not be done.
    Fail,
}

/// A step was to make a move that the table does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a step that is {phase:?} cannot {event:?}: the run's journal is damaged or was written by another version [LW-0151]"
)]
pub struct IllegalTransition {
    phase: StepPhase,
    event: StepEvent,
}

/// The transition table.
///
/// # Errors
/// [`IllegalTransition`] for every pair that is not listed.
pub fn next(phase: StepPhase, event: StepEvent) -> Result<StepPhase, IllegalTransition> {
    use StepEvent::{Fail, Start, Succeed};
    use StepPhase::{Failed, Pending, Started, Succeeded};
    match (phase, event) {
        // Started again after a crash: whoever did it before did not record the end.
        (Pending | Started | Failed, Start) => Ok(Started),
        (Started, Succeed) => Ok(Succeeded),
        (Started, Fail) => Ok(Failed),
        (Pending | Failed | Succeeded, Succeed | Fail) | (Succeeded, Start) => Err(IllegalTransition { phase, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_that_was_not_started_and_nothing_done_is_done_again() {
        for phase in [StepPhase::Pending, StepPhase::Failed, StepPhase::Succeeded] {
            assert!(next(phase, StepEvent::Succeed).is_err());
            assert!(next(phase, StepEvent::Fail).is_err());
        }
        assert!(next(StepPhase::Succeeded, StepEvent::Start).is_err());
        assert_eq!(next(StepPhase::Started, StepEvent::Start), Ok(StepPhase::Started));
        assert_eq!(next(StepPhase::Failed, StepEvent::Start), Ok(StepPhase::Started));
    }

    #[test]
    fn step_names_are_those_of_the_journal() {
        assert_eq!(Step::FinalSync.to_string(), "finalSync");
        assert_eq!(serde_json::to_string(&Step::FinalSync).unwrap(), "\"finalSync\"");
    }
}
