use super::*;
use crate::testing::{Effect, FAULTS, Fault, Hands, Storm, World, group, plan, witness};
use leeward_model::{journal::RunState, name::Epoch, run::RunKind};
use std::sync::Arc;

/// One plan of each kind; the cycles are the group's first and a later one.
fn plans() -> Vec<Plan> {
    let kinds = [
        (RunKind::Cycle, 0),
        (RunKind::Cycle, 1),
        (RunKind::Migrate, 1),
        (RunKind::Failover, 3),
        (RunKind::Failback, 1),
    ];
    kinds.into_iter().map(|(kind, epoch)| plan(kind, epoch)).collect()
}

async fn world(plan: &Plan) -> World {
    let world = World::default();
    if plan.epoch_before != Epoch(0) {
        let before = witness(plan.epoch_before.0, "east", "earlier-run");
        world.state().claim_epoch(&group(), &before).await.unwrap();
    }
    world
}

fn hands<'a>(world: &'a World, storm: &Arc<Storm>, by: &str, sees: bool) -> Hands<'a> {
    Hands {
        world,
        state: world.stormy(storm),
        storm: storm.clone(),
        by: by.to_owned(),
        sees,
        broken: None,
        superseded_after: None,
    }
}

/// One process, as the engine does it: looks for an unfinished run, else opens the plan's.
async fn attempt(plan: &Plan, hands: &Hands<'_>) -> Result<(), EngineError> {
    hands.state.probe().await?;
    let mut run = match hands.state.newest_run(&group()).await? {
        Some(run) if run.state.outcome.is_none() => run,
        Some(_) => return Ok(()),
        None => hands.state.open_run(plan).await?,
    };
    hands.carry_out(&mut run).await
}

async fn newest(world: &World) -> RunRecord {
    world.state().newest_run(&group()).await.unwrap().unwrap()
}

/// The end is the same, whatever happened on the way.
async fn assert_ended(world: &World, plan: &Plan) -> RunState {
    let run = newest(world).await;
    assert_eq!((run.number, &run.plan), (1, plan));
    assert_eq!(run.state.outcome, Some(Outcome::Completed));
    for state in &run.state.steps {
        assert_eq!((state.phase, &state.error), (StepPhase::Succeeded, &None));
        assert_eq!(state.output, Hands::output(state.step));
    }
    assert_eq!(world.steps(), plan.steps, "every step was done, in order");
    let record = world.state().witness(&group()).await.unwrap().unwrap();
    assert_eq!(
        (record.epoch, &record.active),
        (plan.epoch, if plan.kind.moves() { &plan.target } else { &plan.source })
    );
    run.state
}

#[tokio::test]
async fn a_calm_run_does_each_step_once() {
    for plan in plans() {
        let world = world(&plan).await;
        attempt(&plan, &hands(&world, &Storm::calm(), "one", true)).await.unwrap();
        let state = assert_ended(&world, &plan).await;
        assert!(state.steps.iter().all(|step| step.attempts == 1));
        // Opened, two a step, Finished.
        assert_eq!(state.last, plan.steps.len() as u64 * 2 + 2);
        attempt(&plan, &hands(&world, &Storm::calm(), "two", true)).await.unwrap();
        assert_eq!(world.effects().len(), plan.steps.len(), "a finished run is not done again");
    }
}

#[tokio::test]
async fn a_finished_run_takes_no_more_entries() {
    let plan = plan(RunKind::Migrate, 1);
    let world = world(&plan).await;
    attempt(&plan, &hands(&world, &Storm::calm(), "one", true)).await.unwrap();
    let (mut run, before) = (newest(&world).await, world.objects().await);
    let error = hands(&world, &Storm::calm(), "two", true).carry_out(&mut run).await.unwrap_err();
    assert!(error.to_string().contains("[LW-0154]"), "{error}");
    assert_eq!(world.objects().await, before);
}

