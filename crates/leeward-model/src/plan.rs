//! A plan: what a run will do, fixed before it begins.
//!
//! [`planner::plan`] is a pure function of what was observed. The plan is immutable, shown before it is carried out, and
//! hashed; the executor makes no choices of its own. A different world needs a new plan.

pub mod observed;
pub mod planner;

use crate::{
    address::VolumeAddress,
    name::{Epoch, GroupName, PointId, RunId, SiteName},
    naming::sha256,
    plan::observed::{DivergenceObserved, ObjectRef, Override},
    rewrite::Trace,
    run::{RunKind, Step},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the plan's form in the journal.
pub const PLAN_VERSION: u32 = 1;

/// How a volume's data gets to the target site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum Copy {
    /// From a snapshot, promoted to a volume of its own.
    #[serde(rename_all = "camelCase")]
    Snapshot {
        /// The snapshot class.
        class: String,
    },
    /// From the live volume, whose VMs are stopped.
    Stopped,
    /// Already there with the recovery point, as of that moment.
    #[serde(rename_all = "camelCase")]
    AtPoint {
        /// The moment.
        at: jiff::Timestamp,
    },
    /// Taken over unchanged from an earlier point, as of that moment, because it cannot be read now.
    #[serde(rename_all = "camelCase")]
    Carried {
        /// The moment.
        at: jiff::Timestamp,
        /// Why it cannot be read now.
        why: String,
    },
    /// Nothing is copied, because the target's own data is the only there is: the source never held any, so no VM that
    /// uses the volume can have run there.
    #[serde(rename_all = "camelCase")]
    Kept {
        /// Why.
        why: String,
    },
    /// There is no copy and none can be made now.
    #[serde(rename_all = "camelCase")]
    Never {
        /// Why.
        why: String,
    },
}

impl Copy {
    /// Whether the data comes to the target with the plan's point.
    #[must_use]
    pub fn arrives(&self) -> bool {
        !matches!(self, Self::Never { .. } | Self::Kept { .. })
    }

    /// Whether the target has the data once the plan is carried out.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Never { .. })
    }
}

/// One volume of the group, from where to where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumePlan {
    /// The claim.
    pub claim: ObjectRef,
    /// The PV; it has the same name at both sites.
    pub pv: String,
    /// The PV as the source site has it.
    pub object: Value,
    /// Its address at the source.
    pub before: VolumeAddress,
    /// Its address at the target.
    pub after: VolumeAddress,
    /// What the rewriting changes.
    pub trace: Trace,
    /// How the data gets there.
    pub copy: Copy,
}

/// One VM of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmPlan {
    /// The VM.
    pub vm: ObjectRef,
    /// Whether its owner wants it on.
    pub on: bool,
    /// Whether it can run at the source: as far as is known, all its disks hold data there.
    #[serde(default = "yes")]
    pub runnable: bool,
    /// The claims its disks use.
    pub claims: Vec<String>,
    /// Its wave: lower starts first.
    pub priority: u8,
    /// The PVs of its disks.
    pub volumes: Vec<String>,
    /// Whether it is started at the target.
    pub start: bool,
    /// Why not, or what to know about it.
    pub note: Option<String>,
}

fn yes() -> bool {
    true
}

/// Something that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// The step that a run of this kind would have.
    pub step: Step,
    /// Why it is left out.
    pub why: String,
}

/// What a run will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The run's name.
    pub run: RunId,
    /// What kind of run.
    pub kind: RunKind,
    /// The group.
    pub group: GroupName,
    /// The site the data comes from: the active one.
    pub source: SiteName,
    /// The site it goes to.
    pub target: SiteName,
    /// The epoch that must hold before the run.
    pub epoch_before: Epoch,
    /// The epoch that the run's effects carry: the next one if the active site changes.
    pub epoch: Epoch,
    /// The recovery point that the run makes, or recovers from.
    pub point: PointId,
    /// The newest point at the target: what only changes are sent against.
    pub base: Option<PointId>,
    /// The Velero backup that is restored: made by the run, or the point's.
    pub backup: String,
    /// The VMs.
    pub vms: Vec<VmPlan>,
    /// The volumes.
    pub volumes: Vec<VolumePlan>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What is left out.
    pub skipped: Vec<Skipped>,
    /// What to know before saying yes.
    pub warnings: Vec<String>,
    /// Data at the target that is given up.
    pub given_up: Vec<DivergenceObserved>,
    /// Moment of the oldest data that the target starts from; `None` if nothing is lost.
    pub loses_since: Option<jiff::Timestamp>,
    /// The operator's override, if the plan needs one.
    pub accepted: Option<Override>,
}

impl Plan {
    /// SHA-256 (hexadecimal) of the plan as JSON without white space: which plan was shown, agreed to and carried out.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // Names and numbers only: nothing of it can fail to be written.
        sha256(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The volume of that PV.
    #[must_use]
    pub fn volume(&self, pv: &str) -> Option<&VolumePlan> {
        self.volumes.iter().find(|volume| volume.pv == pv)
    }
}

#[cfg(test)]
pub(crate) mod tests;
