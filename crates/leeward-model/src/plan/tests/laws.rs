//! What holds for every plan, whatever was observed.

use super::*;
use crate::{
    keys,
    mapping::Mapping,
    rewrite,
    run::Step,
    testing::{any_json, spoiled},
};
use proptest::prelude::*;

const VMS: [&str; 3] = ["db", "web", "batch"];
const CLAIMS: [&str; 4] = ["db-data", "db-log", "web-disk", "batch-disk"];

fn any_vms() -> impl Strategy<Value = Vec<VmObserved>> {
    let one = (any::<bool>(), any::<bool>(), prop::sample::subsequence(CLAIMS.to_vec(), 0..=2));
    prop::collection::btree_map(prop::sample::select(VMS.to_vec()), one, 0..=3).prop_map(|vms| {
        vms.into_iter()
            .map(|(name, (running, halted, claims))| VmObserved { halted, ..vm(name, running, &claims) })
            .collect()
    })
}

/// A volume of the east, of the west, of neither, or no volume at all.
fn any_pv(name: &'static str) -> impl Strategy<Value = Value> {
    let east = csi(&format!("pvc-{name}"), name);
    let west = rewrite::rewrite(&east, &nas(), &site("east"), &site("west")).unwrap().pv;
    let mut bare = west.clone();
    bare["metadata"]["annotations"].as_object_mut().unwrap().remove(keys::SITE);
    let mut uncovered = in_tree_pv();
    uncovered["spec"]["nfs"]["path"] = json!("/elsewhere");
    prop_oneof![
        8 => Just(east.clone()),
        4 => Just(west),
        1 => Just(bare),
        2 => Just(in_tree_pv()),
        1 => Just(uncovered),
        2 => spoiled(&east),
        1 => any_json(),
    ]
}

fn any_claims() -> impl Strategy<Value = Vec<ClaimObserved>> {
    let one = |name: &'static str| {
        (prop::option::weighted(0.95, any_pv(name)), any::<bool>(), prop::bool::weighted(0.95)).prop_map(
            move |(pv, class, there)| {
                let snapshot_class = class.then(|| "nfs-csi".to_owned());
                there.then(|| ClaimObserved { claim: object(name), pv, snapshot_class })
            },
        )
    };
    (one(CLAIMS[0]), one(CLAIMS[1]), one(CLAIMS[2]), one(CLAIMS[3]))
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

fn any_site() -> impl Strategy<Value = SiteObserved> {
    let rarely = |text: &'static str| prop::option::weighted(0.05, Just(text.to_owned()));
    let divergence = prop::collection::vec(any::<u64>(), 0..2);
    let empty = prop::collection::btree_set(prop::sample::select(vec!["pvc-db-data", "pvc-db-log", "web-disk"]), 0..2)
        .prop_map(|names| names.into_iter().map(str::to_owned).collect());
    let state = (any_vms(), any_claims(), rarely("velero"), rarely("storage"), any::<bool>(), divergence, empty)
        .prop_map(|(vms, claims, velero_problem, storage_problem, fenced, bytes, empty)| {
            let lost = |bytes| DivergenceObserved { pv: "p".to_owned(), bytes, last_written: None, since: at(0) };
            let divergence = bytes.into_iter().map(lost).collect();
            let state = SiteState { velero_problem, storage_problem, fenced, divergence, empty, ..state(vms, claims) };
            SiteObserved::Reachable(Box::new(state))
        });
    prop_oneof![5 => state, 1 => Just(SiteObserved::Unreachable("no route".to_owned()))]
}

fn any_point() -> impl Strategy<Value = PointObserved> {
    let volumes = prop::collection::btree_map(
        prop::sample::select(vec!["pvc-db-data", "pvc-db-log", "web-disk"]),
        (-5000i64..0).prop_map(at),
        0..=3,
    );
    let place = prop::sample::select(vec!["east", "west"]);
    (place, any::<bool>(), any_vms(), any_claims(), volumes, 0..100u32).prop_map(
        |(place, backup, vms, claims, volumes, n)| PointObserved {
            point: PointId::parse(format!("rp-{n}")).unwrap(),
            at: site(place),
            backup: backup.then(|| format!("shop-rp-{n}")),
            vms,
            claims,
            volumes: volumes.into_iter().map(|(pv, at)| (pv.to_owned(), at)).collect(),
        },
    )
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![10 => Just("east"), 10 => Just("west"), 1 => Just("north")]
}

/// Anything, where nothing fits.
fn any_observed() -> impl Strategy<Value = Observed> {
    let sites = prop::collection::btree_map(any_name().prop_map(site), any_site(), 0..=3);
    (sites, any_name(), 0..3u64, prop::collection::vec(any_point(), 0..4)).prop_map(|(sites, active, epoch, points)| {
        Observed { sites, active: Active { site: site(active), epoch: Epoch(epoch) }, points, ..shop() }
    })
}

