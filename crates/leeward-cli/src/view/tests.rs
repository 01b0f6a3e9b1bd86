//! Golden forms of everything that is printed on stdout: scripts read the JSON, people the tables.

use super::*;
use crate::output::Shown;
use leeward_engine::{engine::Carried, roles::PutRight, state::RunRecord};
use leeward_model::{
    group::{Confirm, GroupSpec},
    journal::{Entry, Event, Outcome, RunState},
    mapping::Mapping,
    name::{Epoch, GroupName, Namespace, PointId, SiteName},
    plan::{
        Plan,
        observed::{
            Active, ClaimObserved, DivergenceObserved, ObjectRef, Observed, Override, PointObserved, Request,
            SiteObserved, SiteState, VmObserved,
        },
        planner,
    },
    run::RunKind,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

fn at(seconds: i64) -> jiff::Timestamp {
    "2026-11-22T18:05:01Z".parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

fn object(name: &str) -> ObjectRef {
    ObjectRef { namespace: Namespace::parse("shop").unwrap(), name: name.to_owned() }
}

fn vm(name: &str, running: bool, claims: &[&str]) -> VmObserved {
    let claims = claims.iter().map(|&claim| claim.to_owned()).collect();
    VmObserved { vm: object(name), halted: !running, running, claims }
}

fn claim(name: &str, class: Option<&str>) -> ClaimObserved {
    let pv: Value = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("pv-{name}")},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "storageClassName": "",
            "claimRef": {"namespace": "shop", "name": name},
            "nfs": {"server": "10.77.0.1", "path": format!("/export/{name}")},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    });
    ClaimObserved { claim: object(name), pv: Some(pv), snapshot_class: class.map(str::to_owned) }
}

fn state(vms: Vec<VmObserved>, claims: Vec<ClaimObserved>) -> SiteState {
    SiteState { vms, claims, ..SiteState::default() }
}

/// The shop runs in the east and has been protected once; the web's disk is not in that point.
fn shop() -> Observed {
    let vms = vec![vm("db", true, &["db-data"]), vm("web", true, &["web-disk"]), vm("batch", false, &[])];
    let claims = vec![claim("db-data", Some("nfs-csi")), claim("web-disk", None)];
    let staged = vms.iter().map(|vm| VmObserved { halted: true, running: false, ..vm.clone() }).collect();
    let point = |name: &str, backup: Option<&str>, seconds: i64| PointObserved {
        point: PointId::parse(name).unwrap(),
        at: site("west"),
        backup: backup.map(str::to_owned),
        vms: vms.clone(),
        claims: claims.clone(),
        volumes: [("pv-db-data".to_owned(), at(seconds))].into(),
    };
    let points = vec![point("rp-20261122-180000", Some("shop-rp-20261122-180000"), -301), point("fp-1", None, -100)];
    let mut east = state(vms, claims);
    east.bystanders = vec!["pv-of-others".to_owned()];
    Observed {
        group: GroupName::parse("shop").unwrap(),
        active: Active { site: site("east"), epoch: Epoch(3) },
        sites: [
            (site("east"), SiteObserved::Reachable(Box::new(east))),
            (site("west"), SiteObserved::Reachable(Box::new(state(staged, Vec::new())))),
        ]
        .into(),
        points,
    }
}

fn west(observed: &mut Observed) -> &mut SiteState {
    match observed.sites.get_mut(&site("west")) {
        Some(SiteObserved::Reachable(state)) => state,
        other => panic!("{other:?}"),
    }
}

fn planned(kind: RunKind, accepted: Option<Override>, observed: &Observed) -> Plan {
    let mapping = Mapping::parse(
        "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - name: nas\n    east: { nfs: { server: 10.77.0.1, path: /export } }\n    west: { nfs: { server: 10.77.0.2, path: /vault } }\n",
    )
    .unwrap();
    let group = GroupSpec {
        namespaces: vec![Namespace::parse("shop").unwrap()],
        match_labels: BTreeMap::new(),
        home: site("east"),
        priorities: [("db".to_owned(), 1)].into(),
        confirm: Confirm::Ready,
    };
    planner::plan(&Request { kind, target: site("west"), at: at(0), accepted }, &group, &mapping, observed).unwrap()
}

fn lost() -> Observed {
    let mut observed = shop();
    observed.sites.insert(site("east"), SiteObserved::Unreachable("no route to host".to_owned()));
    observed
}

fn failover() -> Plan {
    let accepted = Override { who: "ada".to_owned(), reason: "the hall is under water".to_owned() };
    planned(RunKind::Failover, Some(accepted), &lost())
}

