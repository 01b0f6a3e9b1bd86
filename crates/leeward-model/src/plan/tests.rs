//! A shop in two sites, and what is planned for it.

mod laws;
mod problems;

use super::{
    Copy, Plan,
    observed::{
        Active, ClaimObserved, DivergenceObserved, ObjectRef, Observed, Override, PointObserved, Request, SiteObserved,
        SiteState, VmObserved,
    },
    planner::{PlanError, plan},
};
use crate::{
    group::{Confirm, GroupSpec},
    name::{Epoch, GroupName, Namespace, PointId},
    run::RunKind,
    testing::{csi_pv, in_tree_pv, nas, site},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write};

pub(crate) fn at(seconds: i64) -> jiff::Timestamp {
    "2026-11-22T18:05:01Z".parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

fn object(name: &str) -> ObjectRef {
    ObjectRef { namespace: Namespace::parse("shop").unwrap(), name: name.to_owned() }
}

fn vm(name: &str, running: bool, claims: &[&str]) -> VmObserved {
    let claims = claims.iter().map(|&claim| claim.to_owned()).collect();
    VmObserved { vm: object(name), halted: !running, running, claims }
}

/// A CSI volume of the east.
fn csi(pv: &str, claim: &str) -> Value {
    let mut object = csi_pv();
    object["metadata"]["name"] = json!(pv);
    object["spec"]["claimRef"]["name"] = json!(claim);
    object["spec"]["csi"]["volumeHandle"] = json!(format!("10.77.0.1#export#{pv}##"));
    object["spec"]["csi"]["volumeAttributes"]["subdir"] = json!(pv);
    object
}

fn claim(name: &str, pv: Value, class: Option<&str>) -> ClaimObserved {
    ClaimObserved { claim: object(name), pv: Some(pv), snapshot_class: class.map(str::to_owned) }
}

fn state(vms: Vec<VmObserved>, claims: Vec<ClaimObserved>) -> SiteState {
    SiteState { vms, claims, ..SiteState::default() }
}

fn shop_vms() -> Vec<VmObserved> {
    vec![vm("web", true, &["web-disk"]), vm("db", true, &["db-data", "db-log"]), vm("batch", false, &["batch-disk"])]
}

fn shop_claims() -> Vec<ClaimObserved> {
    vec![
        claim("db-data", csi("pvc-data", "db-data"), Some("nfs-csi")),
        claim("db-log", csi("pvc-log", "db-log"), Some("nfs-csi")),
        claim("web-disk", in_tree_pv(), None),
        claim("batch-disk", csi("pvc-batch", "batch-disk"), None),
    ]
}

fn group() -> GroupSpec {
    GroupSpec {
        namespaces: vec![Namespace::parse("shop").unwrap()],
        match_labels: BTreeMap::new(),
        home: site("east"),
        priorities: [("db".to_owned(), 1)].into(),
        confirm: Confirm::Ready,
    }
}

/// The shop runs in the east; the west has nothing yet.
fn shop() -> Observed {
    Observed {
        group: GroupName::parse("shop").unwrap(),
        active: Active { site: site("east"), epoch: Epoch(0) },
        sites: [
            (site("east"), SiteObserved::Reachable(Box::new(state(shop_vms(), shop_claims())))),
            (site("west"), SiteObserved::Reachable(Box::new(state(Vec::new(), Vec::new())))),
        ]
        .into(),
        points: Vec::new(),
    }
}

/// A point in the west that holds these volumes as of these seconds.
fn point(name: &str, backup: Option<&str>, volumes: &[(&str, i64)]) -> PointObserved {
    PointObserved {
        point: PointId::parse(name).unwrap(),
        at: site("west"),
        backup: backup.map(str::to_owned),
        vms: shop_vms(),
        claims: shop_claims(),
        volumes: volumes.iter().map(|&(pv, seconds)| (pv.to_owned(), at(seconds))).collect(),
    }
}

/// The shop after two cycles: in the second one `web` ran, so that its disk was carried over from the first.
fn protected() -> Observed {
    let mut observed = shop();
    observed.active.epoch = Epoch(1);
    observed.points = vec![
        point("rp-20261122-170000", Some("shop-rp-20261122-170000"), &[("web-disk", -3901), ("pvc-data", -3901)]),
        point(
            "rp-20261122-180000",
            Some("shop-rp-20261122-180000"),
            &[("web-disk", -3901), ("pvc-data", -301), ("pvc-log", -301), ("pvc-batch", -301)],
        ),
    ];
    let staged = shop_vms().into_iter().map(|vm| VmObserved { halted: true, running: false, ..vm }).collect();
    *west(&mut observed) = state(staged, Vec::new());
    observed
}

fn at_site<'a>(observed: &'a mut Observed, name: &str) -> &'a mut SiteState {
    match observed.sites.get_mut(&site(name)) {
        Some(SiteObserved::Reachable(state)) => state,
        other => panic!("{name}: {other:?}"),
    }
}