/// Something that can often be planned: volumes of the active site, few holes, nothing running at the other.
fn likely_observed() -> impl Strategy<Value = Observed> {
    let seen = (any_vms(), prop::collection::vec(any::<bool>(), 4));
    let volumes = prop::collection::vec(prop::option::weighted(0.7, -5000i64..0), 4);
    let pvs = vec!["pvc-data", "pvc-log", "web-disk", "pvc-batch"];
    let empty = prop::collection::btree_set(prop::sample::select(pvs).prop_map(str::to_owned), 0..3);
    (seen, volumes, (any::<bool>(), any::<bool>()), 0..3u64, any_pv("db-data"), empty).prop_map(
        |((vms, classes), held, (gone, home), epoch, odd, empty)| {
            let mut observed = if home { shop() } else { away() };
            let active = observed.active.site.clone();
            observed.active.epoch = Epoch(epoch);
            let source = at_site(&mut observed, active.as_str());
            source.vms = vms;
            source.empty = empty;
            for (claim, class) in source.claims.iter_mut().zip(classes) {
                claim.snapshot_class = class.then(|| "nfs-csi".to_owned());
            }
            if odd.get("spec").is_some() && epoch == 2 {
                source.claims[0].pv = Some(odd);
            }
            let (vms, claims) = (source.vms.clone(), source.claims.clone());
            let other = site(if home { "west" } else { "east" });
            let pvs = ["pvc-data", "pvc-log", "web-disk", "pvc-batch"];
            let volumes = pvs.iter().zip(held).filter_map(|(pv, at_second)| Some(((*pv).to_owned(), at(at_second?))));
            let whole =
                PointObserved { at: other, vms, claims, volumes: volumes.collect(), ..point("rp-9", Some("b"), &[]) };
            observed.points = vec![whole];
            if gone {
                lost(&mut observed, active.as_str());
            }
            observed
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    let kind = prop::sample::select(vec![RunKind::Cycle, RunKind::Migrate, RunKind::Failover, RunKind::Failback]);
    let target = prop_oneof![6 => Just("west"), 6 => Just("east"), 1 => Just("north")];
    (kind, target, any::<bool>())
        .prop_map(|(kind, target, accepted)| Request { accepted: accepted.then(reason), ..request(kind, target) })
}

fn place(plan: &Plan, step: Step) -> Option<usize> {
    plan.steps.iter().position(|&there| there == step)
}

fn before(plan: &Plan, first: Step, second: Step) -> bool {
    matches!((place(plan, first), place(plan, second)), (Some(first), Some(second)) if first < second)
}

/// N1: no plan orders two writers.
fn never_two_writers(plan: &Plan, request: &Request, observed: &Observed) {
    assert_ne!(plan.target, plan.source);
    assert_eq!(plan.source, observed.active.site);
    let lost = observed.sites[&plan.source].state().is_none();
    if plan.kind.moves() {
        assert_eq!(plan.epoch, plan.epoch_before.next(), "a new active site has a new epoch");
        assert!(before(plan, Step::TakeEpoch, Step::StartVms));
        let fenced = before(plan, Step::StopVms, Step::FenceSource) && before(plan, Step::FenceSource, Step::StartVms);
        assert!(fenced || (lost && plan.accepted.is_some()), "{:?}", plan.steps);
        assert!(fenced != (plan.accepted.is_some()), "an override stands in a plan only if it is needed");
        assert!(before(plan, Step::Present, Step::Restore) && before(plan, Step::Restore, Step::StartVms));
        assert!(
            observed.sites[&plan.target].state().unwrap().vms.iter().all(|vm| !vm.running),
            "nothing runs at the target"
        );
    } else {
        for step in [Step::StartVms, Step::StopVms, Step::FenceSource, Step::Present] {
            assert_eq!(place(plan, step), None, "a cycle does not {step}");
        }
        assert!(plan.vms.iter().all(|vm| !vm.start) && plan.accepted.is_none() && !lost);
        assert_eq!(place(plan, Step::TakeEpoch).is_some(), observed.active.epoch == Epoch(0));
    }
    let taken = place(plan, Step::TakeEpoch).unwrap_or(0);
    for (number, step) in plan.steps.iter().enumerate() {
        assert!(!step.needs_epoch() || number >= taken, "{step} comes before the epoch is taken");
    }
    assert!(plan.accepted.is_none() || plan.accepted == request.accepted);
}

/// N2: the mapping alone gives addresses, and what has no data is not started.
fn never_a_wrong_disk(plan: &Plan, mapping: &Mapping) {
    for volume in &plan.volumes {
        let again = rewrite::rewrite(&volume.object, mapping, &plan.source, &plan.target).unwrap();
        assert_eq!((&volume.before, &volume.after, &volume.trace), (&again.before, &again.after, &again.trace));
        assert!(mapping.rule_for(&plan.target, &volume.after.nfs()).is_some(), "{}", volume.after);
        assert!(mapping.rule_for(&plan.source, &volume.before.nfs()).is_some(), "{}", volume.before);
        assert_eq!(volume.object["metadata"]["name"], json!(volume.pv));
    }
    for vm in &plan.vms {
        assert_eq!(vm.volumes.len(), vm.claims.len(), "{} has all its disks in the plan", vm.vm);
        let copies = || vm.volumes.iter().map(|pv| &plan.volume(pv).unwrap().copy);
        let is_kept = |copy: &Copy| matches!(copy, Copy::Kept { .. });
        let whole = copies().all(Copy::is_there) && (copies().all(is_kept) || !copies().any(is_kept));
        assert!(!vm.start || (whole && vm.on), "{} is started", vm.vm);
        assert!(vm.start || !plan.kind.moves() || vm.note.is_some(), "{} stays off without a word", vm.vm);
    }
}

/// N3: what the source does not hold, or cannot have written, replaces nothing at the target.
fn never_older_over_newer(plan: &Plan, observed: &Observed) {
    let Some(source) = observed.sites[&plan.source].state().filter(|_| plan.kind != RunKind::Failover) else { return };
    for volume in &plan.volumes {
        assert!(!source.empty.contains(&volume.pv) || !matches!(volume.copy, Copy::Stopped | Copy::Snapshot { .. }));
        let writers = plan.vms.iter().any(|vm| vm.runnable && vm.volumes.contains(&volume.pv));
        assert!(writers || !plan.kind.moves() || !volume.copy.arrives(), "{}", volume.pv);
    }
}

/// N5: what is left out is said.
fn never_a_silent_gap(plan: &Plan, observed: &Observed) {
    for volume in &plan.volumes {
        if matches!(volume.copy, Copy::Carried { .. } | Copy::Kept { .. } | Copy::Never { .. }) {
            assert!(plan.warnings.iter().any(|warning| warning.contains(&volume.claim.to_string())));
        }
    }
    let seen = match plan.kind {
        RunKind::Failover => {
            observed.points.iter().rfind(|p| p.at == plan.target && p.backup.is_some()).unwrap().vms.len()
        }
        _ => observed.sites[&plan.source].state().unwrap().vms.len(),
    };
    assert_eq!(plan.vms.len(), seen);
    for step in plan.skipped.iter().map(|skipped| skipped.step) {
        assert_eq!(place(plan, step), None);
    }
    if plan.kind.moves() {
        for own in &observed.sites[&plan.target].state().unwrap().divergence {
            let is_kept = plan.volume(&own.pv).is_some_and(|volume| matches!(volume.copy, Copy::Kept { .. }));
            assert_eq!(plan.given_up.contains(own), !is_kept);
        }
    }
}

fn check(request: &Request, observed: &Observed) -> bool {
    let mapping = nas();
    let result = plan(request, &group(), &mapping, observed);
    let again = plan(request, &group(), &mapping, observed);
    match (&result, &again) {
        (Ok(one), Ok(two)) => assert_eq!(one, two),
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        _ => panic!("one input, two answers"),
    }
    match result {
        Ok(plan) => {
            never_two_writers(&plan, request, observed);
            never_a_wrong_disk(&plan, &mapping);
            never_older_over_newer(&plan, observed);
            never_a_silent_gap(&plan, observed);
            true
        }
        Err(error) => {
            assert!(!error.0.is_empty(), "a refusal says why");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_for_anything(request in any_request(), observed in any_observed()) {
        check(&request, &observed);
    }

    #[test]
    fn the_laws_hold_for_what_can_be_planned(request in any_request(), observed in likely_observed()) {
        check(&request, &observed);
    }
}

/// The laws would hold of nothing, too.
#[test]
fn the_generators_give_plans_of_every_kind() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut plans = BTreeMap::new();
    for _ in 0..1200 {
        let request = any_request().new_tree(&mut runner).unwrap().current();
        let observed = likely_observed().new_tree(&mut runner).unwrap().current();
        if check(&request, &observed) {
            *plans.entry(request.kind.verb()).or_insert(0) += 1;
        }
    }
    assert!(plans.len() == 4 && plans.values().all(|&count| count >= 10), "{plans:?}");
}