fn migrate() -> Plan {
    let mut observed = shop();
    west(&mut observed).divergence = vec![DivergenceObserved {
        pv: "pv-db-data".to_owned(),
        bytes: 4096,
        last_written: Some(at(-60)),
        since: at(-301),
    }];
    planned(RunKind::Migrate, None, &observed)
}

#[test]
fn plan_tables() {
    insta::assert_snapshot!("plan_cycle", PlanView::new(planned(RunKind::Cycle, None, &shop())).table());
    insta::assert_snapshot!("plan_migrate", PlanView::new(migrate()).table());
    insta::assert_snapshot!("plan_failover", PlanView::new(failover()).table());
}

#[test]
fn plan_json() {
    let view = PlanView::new(failover());
    assert_eq!(view.name(), "failover-20261122-180501");
    insta::assert_json_snapshot!("plan_failover_json", view);
}

fn statuses() -> StatusView {
    let mut odd = shop();
    west(&mut odd).vms[0].running = true;
    west(&mut odd).fenced = true;
    west(&mut odd).storage_problem = Some("the export is not there".to_owned());
    west(&mut odd).velero_problem = Some("its location is unavailable".to_owned());
    odd.group = GroupName::parse("odd").unwrap();
    let mut fresh = lost();
    fresh.group = GroupName::parse("fresh").unwrap();
    fresh.active.epoch = Epoch(0);
    fresh.points.clear();
    let unfinished = "cycle-20261122-180400 at step replicate; repeat `leeward cycle` to finish it".to_owned();
    let groups =
        vec![GroupStatus::new(&shop(), None), GroupStatus::new(&odd, Some(unfinished)), GroupStatus::new(&fresh, None)];
    StatusView { groups }
}

#[test]
fn status_table() {
    insta::assert_snapshot!("status", statuses().table());
}

#[test]
fn status_json() {
    assert_eq!(statuses().name(), "shop\nodd\nfresh");
    insta::assert_json_snapshot!("status_json", statuses());
}

/// The run of a plan, each step two seconds long, the second one tried twice.
fn carried(plan: Plan, put_right: Vec<PutRight>) -> Carried {
    let mut events = vec![Event::Opened { host: "hut".to_owned() }];
    for (number, &step) in plan.steps.iter().enumerate() {
        if number == 1 {
            events.push(Event::Started { step });
            events.push(Event::Failed { step, error: "no answer".to_owned() });
        }
        events.push(Event::Started { step });
        events.push(Event::Succeeded { step, observed: false, output: json!({"number": number}) });
    }
    events.push(Event::Finished { outcome: Outcome::Completed });
    let mut state = RunState::new(&plan);
    for (event, seq) in events.into_iter().zip(1u32..) {
        let entry = Entry { seq: u64::from(seq), at: at(i64::from(seq)), by: "hut/7".to_owned(), event };
        state.apply(&entry).unwrap();
    }
    Carried { run: RunRecord { number: 1, plan, state }, resumed: !put_right.is_empty(), put_right }
}

#[test]
fn run_tables() {
    let cycle = carried(planned(RunKind::Cycle, None, &shop()), Vec::new());
    insta::assert_snapshot!("run_cycle", RunView::new(&cycle).table());
    let put_right = vec![PutRight { site: site("east"), stopped: vec![object("db"), object("web")] }];
    insta::assert_snapshot!("run_migrate", RunView::new(&carried(migrate(), put_right)).table());
    insta::assert_snapshot!("run_failover", RunView::new(&carried(failover(), Vec::new())).table());
}

#[test]
fn a_run_that_was_taken_back_says_where_the_group_is() {
    let mut taken_back = carried(migrate(), Vec::new());
    taken_back.run.state.outcome = Some(Outcome::Abandoned);
    let text = RunView::new(&taken_back).table();
    let last = text.lines().last().unwrap();
    assert_eq!(last, "migrate migrate-20261122-180501 was taken back: shop is active at east");
}

#[test]
fn run_json() {
    let view = RunView::new(&carried(failover(), Vec::new()));
    assert_eq!(view.name(), "failover-20261122-180501");
    insta::assert_json_snapshot!("run_failover_json", view);
}

#[test]
fn tables_have_no_escapes_and_no_ragged_ends() {
    for text in
        [PlanView::new(migrate()).table(), statuses().table(), RunView::new(&carried(migrate(), Vec::new())).table()]
    {
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        assert!(!text.ends_with('\n'));
    }
}
