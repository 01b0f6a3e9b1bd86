//! Why there is no plan.

use crate::{
    address::VolumeAddress,
    name::{GroupName, InvalidName, SiteName},
    plan::observed::ObjectRef,
    rewrite::RewriteError,
    run::RunKind,
};
use std::{collections::BTreeSet, fmt};

/// One thing that forbids a plan.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The target is not one of the configured sites.
    #[error("site {site} is not one of the configured sites ({}) [LW-0160]", list(known))]
    UnknownSite {
        /// The site asked for.
        site: SiteName,
        /// The configured ones.
        known: Vec<SiteName>,
    },
    /// The group is active there already.
    #[error(
        "group {group} is active at {site} already, so there is nothing to {kind}: `leeward status` shows the roles [LW-0161]"
    )]
    AlreadyActive {
        /// The group.
        group: GroupName,
        /// The site asked for.
        site: SiteName,
        /// What was asked for.
        kind: RunKind,
    },
    /// A failback goes home.
    #[error("failback goes to the group's home {home}, not to {site}: use `leeward migrate --to {site}` [LW-0162]")]
    NotHome {
        /// The site asked for.
        site: SiteName,
        /// The group's home.
        home: SiteName,
    },
    /// A site that is needed does not answer.
    #[error("site {site} does not answer, and {kind} needs it ({why}){} [LW-0163]", if *kind == RunKind::Cycle { "" } else { ": if it is lost, `leeward failover` does without the source" })]
    Unreachable {
        /// The site.
        site: SiteName,
        /// What its probe said.
        why: String,
        /// What was asked for.
        kind: RunKind,
    },
    /// A failover would start VMs while the source is not known to be stopped.
    #[error(
        "site {site} does not answer, so nobody can prove that it has stopped writing: say why you go on, with --reason \"…\"; name and reason are kept in the run's record [LW-0164]"
    )]
    UnfencedSource {
        /// The source.
        site: SiteName,
    },
    /// Velero cannot be used at a site.
    #[error("Velero at {site} cannot be used: {why} [LW-0165]")]
    Velero {
        /// The site.
        site: SiteName,
        /// Why.
        why: String,
    },
    /// The storage cannot be used at a site.
    #[error("the storage at {site} cannot be used: {why} [LW-0166]")]
    Storage {
        /// The site.
        site: SiteName,
        /// Why.
        why: String,
    },
    /// A VM of the group runs at the standby.
    #[error("VM {vm} runs at {site}, which is not the group's active site: stop it there first [LW-0167]")]
    RunningAtTarget {
        /// The VM.
        vm: ObjectRef,
        /// Where it runs.
        site: SiteName,
    },
    /// There is nothing to fail over to.
    #[error(
        "group {group} has no whole recovery point at {site}: a failover needs one; `leeward cycle {group}` makes it while the active site lives [LW-0168]"
    )]
    NoPoint {
        /// The group.
        group: GroupName,
        /// The target.
        site: SiteName,
    },
    /// The group selects nothing.
    #[error(
        "group {group} selects no VM at {site}: check its namespaces and matchLabels in the configuration [LW-0169]"
    )]
    NoVms {
        /// The group.
        group: GroupName,
        /// The source.
        site: SiteName,
    },
    /// A VM uses a claim that is not there.
    #[error("VM {vm} uses claim {claim}, which does not exist: create it, or remove the disk from the VM [LW-0170]")]
    MissingClaim {
        /// The VM.
        vm: ObjectRef,
        /// The claim.
        claim: String,
    },
    /// A claim has no volume.
    #[error("claim {claim} of VM {vm} is not bound to a volume: `kubectl describe pvc` there says why [LW-0171]")]
    UnboundClaim {
        /// The VM.
        vm: ObjectRef,
        /// The claim.
        claim: ObjectRef,
    },
    /// A claim's volume has no name.
    #[error(
        "claim {claim} is bound to a PersistentVolume whose object has no name: the recovery point's record is damaged; take a new point with `leeward cycle`, or choose an earlier one [LW-0173]"
    )]
    NamelessVolume {
        /// The claim.
        claim: ObjectRef,
    },
    /// The mapping gives no address.
    #[error("{claim}: {source}")]
    Rewrite {
        /// The claim.
        claim: ObjectRef,
        /// Why.
        source: Box<RewriteError>,
    },
    /// The volume's data is at the target already, although the VM runs at the source.
    #[error(
        "claim {claim} is used at {source_site}, but its volume {pv} is at {address}, the storage of {target}: a fence at {source_site} would not stop its writes; move its data to {source_site}, or correct the volume's annotation leeward.io/site [LW-0172]"
    )]
    ElsewhereAlready {
        /// The claim.
        claim: ObjectRef,
        /// The PV.
        pv: String,
        /// Where its data is.
        address: Box<VolumeAddress>,
        /// The active site.
        source_site: SiteName,
        /// The other one.
        target: SiteName,
    },
    /// A name could not be formed.
    #[error("the run cannot be named: {source}")]
    Name {
        /// Why.
        source: InvalidName,
    },
}

/// Everything that forbids a plan.
#[derive(Debug)]
pub struct PlanError(pub Vec<Problem>);

/// What forbids a plan now and may be otherwise a moment later, without anybody's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passing<'a> {
    /// The site, or its storage, did not answer in the time that a lost one is given. A busy one may need longer.
    Silence(&'a SiteName),
    /// Velero says what it saw when it last looked at its bucket.
    VelerosWord(&'a SiteName),
}

impl Problem {
    fn passing(&self) -> Option<Passing<'_>> {
        match self {
            Self::Unreachable { site, .. } | Self::Storage { site, .. } => Some(Passing::Silence(site)),
            Self::Velero { site, .. } => Some(Passing::VelerosWord(site)),
            Self::UnknownSite { .. }
            | Self::AlreadyActive { .. }
            | Self::NotHome { .. }
            | Self::UnfencedSource { .. }
            | Self::RunningAtTarget { .. }
            | Self::NoPoint { .. }
            | Self::NoVms { .. }
            | Self::MissingClaim { .. }
            | Self::UnboundClaim { .. }
            | Self::NamelessVolume { .. }
            | Self::Rewrite { .. }
            | Self::ElsewhereAlready { .. }
            | Self::Name { .. } => None,
        }
    }
}

impl PlanError {
    /// What another look may find otherwise; none if something forbids the plan that will not pass.
    #[must_use]
    pub fn passing(&self) -> Option<BTreeSet<Passing<'_>>> {
        self.0.iter().map(Problem::passing).collect()
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

fn list(sites: &[SiteName]) -> String {
    sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_looked_at_again() {
        let (east, west) = (SiteName::parse("east").unwrap(), SiteName::parse("west").unwrap());
        let why = || "no answer within 5 s".to_owned();
        let silent = || Problem::Unreachable { site: east.clone(), why: why(), kind: RunKind::Cycle };
        let storage = || Problem::Storage { site: east.clone(), why: why() };
        let velero = || Problem::Velero { site: west.clone(), why: why() };
        let lost = || Problem::UnfencedSource { site: east.clone() };
        let passing = [Passing::Silence(&east), Passing::VelerosWord(&west)];
        assert_eq!(PlanError(vec![silent(), velero(), storage()]).passing(), Some(passing.into()));
        assert_eq!(PlanError(vec![silent(), lost()]).passing(), None, "nobody waits for a site that is lost (N6)");
    }
}
