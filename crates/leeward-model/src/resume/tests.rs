use super::*;
use crate::{
    journal::{Entry, Event},
    name::{Epoch, PointId, RunId},
    plan::tests::plan_of,
    testing::site,
};

const KINDS: [RunKind; 4] = [RunKind::Cycle, RunKind::Migrate, RunKind::Failover, RunKind::Failback];

fn plan(kind: RunKind) -> Plan {
    plan_of(kind, &[Step::TakeEpoch, Step::StartVms])
}

fn state(plan: &Plan, events: Vec<Event>) -> RunState {
    let entries: Vec<Entry> = events
        .into_iter()
        .zip(1..)
        .map(|(event, seq)| Entry { seq, at: jiff::Timestamp::UNIX_EPOCH, by: "host/1".to_owned(), event })
        .collect();
    RunState::replay(plan, &entries).unwrap()
}

fn started(step: Step) -> Event {
    Event::Started { step }
}

/// Nothing done; the epoch taken; the start failed; it may be under way.
fn stages(plan: &Plan) -> [(RunState, bool); 4] {
    let failed = Event::Failed { step: Step::StartVms, error: String::new() };
    let took = Event::Succeeded { step: Step::TakeEpoch, observed: false, output: serde_json::Value::Null };
    [
        (state(plan, vec![]), false),
        (state(plan, vec![started(Step::TakeEpoch), took]), false),
        (state(plan, vec![started(Step::StartVms), failed]), true),
        (state(plan, vec![started(Step::StartVms)]), true),
    ]
}

fn request(kind: RunKind, target: &str) -> Request {
    Request { kind, target: site(target), at: jiff::Timestamp::UNIX_EPOCH, accepted: None }
}

#[test]
fn what_was_asked_for_is_gone_on_with() {
    for kind in KINDS {
        for (state, _) in stages(&plan(kind)) {
            assert_eq!(unfinished(&plan(kind), &state, &request(kind, "west")), Unfinished::GoOn);
        }
    }
}

/// A VM that may run at the target has data that nobody else has.
#[test]
fn nothing_is_given_up_once_a_vm_may_have_started() {
    for kind in KINDS {
        for (state, may_run) in stages(&plan(kind)) {
            assert_eq!(may_have_started(&state), may_run);
            for asked in KINDS {
                for target in ["east", "west"] {
                    let answer = unfinished(&plan(kind), &state, &request(asked, target));
                    assert!(
                        answer != Unfinished::GiveUp || !may_run || kind == RunKind::Cycle,
                        "{kind} {asked} {target}"
                    );
                }
            }
        }
    }
}

/// N6: a disaster in the middle of a cycle or a planned move does not wait for the lost site.
#[test]
fn a_failover_never_waits_for_a_run_that_needs_the_lost_site() {
    for kind in [RunKind::Cycle, RunKind::Migrate, RunKind::Failback] {
        for (state, may_run) in stages(&plan(kind)) {
            if !may_run || kind == RunKind::Cycle {
                let answer = unfinished(&plan(kind), &state, &request(RunKind::Failover, "west"));
                assert_eq!(answer, Unfinished::GiveUp, "{kind}");
            }
        }
    }
}

#[test]
fn a_move_is_in_the_way_of_everything_else() {
    for kind in [RunKind::Migrate, RunKind::Failover, RunKind::Failback] {
        for (state, _) in stages(&plan(kind)) {
            for asked in KINDS.into_iter().filter(|&asked| asked != kind) {
                assert_eq!(unfinished(&plan(kind), &state, &request(asked, "east")), Unfinished::InTheWay);
            }
            assert_eq!(unfinished(&plan(kind), &state, &request(kind, "east")), Unfinished::InTheWay);
        }
    }
}

#[test]
fn the_newest_data_is_at_the_source_until_something_may_have_started_at_the_target() {
    let record = |run: &str, active: &str| WitnessRecord {
        epoch: Epoch(2),
        active: site(active),
        run: RunId::parse(run).unwrap(),
        kind: RunKind::Migrate,
        point: PointId::parse("fp-1").unwrap(),
        at: jiff::Timestamp::UNIX_EPOCH,
        by: "host/1".to_owned(),
    };
    for kind in KINDS {
        let plan = plan(kind);
        for (state, may_run) in stages(&plan) {
            let holder = half_moved(&record("run-1", "west"), &plan, &state);
            assert_eq!(holder, (kind.moves() && !may_run).then_some(&plan.source), "{kind}");
            // Another run's epoch, and one that was given back.
            assert_eq!(half_moved(&record("run-2", "west"), &plan, &state), None);
            assert_eq!(half_moved(&record("run-1", "east"), &plan, &state), None);
            let end = |outcome| RunState { outcome: Some(outcome), ..state.clone() };
            assert_eq!(half_moved(&record("run-1", "west"), &plan, &end(Outcome::Completed)), None);
            assert_eq!(half_moved(&record("run-1", "west"), &plan, &end(Outcome::Abandoned)), holder);
        }
    }
}
