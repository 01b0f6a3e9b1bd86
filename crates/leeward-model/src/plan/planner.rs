//! Observed state → plan. Pure, complete (it names every problem it sees, not the first) and without a clock.
//!
//! Laws: a plan never orders two writers: a VM starts at the target only after the source was stopped and fenced, or
//! after a named person took the responsibility (N1). No volume gets an address that the mapping does not give (N2). What
//! is left out stands in `skipped`, `warnings` or a VM's `note` (N5).

mod error;
mod volumes;

pub use error::{Passing, PlanError, Problem};

use super::{
    Copy, PLAN_VERSION, Plan, Skipped, VmPlan, VolumePlan,
    observed::{DivergenceObserved, Observed, PointObserved, Request, SiteObserved, SiteState, VmObserved},
};
use crate::{
    group::GroupSpec,
    mapping::Mapping,
    name::{Epoch, InvalidName, PointId, RunId, SiteName},
    run::{RunKind, Step},
};
use volumes::Held;

/// Makes the plan.
///
/// # Errors
/// Every problem that forbids it, at once. Nothing has been changed by then, and nothing is.
pub fn plan(request: &Request, group: &GroupSpec, mapping: &Mapping, observed: &Observed) -> Result<Plan, PlanError> {
    let source = &observed.active.site;
    let target = &request.target;
    let mut problems = Vec::new();
    check_direction(request, group, observed, &mut problems);
    let (Some(source_seen), Some(target_seen)) = (observed.sites.get(source), observed.sites.get(target)) else {
        let site = if observed.sites.contains_key(source) { target } else { source };
        problems.push(Problem::UnknownSite { site: site.clone(), known: observed.sites.keys().cloned().collect() });
        return Err(PlanError(problems));
    };
    if source == target {
        // What else could be said takes one site for both.
        return Err(PlanError(problems));
    }
    check_sites(request, (source, source_seen), (target, target_seen), &mut problems);

    let base = observed.points.iter().rfind(|point| point.at == *target);
    let recovered = match request.kind {
        RunKind::Failover => recovery_point(observed, target, &mut problems),
        RunKind::Cycle | RunKind::Migrate | RunKind::Failback => None,
    };
    let (vms, claims): (&[VmObserved], &[_]) = match (request.kind, recovered, source_seen.state()) {
        (RunKind::Failover, Some(point), _) => (&point.vms, &point.claims),
        (RunKind::Failover, None, _) | (_, _, None) => (&[], &[]),
        (RunKind::Cycle | RunKind::Migrate | RunKind::Failback, _, Some(state)) => (&state.vms, &state.claims),
    };
    if problems.is_empty() && vms.is_empty() {
        problems.push(Problem::NoVms { group: observed.group.clone(), site: source.clone() });
    }
    let mut volumes =
        volumes::plan_volumes(request.kind, (vms, claims), (mapping, source, target), (base, recovered), &mut problems);
    if !problems.is_empty() {
        return Err(PlanError(problems));
    }

    let held = Held::new(source_seen, target_seen);
    volumes::leave_unused_alone(request.kind, vms, &held, (source, base), &mut volumes);
    let stamp = request.at.strftime("%Y%m%d-%H%M%S").to_string();
    let names = Names::new(request.kind, observed.group.as_str(), &stamp, recovered)
        .map_err(|source| PlanError(vec![Problem::Name { source }]))?;
    let vms = plan_vms(request.kind, vms, (&volumes, &held), group);
    let (steps, skipped) = steps(request.kind, observed.active.epoch, &volumes, source_seen);
    let epoch_before = observed.active.epoch;
    let first = epoch_before == Epoch(0);
    Ok(Plan {
        version: PLAN_VERSION,
        run: names.run,
        kind: request.kind,
        group: observed.group.clone(),
        source: source.clone(),
        target: target.clone(),
        epoch_before,
        epoch: if request.kind.moves() || first { epoch_before.next() } else { epoch_before },
        point: names.point,
        base: base.map(|point| point.point.clone()),
        backup: names.backup,
        warnings: warnings(request, source_seen, &volumes, (source, target)),
        given_up: target_seen
            .state()
            .filter(|_| request.kind.moves())
            .map(|state| given_up(&state.divergence, &volumes))
            .unwrap_or_default(),
        loses_since: (request.kind == RunKind::Failover).then(|| oldest(&vms, &volumes)).flatten(),
        accepted: request
            .accepted
            .clone()
            .filter(|_| request.kind == RunKind::Failover && source_seen.state().is_none()),
        vms,
        volumes,
        steps,
        skipped,
    })
}

struct Names {
    run: RunId,
    point: PointId,
    backup: String,
}