#[tokio::test]
async fn each_step_in_turn_fails_and_a_repeat_finishes() {
    for plan in plans() {
        for (number, &step) in plan.steps.iter().enumerate() {
            let world = world(&plan).await;
            let broken = Hands { broken: Some(step), ..hands(&world, &Storm::calm(), "one", true) };
            for attempts in 1..=2 {
                let error = attempt(&plan, &broken).await.unwrap_err();
                assert!(matches!(&error, EngineError::Step { step: failed, .. } if *failed == step), "{error}");
                let state = newest(&world).await.state;
                let failed = state.step(step).unwrap();
                assert_eq!((failed.phase, failed.attempts), (StepPhase::Failed, attempts));
                assert_eq!(failed.error.as_deref(), Some("broken [LW-0431]"));
                assert_eq!(state.pending(), Some(step));
                assert_eq!(world.steps(), plan.steps[..number], "nothing after it was done");
            }
            attempt(&plan, &hands(&world, &Storm::calm(), "one", true)).await.unwrap();
            let state = assert_ended(&world, &plan).await;
            assert_eq!(state.step(step).unwrap().attempts, 3);
            assert_eq!(world.effects().len(), plan.steps.len(), "what was done is not done again");
        }
    }
}

/// N4: at every instant (each request to the store, each look, each effect), before and after, in every way.
#[tokio::test]
async fn whatever_breaks_whenever_the_next_attempt_ends_the_same() {
    for plan in plans() {
        for fault in FAULTS {
            for sees in [true, false] {
                let mut instant = 0;
                loop {
                    let world = world(&plan).await;
                    let storm = Storm::at(instant, fault);
                    let first = storm.survive(attempt(&plan, &hands(&world, &storm, "one", sees))).await;
                    let struck = storm.struck();
                    if !matches!(first, Some(Ok(()))) {
                        assert!(struck, "only the storm breaks anything: {first:?}");
                        attempt(&plan, &hands(&world, &Storm::calm(), "two", sees)).await.unwrap();
                    }
                    assert_ended(&world, &plan).await;
                    let again: Vec<Effect> = world.effects().into_iter().filter(|effect| effect.again).collect();
                    // With eyes nothing is done twice but by a client that repeats its own request.
                    assert!(
                        again.len() <= usize::from(!sees || fault == Fault::Again),
                        "{instant} {fault:?}: {again:?}"
                    );
                    if !struck {
                        break;
                    }
                    instant += 1;
                }
                assert!(instant > plan.steps.len() * 4, "the storm reaches every step: {instant}");
            }
        }
    }
}

/// A small generator; the numbers need only differ.
fn dice(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 40).unwrap()
}

#[tokio::test]
async fn attempts_that_break_again_and_again_still_end_the_same() {
    for seed in 0..300 {
        let mut dies = seed;
        let plan = plan([RunKind::Migrate, RunKind::Cycle, RunKind::Failover][dice(&mut dies) % 3], 1);
        let world = world(&plan).await;
        for process in 0.. {
            assert!(process < 1000, "it never ends");
            let storm = Storm::at(4 + dice(&mut dies) % 20, FAULTS[dice(&mut dies) % FAULTS.len()]);
            let ended =
                storm.survive(attempt(&plan, &hands(&world, &storm, &process.to_string(), seed % 2 == 0))).await;
            if matches!(ended, Some(Ok(()))) && newest(&world).await.state.outcome.is_some() {
                break;
            }
        }
        assert_ended(&world, &plan).await;
    }
}

/// Every effect has its own written intent: how often `by` did `step` is never more than how often it wrote `Started`.
async fn assert_every_effect_was_announced(world: &World, run: &RunRecord) {
    use object_store::ObjectStoreExt;
    let mut announced: Vec<(String, Step)> = Vec::new();
    for seq in 1..=run.state.last {
        let path = format!("leeward/groups/shop/runs/{:06}/journal/{seq:06}.json", run.number);
        let body = world.bucket.get(&path.into()).await.unwrap().bytes().await.unwrap();
        let entry: Entry = serde_json::from_slice(&body).unwrap();
        if let Event::Started { step } = entry.event {
            announced.push((entry.by, step));
        }
    }
    for effect in world.effects() {
        let at = announced.iter().position(|(by, step)| (by, step) == (&effect.by, &effect.step));
        assert!(at.is_some(), "{effect:?} without an intent");
        announced.remove(at.unwrap());
    }
}

