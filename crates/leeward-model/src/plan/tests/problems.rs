//! Every problem, provoked once.

use super::*;
use crate::plan::planner::Problem;

fn refused(request: &Request, observed: &Observed) -> Vec<Problem> {
    planned(request, observed).unwrap_err().0
}

/// One case for each variant; the compiler asks for a new one when there is a new variant.
fn number(problem: &Problem) -> usize {
    match problem {
        Problem::UnknownSite { .. } => 0,
        Problem::AlreadyActive { .. } => 1,
        Problem::NotHome { .. } => 2,
        Problem::Unreachable { .. } => 3,
        Problem::UnfencedSource { .. } => 4,
        Problem::Velero { .. } => 5,
        Problem::Storage { .. } => 6,
        Problem::RunningAtTarget { .. } => 7,
        Problem::NoPoint { .. } => 8,
        Problem::NoVms { .. } => 9,
        Problem::MissingClaim { .. } => 10,
        Problem::UnboundClaim { .. } => 11,
        Problem::Rewrite { .. } => 12,
        Problem::ElsewhereAlready { .. } => 13,
        Problem::Name { .. } => 14,
        Problem::NamelessVolume { .. } => 15,
    }
}

#[test]
fn every_problem_says_what_is_wrong_and_what_to_do() {
    let migrate = request(RunKind::Migrate, "west");
    let with = |change: &dyn Fn(&mut Observed)| {
        let mut observed = protected();
        change(&mut observed);
        observed
    };
    let mut all = Vec::new();
    all.extend(refused(&request(RunKind::Migrate, "north"), &protected()));
    all.extend(refused(&request(RunKind::Migrate, "east"), &protected()));
    all.extend(refused(&request(RunKind::Failback, "west"), &protected()));
    all.extend(refused(&migrate, &with(&|o| lost(o, "east"))));
    all.extend(refused(&request(RunKind::Cycle, "west"), &with(&|o| lost(o, "west"))));
    all.extend(refused(&request(RunKind::Failover, "west"), &with(&|o| lost(o, "east"))));
    all.extend(refused(&migrate, &with(&|o| east(o).velero_problem = Some("its location is unavailable".to_owned()))));
    all.extend(refused(&migrate, &with(&|o| west(o).storage_problem = Some("the export is gone".to_owned()))));
    all.extend(refused(&migrate, &with(&|o| west(o).vms[0].running = true)));
    all.extend(refused(&request(RunKind::Failover, "west"), &with(&|o| o.points.clear())));
    all.extend(refused(&migrate, &with(&|o| east(o).vms.clear())));
    all.extend(refused(&migrate, &with(&|o| drop(east(o).claims.remove(0)))));
    all.extend(refused(&migrate, &with(&|o| east(o).claims[0].pv = None)));
    all.extend(refused(
        &migrate,
        &with(&|o| east(o).claims[2].pv.as_mut().unwrap()["spec"]["nfs"]["path"] = json!("/scratch/web")),
    ));
    all.extend(refused(
        &migrate,
        &with(&|o| {
            east(o).claims[2].pv =
                crate::rewrite::rewrite(&in_tree_pv(), &nas(), &site("east"), &site("west")).ok().map(|r| r.pv)
        }),
    ));
    let nameless = |name: serde_json::Value| {
        let change = |o: &mut Observed| east(o).claims[2].pv.as_mut().unwrap()["metadata"]["name"] = name.clone();
        refused(&migrate, &with(&change))
    };
    assert_eq!(nameless("".into()).iter().map(number).collect::<Vec<_>>(), [15]);
    all.extend(nameless(json!(null)));
    // No moment that jiff knows gives a bad name, so this one is not provoked but made.
    all.push(Problem::Name { source: PointId::parse("RP").unwrap_err() });
    let mut seen: Vec<usize> = all.iter().map(number).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..16).collect::<Vec<_>>());
    let text: Vec<String> = all.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("problems", text.join("\n"));
}

#[test]
fn all_problems_are_named_at_once() {
    let mut observed = protected();
    lost(&mut observed, "west");
    east(&mut observed).velero_problem = Some("no answer".to_owned());
    east(&mut observed).claims.remove(0);
    let problems = refused(&request(RunKind::Cycle, "west"), &observed);
    assert_eq!(problems.iter().map(number).collect::<Vec<_>>(), [5, 3, 10]);
}

#[test]
fn a_site_that_is_not_configured_is_the_one_that_is_named() {
    let mut observed = protected();
    observed.active.site = site("north");
    let text = planned(&request(RunKind::Migrate, "west"), &observed).unwrap_err().to_string();
    assert_eq!(text, "site north is not one of the configured sites (east, west) [LW-0160]");
}

#[test]
fn the_earliest_and_the_latest_moment_can_be_named() {
    for at in [jiff::Timestamp::MIN, jiff::Timestamp::MAX, jiff::Timestamp::UNIX_EPOCH] {
        for kind in [RunKind::Cycle, RunKind::Migrate, RunKind::Failover] {
            planned(&Request { at, ..request(kind, "west") }, &protected()).unwrap();
        }
    }
}
