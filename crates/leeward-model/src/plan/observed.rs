//! What was seen of both sites before a plan was made. Facts only; whoever observes decides nothing.

use crate::{
    name::{Epoch, GroupName, Namespace, PointId, SiteName},
    run::RunKind,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A namespaced object's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A VM of the group at one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmObserved {
    /// Its name.
    pub vm: ObjectRef,
    /// Whether its run strategy keeps it off.
    pub halted: bool,
    /// Whether an instance of it exists.
    pub running: bool,
    /// The claims its disks use.
    pub claims: Vec<String>,
}

/// A claim of the group at one site, with the volume bound to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimObserved {
    /// Its name.
    pub claim: ObjectRef,
    /// The PV bound to it, whole; `None` while it is not bound.
    pub pv: Option<Value>,
    /// The snapshot class that can snapshot it, if any.
    pub snapshot_class: Option<String>,
}

/// One reachable site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteState {
    /// The group's VMs.
    pub vms: Vec<VmObserved>,
    /// The group's claims, promoted ones left out.
    pub claims: Vec<ClaimObserved>,
    /// PVs of those claims without any data at their address.
    #[serde(default)]
    pub empty: BTreeSet<String>,
    /// PVs on the same storage that are not the group's: what a fence hits besides.
    pub bystanders: Vec<String>,
    /// Why Velero cannot be used there, if it cannot.
    pub velero_problem: Option<String>,
    /// Why the storage cannot be used there, if it cannot.
    pub storage_problem: Option<String>,
    /// Whether clients are refused when they write.
    pub fenced: bool,
    /// Live volumes whose data has moved away from the last common point: what a move back would give up.
    pub divergence: Vec<DivergenceObserved>,
}

/// Data at a standby site that no other site has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DivergenceObserved {
    /// The PV.
    pub pv: String,
    /// Bytes that differ from the last common point, at most.
    pub bytes: u64,
    /// When it was last written.
    pub last_written: Option<jiff::Timestamp>,
    /// The common point's moment.
    pub since: jiff::Timestamp,
}

/// A site as it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SiteObserved {
    /// It answered.
    Reachable(Box<SiteState>),
    /// It did not answer within the probe's time.
    Unreachable(String),
}

impl SiteObserved {
    /// Its state, if it answered.
    #[must_use]
    pub fn state(&self) -> Option<&SiteState> {
        match self {
            Self::Reachable(state) => Some(state),
            Self::Unreachable(_) => None,
        }
    }
}

/// A recovery point that is whole at one site, oldest data first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointObserved {
    /// Its name.
    pub point: PointId,
    /// The site its files are at.
    pub at: SiteName,
    /// The Velero backup that goes with it; `None` if no record of the point exists (only data, no objects).
    pub backup: Option<String>,
    /// The VMs in that backup, with their claims.
    pub vms: Vec<VmObserved>,
    /// The PVs (as the source site had them) by claim.
    pub claims: Vec<ClaimObserved>,
    /// Each copied PV and the moment its data is of.
    pub volumes: BTreeMap<String, jiff::Timestamp>,
}

/// Which site is active, from the witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// The active site.
    pub site: SiteName,
    /// Since which epoch.
    pub epoch: Epoch,
}

/// Everything a plan is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The group.
    pub group: GroupName,
    /// The active site; before the first cycle, where the configuration says the group starts, with epoch 0.
    pub active: Active,
    /// Both sites.
    pub sites: BTreeMap<SiteName, SiteObserved>,
    /// The whole points at each site, oldest first.
    pub points: Vec<PointObserved>,
}

/// What the operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What to do.
    pub kind: RunKind,
    /// The site to move to; for a cycle the standby.
    pub target: SiteName,
    /// When it was asked for; names are made from it.
    pub at: jiff::Timestamp,
    /// A failover from a site that cannot be fenced needs a named person's reason (N1).
    pub accepted: Option<Override>,
}

/// A named person's reason to go on where Leeward would stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
}