#[tokio::test]
async fn of_two_executors_one_goes_on_and_the_other_stops() {
    let (mut first_won, mut second_won) = (0, 0);
    for seed in 0..300u64 {
        let mut dies = seed;
        let plan = plan(RunKind::Migrate, 1);
        let world = world(&plan).await;
        let mut yields = || (0..7).map(|_| dice(&mut dies) % 4).collect::<Vec<_>>();
        let (one, two) = (Storm::yielding(yields()), Storm::yielding(yields()));
        let (one, two) = (hands(&world, &one, "one", true), hands(&world, &two, "two", true));
        world.state().open_run(&plan).await.unwrap();
        let late = dice(&mut dies) % 200;
        let second = async {
            for _ in 0..late {
                tokio::task::yield_now().await;
            }
            attempt(&plan, &two).await
        };
        let (first, second) = tokio::join!(attempt(&plan, &one), second);
        let overtaken =
            |result: &Result<(), EngineError>| matches!(result, Err(EngineError::State(StateError::Overtaken { .. })));
        match (&first, &second) {
            (Ok(()), loser) if overtaken(loser) => first_won += 1,
            (loser, Ok(())) if overtaken(loser) => second_won += 1,
            // The second came when all was done.
            (Ok(()), Ok(())) => assert!(world.effects().iter().all(|effect| effect.by == "one")),
            other => panic!("seed {seed}: {other:?}"),
        }
        let run = newest(&world).await;
        assert_eq!(run.state.outcome, Some(Outcome::Completed));
        assert_every_effect_was_announced(&world, &run).await;
    }
    assert!(first_won > 10 && second_won > 10, "both happen: {first_won} {second_won}");
}

#[tokio::test]
async fn who_is_overtaken_in_the_middle_of_a_step_does_no_other() {
    let plan = plan(RunKind::Migrate, 1);
    for instant in 10..40 {
        let world = world(&plan).await;
        // The first hangs, as a machine that sleeps does, and wakes after the second has done everything.
        let storm = Storm::at(instant, Fault::DieAfter);
        let (mut slow, fast) = (hands(&world, &storm, "slow", true), hands(&world, &Storm::calm(), "fast", true));
        storm.survive(attempt(&plan, &slow)).await;
        let mut asleep = newest(&world).await;
        attempt(&plan, &fast).await.unwrap();
        let done = world.effects();
        slow.storm = Storm::calm();
        slow.state = world.state();
        let error = slow.carry_out(&mut asleep).await.unwrap_err();
        assert!(matches!(error, EngineError::State(StateError::Overtaken { ref by, .. }) if by == "fast"), "{error}");
        assert_eq!(world.effects(), done);
        assert_ended(&world, &plan).await;
    }
}

/// N1: once another run has the epoch, nothing more is done.
#[tokio::test]
async fn a_run_whose_epoch_was_taken_does_nothing_more() {
    for plan in plans() {
        let taken = plan.steps.iter().position(|&step| step == Step::TakeEpoch).unwrap_or(0);
        for number in taken..plan.steps.len() - 1 {
            let world = world(&plan).await;
            let superseded = Some(plan.steps[number]);
            let one = Hands { superseded_after: superseded, ..hands(&world, &Storm::calm(), "one", true) };
            for _ in 0..2 {
                let error = attempt(&plan, &one).await.unwrap_err();
                let EngineError::Step { step, source, .. } = &error else { panic!("{error}") };
                assert!(matches!(**source, StepError::State(StateError::Superseded { .. })), "{source}");
                // A step that needs no epoch may still be done.
                assert!(step.needs_epoch());
                let allowed = plan.steps[number + 1..].iter().take_while(|step| !step.needs_epoch()).count();
                assert_eq!(world.steps(), plan.steps[..=number + allowed]);
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_never_got_its_epoch_does_nothing() {
    let plan = plan(RunKind::Migrate, 1);
    let world = world(&plan).await;
    world.state().claim_epoch(&group(), &witness(2, "east", "another-run")).await.unwrap();
    let error = attempt(&plan, &hands(&world, &Storm::calm(), "one", true)).await.unwrap_err();
    assert!(chain(&error).contains("[LW-0405]"), "{error}");
    assert_eq!(world.steps(), [Step::PublishMapping]);
}

#[test]
fn a_chain_names_every_cause_once() {
    let json = serde_json::from_str::<u8>("x").unwrap_err();
    let cause = json.to_string();
    let error = EngineError::Step {
        run: leeward_model::name::RunId::parse("r").unwrap(),
        step: Step::Commit,
        source: Box::new(StepError::State(StateError::Form { path: "p".to_owned(), source: json })),
    };
    let text = chain(&error);
    assert_eq!(text.matches(&cause).count(), 1, "{text}");
    assert_eq!(text.matches("[LW-0402]").count(), 1, "{text}");
}