impl Names {
    fn new(kind: RunKind, group: &str, stamp: &str, recovered: Option<&PointObserved>) -> Result<Self, InvalidName> {
        let run = RunId::parse(format!("{kind}-{stamp}"))?;
        let (point, backup) = match (kind, recovered) {
            (RunKind::Failover, Some(point)) => (point.point.clone(), point.backup.clone().unwrap_or_default()),
            (RunKind::Cycle, _) => {
                let point = PointId::parse(format!("rp-{stamp}"))?;
                let backup = format!("{group}-{point}");
                (point, backup)
            }
            (RunKind::Migrate | RunKind::Failback | RunKind::Failover, _) => {
                let point = PointId::parse(format!("fp-{stamp}"))?;
                let backup = format!("{group}-{point}");
                (point, backup)
            }
        };
        Ok(Self { run, point, backup })
    }
}

fn check_direction(request: &Request, group: &GroupSpec, observed: &Observed, problems: &mut Vec<Problem>) {
    let target = &request.target;
    if *target == observed.active.site {
        problems.push(Problem::AlreadyActive {
            group: observed.group.clone(),
            site: target.clone(),
            kind: request.kind,
        });
    } else if request.kind == RunKind::Failback && *target != group.home {
        problems.push(Problem::NotHome { site: target.clone(), home: group.home.clone() });
    }
}

fn check_sites(
    request: &Request,
    (source, source_seen): (&SiteName, &SiteObserved),
    (target, target_seen): (&SiteName, &SiteObserved),
    problems: &mut Vec<Problem>,
) {
    match source_seen {
        SiteObserved::Unreachable(_) if request.kind == RunKind::Failover => {
            if request.accepted.is_none() {
                problems.push(Problem::UnfencedSource { site: source.clone() });
            }
        }
        SiteObserved::Unreachable(why) => {
            problems.push(Problem::Unreachable { site: source.clone(), why: why.clone(), kind: request.kind })
        }
        // A failover takes from the source what it still can give; it asks nothing of it.
        SiteObserved::Reachable(_) if request.kind == RunKind::Failover => {}
        SiteObserved::Reachable(state) => check_usable(source, state, problems),
    }
    match target_seen {
        SiteObserved::Unreachable(why) => {
            problems.push(Problem::Unreachable { site: target.clone(), why: why.clone(), kind: request.kind })
        }
        SiteObserved::Reachable(state) => {
            check_usable(target, state, problems);
            problems.extend(
                state
                    .vms
                    .iter()
                    .filter(|vm| vm.running)
                    .map(|vm| Problem::RunningAtTarget { vm: vm.vm.clone(), site: target.clone() }),
            );
        }
    }
}

fn check_usable(site: &SiteName, state: &SiteState, problems: &mut Vec<Problem>) {
    if let Some(why) = &state.velero_problem {
        problems.push(Problem::Velero { site: site.clone(), why: why.clone() });
    }
    if let Some(why) = &state.storage_problem {
        problems.push(Problem::Storage { site: site.clone(), why: why.clone() });
    }
}

fn recovery_point<'a>(
    observed: &'a Observed,
    target: &SiteName,
    problems: &mut Vec<Problem>,
) -> Option<&'a PointObserved> {
    let point = observed.points.iter().rfind(|point| point.at == *target && point.backup.is_some());
    if point.is_none() {
        problems.push(Problem::NoPoint { group: observed.group.clone(), site: target.clone() });
    }
    point
}

/// What the target has alone and is about to be replaced.
fn given_up(divergence: &[DivergenceObserved], volumes: &[VolumePlan]) -> Vec<DivergenceObserved> {
    let is_kept = |pv: &str| volumes.iter().any(|volume| volume.pv == pv && matches!(volume.copy, Copy::Kept { .. }));
    divergence.iter().filter(|own| !is_kept(&own.pv)).cloned().collect()
}