fn west(observed: &mut Observed) -> &mut SiteState {
    at_site(observed, "west")
}

fn east(observed: &mut Observed) -> &mut SiteState {
    at_site(observed, "east")
}

fn lost(observed: &mut Observed, name: &str) {
    observed.sites.insert(site(name), SiteObserved::Unreachable("no route to host".to_owned()));
}

fn request(kind: RunKind, target: &str) -> Request {
    Request { kind, target: site(target), at: at(0), accepted: None }
}

fn reason() -> Override {
    Override { who: "ada".to_owned(), reason: "the hall is under water".to_owned() }
}

fn planned(request: &Request, observed: &Observed) -> Result<Plan, PlanError> {
    plan(request, &group(), &nas(), observed)
}

/// Everything of a plan but the volumes' objects, as text.
fn shown(plan: &Plan) -> String {
    let mut text = format!(
        "{} {} of {}: {} -> {}\nepoch {} -> {}\npoint {} (base {}), backup {}\n",
        plan.kind,
        plan.run,
        plan.group,
        plan.source,
        plan.target,
        plan.epoch_before,
        plan.epoch,
        plan.point,
        plan.base.as_ref().map_or("none", PointId::as_str),
        plan.backup
    );
    for vm in &plan.vms {
        let _ = writeln!(
            text,
            "vm {} on={} priority={} claims={:?} volumes={:?} start={} note={:?}",
            vm.vm, vm.on, vm.priority, vm.claims, vm.volumes, vm.start, vm.note
        );
    }
    for volume in &plan.volumes {
        let (claim, pv, before, after) = (&volume.claim, &volume.pv, &volume.before, &volume.after);
        let rule = volume.trace.rule.as_deref().unwrap_or("none");
        let _ = writeln!(text, "volume {pv} ({claim}) {before} -> {after} by rule {rule}");
        let how = match &volume.copy {
            Copy::Snapshot { class } => format!("snapshot, class {class}"),
            Copy::Stopped => "stopped".to_owned(),
            Copy::AtPoint { at } => format!("at point, {at}"),
            Copy::Carried { at, why } => format!("carried, {at}: {why}"),
            Copy::Kept { why } => format!("kept: {why}"),
            Copy::Never { why } => format!("never: {why}"),
        };
        let _ = writeln!(text, "  {how}");
    }
    for (number, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(text, "step {} {step}", number + 1);
    }
    for skipped in &plan.skipped {
        let _ = writeln!(text, "skipped {}: {}", skipped.step, skipped.why);
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for lost in &plan.given_up {
        let _ = writeln!(text, "given up: {lost:?}");
    }
    let _ = writeln!(text, "loses since {:?}\naccepted {:?}", plan.loses_since, plan.accepted);
    text
}

#[test]
fn the_first_cycle_takes_the_epoch_and_names_what_it_cannot_copy() {
    let plan = planned(&request(RunKind::Cycle, "west"), &shop()).unwrap();
    insta::assert_snapshot!("cycle_first", shown(&plan));
}

#[test]
fn a_later_cycle_carries_the_static_volume_of_a_running_vm() {
    let plan = planned(&request(RunKind::Cycle, "west"), &protected()).unwrap();
    insta::assert_snapshot!("cycle_later", shown(&plan));
}

#[test]
fn a_cycle_without_snapshots_takes_none() {
    let mut observed = shop();
    east(&mut observed).claims.iter_mut().for_each(|claim| claim.snapshot_class = None);
    let plan = planned(&request(RunKind::Cycle, "west"), &observed).unwrap();
    assert!(!plan.steps.contains(&crate::run::Step::TakeSnapshots));
    assert_eq!(plan.skipped[0].why, "none of the group's volumes can be snapshotted");
}

#[test]
fn a_migrate_stops_fences_and_warns_of_bystanders() {
    let mut observed = protected();
    east(&mut observed).bystanders = vec!["pvc-of-others".to_owned()];
    let plan = planned(&request(RunKind::Migrate, "west"), &observed).unwrap();
    insta::assert_snapshot!("migrate", shown(&plan));
}

/// The shop runs in the west; whoever was in the east wrote on after the failover.
fn away() -> Observed {
    let mut observed = protected();
    observed.active = Active { site: site("west"), epoch: Epoch(4) };
    let claims: Vec<ClaimObserved> = shop_claims()
        .into_iter()
        .map(|claim| {
            let pv = crate::rewrite::rewrite(&claim.pv.unwrap(), &nas(), &site("east"), &site("west")).unwrap().pv;
            ClaimObserved { pv: Some(pv), ..claim }
        })
        .collect();
    *west(&mut observed) = state(shop_vms(), claims);
    *east(&mut observed) = state(Vec::new(), Vec::new());
    east(&mut observed).fenced = true;
    east(&mut observed).divergence = vec![DivergenceObserved {
        pv: "pvc-data".to_owned(),
        bytes: 4096,
        last_written: Some(at(-60)),
        since: at(-301),
    }];
    observed
}

#[test]
fn a_failback_says_what_it_gives_up() {
    let plan = planned(&request(RunKind::Failback, "east"), &away()).unwrap();
    insta::assert_snapshot!("failback", shown(&plan));
}

#[test]
fn a_failover_from_a_lost_site_needs_nothing_of_it() {
    let mut observed = protected();
    lost(&mut observed, "east");
    let accepted = Request { accepted: Some(reason()), ..request(RunKind::Failover, "west") };
    let plan = planned(&accepted, &observed).unwrap();
    insta::assert_snapshot!("failover_lost", shown(&plan));
}

#[test]
fn a_failover_from_a_living_site_stops_and_fences_it() {
    // A reason that is not needed is not kept: the source is fenced, nobody has to answer for it.
    let accepted = Request { accepted: Some(reason()), ..request(RunKind::Failover, "west") };
    let plan = planned(&accepted, &protected()).unwrap();
    insta::assert_snapshot!("failover_alive", shown(&plan));
}

#[test]
fn a_failover_recovers_from_the_newest_point_that_has_objects() {
    let mut observed = protected();
    observed.points.push(point("rp-20261122-180400", None, &[("pvc-data", -61)]));
    let plan = planned(&request(RunKind::Failover, "west"), &observed).unwrap();
    assert_eq!(plan.point.as_str(), "rp-20261122-180000");
    assert_eq!(plan.backup, "shop-rp-20261122-180000");
}

#[test]
fn a_vm_without_its_disk_is_not_started() {
    let mut observed = protected();
    observed.points = vec![point("rp-1", Some("b"), &[("pvc-data", -301), ("web-disk", -3901)])];
    let plan = planned(&request(RunKind::Failover, "west"), &observed).unwrap();
    let db = plan.vms.iter().find(|vm| vm.vm.name == "db").unwrap();
    assert!(!db.start);
    assert_eq!(db.note.as_deref(), Some("the target has no copy of db-log"));
    // The moment that is stated is that of a VM that is started, here only web.
    assert_eq!(plan.loses_since, Some(at(-3901)));
}

/// The shop ran in the west after a failover for which there was no copy of the database's log.
fn away_without_log() -> Observed {
    let mut observed = away();
    west(&mut observed).empty = ["pvc-log".to_owned()].into();
    *east(&mut observed) =
        SiteState { divergence: east(&mut observed).divergence.clone(), ..state(Vec::new(), shop_claims()) };
    observed
}

#[test]
fn what_never_ran_at_the_source_is_not_copied_over_the_data_it_left_at_home() {
    let plan = planned(&request(RunKind::Failback, "east"), &away_without_log()).unwrap();
    insta::assert_snapshot!("failback_kept", shown(&plan));
    let db = plan.vms.iter().find(|vm| vm.vm.name == "db").unwrap();
    assert!(db.start && db.on && !db.runnable, "it starts from what is at home");
    assert!(plan.given_up.is_empty(), "the data at home is kept");
}

#[test]
fn a_vm_whose_data_is_nowhere_is_not_started() {
    let mut observed = away_without_log();
    east(&mut observed).empty = ["pvc-log".to_owned()].into();
    let plan = planned(&request(RunKind::Failback, "east"), &observed).unwrap();
    let db = plan.vms.iter().find(|vm| vm.vm.name == "db").unwrap();
    assert!(!db.start);
    assert_eq!(db.note.as_deref(), Some("the target has no copy of db-log"));
}

#[test]
fn a_disk_that_another_vm_wrote_is_copied_and_does_not_fit_what_was_kept() {
    let mut observed = away_without_log();
    west(&mut observed).vms.push(vm("report", true, &["db-data"]));
    let plan = planned(&request(RunKind::Failback, "east"), &observed).unwrap();
    let started: Vec<&str> = plan.vms.iter().filter(|vm| vm.start).map(|vm| vm.vm.name.as_str()).collect();
    assert!(started.contains(&"report") && !started.contains(&"db"), "{started:?}");
    assert_eq!(plan.given_up.len(), 1, "what home has of db-data is replaced");
}

#[test]
fn a_cycle_does_not_copy_what_is_not_there() {
    let mut observed = shop();
    east(&mut observed).empty = ["pvc-batch".to_owned()].into();
    let plan = planned(&request(RunKind::Cycle, "west"), &observed).unwrap();
    assert_eq!(plan.volume("pvc-batch").unwrap().copy, Copy::Never { why: "east holds no data of it".to_owned() });
}

#[test]
fn another_plan_has_another_fingerprint() {
    let plan = planned(&request(RunKind::Migrate, "west"), &protected()).unwrap();
    let mut other = plan.clone();
    other.volumes[0].object["spec"]["capacity"] = json!({"storage": "1Mi"});
    assert_eq!(plan.fingerprint().len(), 64);
    assert_eq!(plan.fingerprint(), plan.clone().fingerprint());
    assert_ne!(plan.fingerprint(), other.fingerprint());
}

#[test]
fn a_plan_survives_json() {
    for (kind, target, observed) in
        [(RunKind::Cycle, "west", shop()), (RunKind::Migrate, "west", protected()), (RunKind::Failback, "east", away())]
    {
        let plan = planned(&request(kind, target), &observed).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let read = serde_json::from_str::<Plan>(&text).unwrap();
        assert_eq!(read, plan);
        assert_eq!(read.fingerprint(), plan.fingerprint());
    }
}

#[test]
fn a_thousand_vms() {
    let mut observed = shop();
    let source = east(&mut observed);
    (source.vms, source.claims) = (0..1000)
        .map(|n| {
            let (name, disk) = (format!("vm-{n:04}"), format!("disk-{n:04}"));
            let seen = vm(&name, n % 3 != 0, &[&disk]);
            (seen, claim(&disk, csi(&format!("pvc-{n:04}"), &disk), (n % 2 == 0).then_some("nfs-csi")))
        })
        .unzip();
    let plan = planned(&request(RunKind::Migrate, "west"), &observed).unwrap();
    assert_eq!((plan.vms.len(), plan.volumes.len()), (1000, 1000));
    assert_eq!(plan.vms.iter().filter(|vm| vm.start).count(), 666);
    assert!(plan.volumes.iter().all(|volume| volume.after.to_string().starts_with("nfs://10.77.0.2/vault/pvc-")));
}
