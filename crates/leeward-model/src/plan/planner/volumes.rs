//! Which volumes a run moves, to which address, and how the data gets there.

use super::Problem;
use crate::{
    mapping::Mapping,
    name::SiteName,
    plan::{
        Copy, VolumePlan,
        observed::{ClaimObserved, PointObserved, SiteObserved, SiteState, VmObserved},
    },
    rewrite,
    run::RunKind,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Which volumes hold data where, as far as the sites could be asked.
pub(super) struct Held<'a> {
    /// PVs without data at the source.
    source_empty: Option<&'a BTreeSet<String>>,
    /// PVs with data at the target.
    target_has: BTreeSet<&'a str>,
}

impl<'a> Held<'a> {
    pub(super) fn new(source: &'a SiteObserved, target: &'a SiteObserved) -> Self {
        let with_data = |state: &'a SiteState| {
            let names = state.claims.iter().filter_map(|seen| seen.pv.as_ref()?.pointer("/metadata/name")?.as_str());
            names.filter(|pv| !state.empty.contains(*pv)).collect()
        };
        Self {
            source_empty: source.state().map(|state| &state.empty),
            target_has: target.state().map(with_data).unwrap_or_default(),
        }
    }

    fn is_empty_at_source(&self, pv: &str) -> bool {
        self.source_empty.is_some_and(|empty| empty.contains(pv))
    }

    /// Whether the VM can run at the source. One disk without data is enough that it cannot.
    pub(super) fn is_runnable(&self, vm: &VmObserved, volumes: &[VolumePlan]) -> bool {
        !volumes.iter().any(|volume| uses(vm, volume) && self.is_empty_at_source(&volume.pv))
    }
}

pub(super) fn uses(vm: &VmObserved, volume: &VolumePlan) -> bool {
    volume.claim.namespace == vm.vm.namespace && vm.claims.contains(&volume.claim.name)
}

/// Leaves alone what belongs to VMs that cannot have run at the source, because a failover had no copy of a disk of theirs:
/// copying the other disks back would replace newer data by older (N3).
pub(super) fn leave_unused_alone(
    kind: RunKind,
    vms: &[VmObserved],
    held: &Held<'_>,
    (source, base): (&SiteName, Option<&PointObserved>),
    volumes: &mut [VolumePlan],
) {
    if kind == RunKind::Failover {
        return;
    }
    let runnable: Vec<bool> = vms.iter().map(|vm| held.is_runnable(vm, volumes)).collect();
    let is_used: Vec<bool> = volumes
        .iter()
        .map(|volume| vms.iter().zip(&runnable).any(|(vm, &runnable)| runnable && uses(vm, volume)))
        .collect();
    for (volume, _) in volumes.iter_mut().zip(is_used).filter(|(_, is_used)| !is_used) {
        let why = match held.is_empty_at_source(&volume.pv) {
            true => format!("{source} holds no data of it"),
            false => format!("its VM cannot have run at {source}, which lacks another disk of it"),
        };
        volume.copy = match (kind, base.and_then(|point| point.volumes.get(&volume.pv))) {
            (RunKind::Cycle, Some(at)) => Copy::Carried { at: *at, why },
            (RunKind::Migrate | RunKind::Failback, _) if held.target_has.contains(volume.pv.as_str()) => {
                Copy::Kept { why }
            }
            (RunKind::Cycle | RunKind::Migrate | RunKind::Failback | RunKind::Failover, _) => Copy::Never { why },
        };
    }
}

pub(super) fn plan_volumes(
    kind: RunKind,
    (vms, claims): (&[VmObserved], &[ClaimObserved]),
    (mapping, source, target): (&Mapping, &SiteName, &SiteName),
    (base, recovered): (Option<&PointObserved>, Option<&PointObserved>),
    problems: &mut Vec<Problem>,
) -> Vec<VolumePlan> {
    let mut volumes: Vec<VolumePlan> = Vec::new();
    for vm in vms {
        for name in &vm.claims {
            let Some(seen) =
                claims.iter().find(|seen| seen.claim.namespace == vm.vm.namespace && seen.claim.name == *name)
            else {
                problems.push(Problem::MissingClaim { vm: vm.vm.clone(), claim: name.clone() });
                continue;
            };
            let Some(object) = &seen.pv else {
                problems.push(Problem::UnboundClaim { vm: vm.vm.clone(), claim: seen.claim.clone() });
                continue;
            };
            if volumes.iter().any(|volume| volume.claim == seen.claim) {
                continue;
            }
            // Everything that follows finds the volume by its name.
            let Some(pv) = name_of(object) else {
                problems.push(Problem::NamelessVolume { claim: seen.claim.clone() });
                continue;
            };
            match rewrite::rewrite(object, mapping, source, target) {
                Err(error) => problems.push(Problem::Rewrite { claim: seen.claim.clone(), source: Box::new(error) }),
                // It needed no rule, so it is at the target already: nothing that is done to the source's storage reaches it.
                Ok(rewritten) if rewritten.trace.rule.is_none() => problems.push(Problem::ElsewhereAlready {
                    claim: seen.claim.clone(),
                    pv,
                    address: Box::new(rewritten.before),
                    source_site: source.clone(),
                    target: target.clone(),
                }),
                Ok(rewritten) => {
                    let copy = match kind {
                        RunKind::Cycle => cycle_copy(seen, vms, &pv, base),
                        RunKind::Migrate | RunKind::Failback => Copy::Stopped,
                        RunKind::Failover => point_copy(&pv, recovered),
                    };
                    volumes.push(VolumePlan {
                        claim: seen.claim.clone(),
                        pv,
                        object: object.clone(),
                        before: rewritten.before,
                        after: rewritten.after,
                        trace: rewritten.trace,
                        copy,
                    });
                }
            }
        }
    }
    volumes.sort_by(|a, b| a.claim.cmp(&b.claim));
    volumes
}

fn name_of(pv: &Value) -> Option<String> {
    Some(pv.pointer("/metadata/name")?.as_str().filter(|name| !name.is_empty())?.to_owned())
}

/// Only consistency points are copied (D8): a snapshot, or the disk of a VM that is off.
fn cycle_copy(claim: &ClaimObserved, vms: &[VmObserved], pv: &str, base: Option<&PointObserved>) -> Copy {
    if let Some(class) = &claim.snapshot_class {
        return Copy::Snapshot { class: class.clone() };
    }
    let writer = vms
        .iter()
        .find(|vm| vm.running && vm.vm.namespace == claim.claim.namespace && vm.claims.contains(&claim.claim.name));
    let Some(writer) = writer else {
        return Copy::Stopped;
    };
    let why = format!("it cannot be snapshotted, and is copied only while VM {} is stopped", writer.vm.name);
    match base.and_then(|point| point.volumes.get(pv)) {
        Some(at) => Copy::Carried { at: *at, why },
        None => Copy::Never { why },
    }
}

fn point_copy(pv: &str, recovered: Option<&PointObserved>) -> Copy {
    match recovered.and_then(|point| point.volumes.get(pv)) {
        Some(at) => Copy::AtPoint { at: *at },
        None => Copy::Never { why: "the recovery point does not hold it".to_owned() },
    }
}