fn plan_vms(
    kind: RunKind,
    vms: &[VmObserved],
    (volumes, held): (&[VolumePlan], &Held<'_>),
    group: &GroupSpec,
) -> Vec<VmPlan> {
    let mut planned: Vec<VmPlan> = vms
        .iter()
        .map(|seen| {
            let own: Vec<&VolumePlan> = volumes.iter().filter(|volume| volumes::uses(seen, volume)).collect();
            let named = |wanted: &dyn Fn(&Copy) -> bool| -> Vec<&str> {
                own.iter().filter(|volume| wanted(&volume.copy)).map(|volume| volume.claim.name.as_str()).collect()
            };
            let missing = named(&|copy| !copy.is_there());
            let kept = named(&|copy| matches!(copy, Copy::Kept { .. }));
            let note = if !missing.is_empty() {
                Some(format!("the target has no copy of {}", missing.join(", ")))
            } else if !kept.is_empty() && kept.len() < own.len() {
                Some(format!("the target's own {} and what is copied there do not belong together", kept.join(", ")))
            } else if seen.halted {
                Some("it is switched off at the source and stays so".to_owned())
            } else {
                None
            };
            VmPlan {
                vm: seen.vm.clone(),
                on: !seen.halted,
                runnable: held.is_runnable(seen, volumes),
                claims: seen.claims.clone(),
                priority: group.priority(&seen.vm.name),
                volumes: own.iter().map(|volume| volume.pv.clone()).collect(),
                start: kind.moves() && note.is_none(),
                note,
            }
        })
        .collect();
    planned.sort_by(|a, b| (a.priority, &a.vm).cmp(&(b.priority, &b.vm)));
    planned
}

fn steps(kind: RunKind, epoch: Epoch, volumes: &[VolumePlan], source: &SiteObserved) -> (Vec<Step>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    let mut skip = |step, why: &str| skipped.push(Skipped { step, why: why.to_owned() });
    let steps = match kind {
        RunKind::Cycle => {
            let mut steps = vec![Step::PublishMapping];
            if epoch == Epoch(0) {
                steps.push(Step::TakeEpoch);
            }
            if volumes.iter().any(|volume| matches!(volume.copy, Copy::Snapshot { .. })) {
                steps.push(Step::TakeSnapshots);
            } else {
                skip(Step::TakeSnapshots, "none of the group's volumes can be snapshotted");
            }
            steps.extend([
                Step::BackUpPoint,
                Step::Replicate,
                Step::Stage,
                Step::VerifyStaged,
                Step::Commit,
                Step::Prune,
            ]);
            steps
        }
        RunKind::Migrate | RunKind::Failback => vec![
            Step::PublishMapping,
            Step::TakeEpoch,
            Step::StopVms,
            Step::FenceSource,
            Step::BackUpFinal,
            Step::FinalSync,
            Step::Present,
            Step::Restore,
            Step::StartVms,
            Step::Confirm,
            Step::Commit,
            Step::Reprotect,
        ],
        RunKind::Failover => {
            let mut steps = vec![Step::TakeEpoch];
            if source.state().is_some() {
                steps.extend([Step::StopVms, Step::FenceSource]);
            } else {
                skip(Step::StopVms, "the source does not answer");
                skip(Step::FenceSource, "the source does not answer; the operator accepted that");
            }
            skip(Step::BackUpFinal, "a failover recovers from the newest recovery point");
            skip(Step::FinalSync, "a failover recovers from the newest recovery point");
            skip(Step::Reprotect, "the source's data has moved on; the next failback or cycle brings it in line");
            steps.extend([
                Step::VerifyPoint,
                Step::Present,
                Step::Restore,
                Step::StartVms,
                Step::Confirm,
                Step::Commit,
            ]);
            steps
        }
    };
    (steps, skipped)
}

fn warnings(
    request: &Request,
    source: &SiteObserved,
    volumes: &[VolumePlan],
    (from, to): (&SiteName, &SiteName),
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(state) = source.state() {
        if request.kind == RunKind::Failover {
            warnings.push(format!("site {from} answers: `leeward migrate` would lose nothing"));
        }
        if request.kind.moves() && !state.bystanders.is_empty() {
            warnings.push(format!(
                "the fence at {from} makes the whole export read-only, also for volumes outside the group: {}",
                state.bystanders.join(", ")
            ));
        }
    }
    for volume in volumes {
        match &volume.copy {
            Copy::Carried { at, why } => {
                warnings.push(format!("{} ({}) stays at {to} as of {at}: {why}", volume.pv, volume.claim));
            }
            Copy::Never { why } => {
                warnings.push(format!("{} ({}) has no copy at {to}: {why}", volume.pv, volume.claim))
            }
            Copy::Kept { why } => {
                warnings.push(format!("{} ({}) keeps the data that {to} has: {why}", volume.pv, volume.claim));
            }
            Copy::Snapshot { .. } | Copy::Stopped | Copy::AtPoint { .. } => {}
        }
    }
    warnings
}

fn oldest(vms: &[VmPlan], volumes: &[VolumePlan]) -> Option<jiff::Timestamp> {
    volumes
        .iter()
        .filter(|volume| vms.iter().any(|vm| vm.start && vm.volumes.contains(&volume.pv)))
        .filter_map(|volume| match &volume.copy {
            Copy::AtPoint { at } | Copy::Carried { at, .. } => Some(*at),
            Copy::Snapshot { .. } | Copy::Stopped | Copy::Kept { .. } | Copy::Never { .. } => None,
        })
        .min()
}
