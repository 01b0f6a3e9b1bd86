use super::*;
use crate::plan::tests::plan_of;
use proptest::prelude::*;
use serde_json::json;

const STEPS: [Step; 3] = [Step::TakeEpoch, Step::StopVms, Step::FenceSource];

fn plan() -> Plan {
    plan_of(RunKind::Migrate, &STEPS)
}

fn at(second: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
}

fn entry(seq: u64, event: Event) -> Entry {
    Entry { seq, at: at(seq), by: "host/1".to_owned(), event }
}

fn journal(events: impl IntoIterator<Item = Event>) -> Vec<Entry> {
    events.into_iter().zip(1..).map(|(event, seq)| entry(seq, event)).collect()
}

fn opened() -> Event {
    Event::Opened { host: "host".to_owned() }
}

fn started(step: Step) -> Event {
    Event::Started { step }
}

fn succeeded(step: Step) -> Event {
    Event::Succeeded { step, observed: false, output: json!({"of": step}) }
}

fn failed(step: Step, error: &str) -> Event {
    Event::Failed { step, error: error.to_owned() }
}

#[test]
fn a_run_with_a_crash_and_a_failure_adds_up() {
    let [epoch, stop, fence] = STEPS;
    let entries = journal([
        opened(),
        started(epoch),
        succeeded(epoch),
        started(stop),
        // Crash; then a failure; then done.
        Event::Opened { host: "other".to_owned() },
        started(stop),
        failed(stop, "it hangs"),
        started(stop),
        succeeded(stop),
        started(fence),
    ]);
    let state = RunState::replay(&plan(), &entries).unwrap();
    assert_eq!((state.last, state.host.as_deref(), state.outcome), (10, Some("other"), None));
    assert_eq!(state.pending(), Some(fence));
    let stopped = state.step(stop).unwrap();
    assert_eq!((stopped.phase, stopped.attempts, stopped.error.as_deref()), (StepPhase::Succeeded, 3, None));
    assert_eq!((stopped.started, stopped.ended), (Some(at(4)), Some(at(9))), "the first start, the end");
    assert_eq!(stopped.output, json!({"of": stop}));
    assert_eq!(state.step(fence).unwrap().phase, StepPhase::Started);
    let half = RunState::replay(&plan(), &entries[..7]).unwrap();
    assert_eq!(half.step(stop).unwrap().error.as_deref(), Some("it hangs"));
    assert_eq!(half.pending(), Some(stop));
}

#[test]
fn every_gap_is_found() {
    let full = journal(
        STEPS
            .into_iter()
            .flat_map(|step| [started(step), succeeded(step)])
            .chain([Event::Finished { outcome: Outcome::Completed }]),
    );
    assert_eq!(RunState::replay(&plan(), &full).unwrap().outcome, Some(Outcome::Completed));
    for missing in 0..full.len() - 1 {
        let mut entries = full.clone();
        entries.remove(missing);
        let number = missing as u64 + 1;
        let error = RunState::replay(&plan(), &entries).unwrap_err();
        assert_eq!(error, JournalError::Gap { expected: number, found: number + 1 });
    }
    let twice = [full[0].clone(), full[0].clone()];
    assert_eq!(RunState::replay(&plan(), &twice).unwrap_err(), JournalError::Gap { expected: 2, found: 1 });
    let text = RunState::replay(&plan(), &full[1..]).unwrap_err().to_string();
    assert_eq!(text, "the run's journal has entry 2 where 1 should be: an object is missing from the store [LW-0152]");
}

#[test]
fn a_step_of_another_plan_is_refused() {
    for event in [started(Step::Present), succeeded(Step::Present), failed(Step::Present, "")] {
        let error = RunState::replay(&plan(), &journal([opened(), event])).unwrap_err();
        assert_eq!(error, JournalError::ForeignStep(Step::Present));
    }
}

#[test]
fn moves_that_the_table_forbids_are_refused_and_change_nothing() {
    let [epoch, ..] = STEPS;
    let cases = [
        vec![succeeded(epoch)],
        vec![failed(epoch, "")],
        vec![started(epoch), succeeded(epoch), started(epoch)],
        vec![started(epoch), succeeded(epoch), failed(epoch, "")],
        vec![started(epoch), failed(epoch, ""), succeeded(epoch)],
    ];
    for mut events in cases {
        let last = events.pop().unwrap();
        let entries = journal(events);
        let mut state = RunState::replay(&plan(), &entries).unwrap();
        let good = state.clone();
        let error = state.apply(&entry(good.last + 1, last)).unwrap_err();
        assert!(matches!(error, JournalError::Transition(_)), "{error}");
        assert!(error.to_string().contains("[LW-0151]"), "{error}");
        assert_eq!(state, good);
    }
}

#[test]
fn nothing_follows_the_end() {
    let finish = |outcome| Event::Finished { outcome };
    let [epoch, ..] = STEPS;
    for event in [opened(), started(epoch), finish(Outcome::Completed)] {
        let entries = journal([finish(Outcome::Abandoned), event]);
        assert_eq!(RunState::replay(&plan(), &entries).unwrap_err(), JournalError::AfterEnd(2));
    }
}

#[test]
fn entries_keep_their_form() {
    let entries = journal([
        opened(),
        started(Step::FinalSync),
        failed(Step::FinalSync, "x"),
        succeeded(Step::FinalSync),
        Event::Finished { outcome: Outcome::Abandoned },
    ]);
    let lines: Vec<String> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    insta::assert_snapshot!("entries", lines.join("\n"));
    for (line, entry) in lines.iter().zip(&entries) {
        assert_eq!(serde_json::from_str::<Entry>(line).unwrap(), *entry);
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let step = || prop::sample::select(vec![STEPS[0], STEPS[1], STEPS[2], Step::Present]);
    prop_oneof![
        2 => Just(opened()),
        6 => step().prop_map(started),
        6 => step().prop_map(succeeded),
        3 => step().prop_map(|step| failed(step, "why")),
        1 => Just(Event::Finished { outcome: Outcome::Completed }),
    ]
}

proptest! {
    /// Whatever was written: replaying it is applying it one by one, stopping where that stops, and what is refused
    /// leaves the state as it was.
    #[test]
    fn replay_is_applying_one_by_one(
        events in prop::collection::vec((any_event(), prop::bool::weighted(0.98)), 0..40)
    ) {
        let plan = plan();
        let mut state = RunState::new(&plan);
        let mut taken = Vec::new();
        for (event, in_order) in events {
            let next = entry(state.last + if in_order { 1 } else { 2 }, event);
            let before = state.clone();
            let applied = state.apply(&next);
            let mut all = taken.clone();
            all.push(next);
            match (applied, RunState::replay(&plan, &all)) {
                (Ok(()), Ok(replayed)) => {
                    prop_assert_eq!(&state, &replayed);
                    taken = all;
                }
                (Err(one), Err(two)) => {
                    prop_assert_eq!(one, two);
                    prop_assert_eq!(&state, &before);
                }
                (one, two) => prop_assert!(false, "{:?} {:?}", one, two),
            }
        }
        prop_assert_eq!(state.last, taken.len() as u64);
    }
}
