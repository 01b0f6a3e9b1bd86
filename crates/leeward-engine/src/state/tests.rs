use super::*;
use crate::testing::{Fault, Storm, Stormy, World, clock, group, plan, site, witness};
use leeward_model::{
    journal::{Event, JournalError, Outcome},
    name::RunId,
    run::{RunKind, Step},
};
use leeward_storage::{Consistency, PointVolume};
use object_store::memory::InMemory;

fn entry(seq: u64, by: &str, event: Event) -> Entry {
    Entry { seq, at: clock(), by: by.to_owned(), event }
}

fn opened(seq: u64, by: &str) -> Entry {
    entry(seq, by, Event::Opened { host: by.to_owned() })
}

async fn finish(state: &State, run: &mut RunRecord) {
    let seq = run.state.last + 1;
    state.record(run, entry(seq, "one", Event::Finished { outcome: Outcome::Abandoned })).await.unwrap();
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_found() {
    let store = |unconditional| {
        let store = Stormy { inner: Arc::new(InMemory::new()), storm: Storm::calm(), unconditional };
        State::new(Arc::new(store), "leeward")
    };
    let bad = store(true);
    for _ in 0..2 {
        assert!(matches!(bad.probe().await, Err(StateError::Unconditional)));
    }
    let good = store(false);
    for _ in 0..2 {
        good.probe().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_fails_is_not_taken_for_a_good_one() {
    for (instant, fault) in
        [(0, Fault::FailBefore), (0, Fault::FailAfter), (1, Fault::FailBefore), (1, Fault::FailAfter)]
    {
        let world = World::default();
        let error = world.stormy(&Storm::at(instant, fault)).probe().await.unwrap_err();
        assert!(error.to_string().contains("leeward/probe/conditional-create.json"), "{error}");
        assert!(error.to_string().ends_with("[LW-0401]"), "{error}");
    }
    // A lost answer is repeated by the client; the probe must not see its own object as a broken promise.
    let world = World::default();
    for instant in [0, 1] {
        world.stormy(&Storm::at(instant, Fault::Again)).probe().await.unwrap();
    }
}

#[tokio::test]
async fn an_epoch_is_claimed_once() {
    let state = World::default().state();
    assert_eq!(state.witness(&group()).await.unwrap(), None);
    let mine = witness(1, "west", "migrate-1");
    state.claim_epoch(&group(), &mine).await.unwrap();
    // The same run again, later and from another process.
    let later = WitnessRecord { at: clock(), by: "other/2".to_owned(), ..mine.clone() };
    state.claim_epoch(&group(), &later).await.unwrap();
    assert_eq!(state.witness(&group()).await.unwrap(), Some(mine.clone()), "the first record stays");
    for other in [witness(1, "west", "migrate-2"), witness(1, "east", "migrate-1")] {
        let error = state.claim_epoch(&group(), &other).await.unwrap_err();
        assert!(
            matches!(&error, StateError::EpochTaken { run, active, .. } if *run == mine.run && *active == mine.active)
        );
        assert!(error.to_string().contains("epoch 1 was taken by run migrate-1 for site west"), "{error}");
    }
}

#[tokio::test]
async fn of_many_claimants_one_gets_the_epoch() {
    let world = World::default();
    let state = world.state();
    let claims = (0..20).map(|n| {
        let record = witness(1, if n % 2 == 0 { "east" } else { "west" }, &format!("run-{n}"));
        let state = world.stormy(&Storm::yielding(vec![n % 3, n % 5, n % 2]));
        async move { state.claim_epoch(&group(), &record).await.map(|()| record) }
    });
    let won: Vec<WitnessRecord> = futures::future::join_all(claims).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(state.witness(&group()).await.unwrap().as_ref(), won.first());
}

#[tokio::test]
async fn the_newest_epoch_is_the_highest_number() {
    let state = World::default().state();
    for epoch in [1, 2, 9, 10, 11, 100] {
        state.claim_epoch(&group(), &witness(epoch, "east", "r")).await.unwrap();
        assert_eq!(state.witness(&group()).await.unwrap().unwrap().epoch, Epoch(epoch));
    }
}

#[tokio::test]
async fn only_the_newest_epoch_holds_and_only_for_its_site() {
    let state = World::default().state();
    let error = state.hold(&group(), Epoch(1), &site("east")).await.unwrap_err();
    assert!(error.to_string().contains("there is no epoch yet"), "{error}");
    state.claim_epoch(&group(), &witness(1, "east", "a")).await.unwrap();
    state.hold(&group(), Epoch(1), &site("east")).await.unwrap();
    assert!(state.hold(&group(), Epoch(1), &site("west")).await.is_err());
    assert!(state.hold(&group(), Epoch(2), &site("east")).await.is_err());
    state.claim_epoch(&group(), &witness(2, "east", "b")).await.unwrap();
    let error = state.hold(&group(), Epoch(1), &site("east")).await.unwrap_err();
    assert!(matches!(error, StateError::Superseded { now: Some((Epoch(2), _)), .. }), "{error}");
    // Another group has epochs of its own.
    assert_eq!(state.witness(&GroupName::parse("office").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn one_run_at_a_time() {
    let state = World::default().state();
    assert!(state.newest_run(&group()).await.unwrap().is_none());
    let (cycle, migrate) = (plan(RunKind::Cycle, 1), plan(RunKind::Migrate, 1));
    let mut first = state.open_run(&cycle).await.unwrap();
    assert_eq!(first.number, 1);
    for again in [&cycle, &migrate] {
        let error = state.open_run(again).await.unwrap_err();
        assert!(matches!(&error, StateError::RunOpen { run, kind: RunKind::Cycle } if *run == cycle.run), "{error}");
    }
    finish(&state, &mut first).await;
    for number in 2..=11 {
        let mut next = state.open_run(&migrate).await.unwrap();
        assert_eq!(next.number, number);
        assert_eq!(state.newest_run(&group()).await.unwrap().unwrap().number, number);
        finish(&state, &mut next).await;
    }
}

#[tokio::test]
async fn of_many_that_open_a_run_one_does() {
    let world = World::default();
    let opens = (0..20).map(|n| {
        let mut plan = plan(RunKind::Migrate, 1);
        plan.run = RunId::parse(format!("migrate-{n}")).unwrap();
        let state = world.stormy(&Storm::yielding(vec![n % 3, n % 5, n % 2]));
        async move { state.open_run(&plan).await.map(|run| (run.number, run.plan.run)) }
    });
    let all = futures::future::join_all(opens).await;
    let (opened, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    let newest = world.state().newest_run(&group()).await.unwrap().unwrap();
    assert_eq!(opened[0].as_ref().unwrap(), &(1, newest.plan.run.clone()));
    assert_eq!(opened.len(), 1);
    for error in refused {
        assert!(matches!(error.unwrap_err(), StateError::RunOpen { run, .. } if run == newest.plan.run));
    }
}

#[tokio::test]
async fn an_entry_has_its_number_alone() {
    let state = World::default().state();
    let mut one = state.open_run(&plan(RunKind::Migrate, 1)).await.unwrap();
    let mut two = one.clone();
    let first = opened(1, "one");
    state.record(&mut one, first.clone()).await.unwrap();
    let error = state.record(&mut two, opened(1, "two")).await.unwrap_err();
    assert!(matches!(&error, StateError::Overtaken { by, .. } if by == "one"), "{error}");
    assert_eq!(two.state.last, 0, "the loser knows no more than before");
    // The client that lost the answer and repeats has not lost against itself.
    state.record(&mut two, first).await.unwrap();
    assert_eq!(two.state, one.state);
    assert_eq!(state.newest_run(&group()).await.unwrap().unwrap().state, one.state);
}

#[tokio::test]
async fn what_does_not_follow_is_not_stored() {
    let world = World::default();
    let state = world.state();
    let mut run = state.open_run(&plan(RunKind::Migrate, 1)).await.unwrap();
    let before = world.objects().await;
    let bad = [
        opened(2, "one"),
        entry(1, "one", Event::Started { step: Step::Prune }),
        entry(1, "one", Event::Succeeded { step: Step::StopVms, observed: false, output: serde_json::Value::Null }),
    ];
    for entry in bad {
        assert!(matches!(state.record(&mut run, entry).await, Err(StateError::Journal(_))));
        assert_eq!(world.objects().await, before);
    }
    state.record(&mut run, opened(1, "one")).await.unwrap();
}

#[tokio::test]
async fn damage_in_the_store_is_named() {
    let world = World::default();
    let state = world.state();
    let mut run = state.open_run(&plan(RunKind::Migrate, 1)).await.unwrap();
    for seq in 1..=3 {
        state.record(&mut run, opened(seq, "one")).await.unwrap();
    }
    let path = |name: &str| Path::from(format!("leeward/groups/shop/runs/{name}"));
    let put = async |name: &str, body: &'static str| {
        world.bucket.put(&path(name), PutPayload::from_static(body.as_bytes())).await.unwrap();
    };
    world.bucket.delete(&path("000001/journal/000002.json")).await.unwrap();
    let error = state.newest_run(&group()).await.unwrap_err();
    assert!(matches!(error, StateError::Journal(JournalError::Gap { expected: 2, found: 3 })), "{error}");
    put("000001/journal/000002.json", "{\"seq\": 2}").await;
    let error = state.newest_run(&group()).await.unwrap_err();
    assert!(error.to_string().contains("runs/000001/journal/000002.json"), "{error}");
    assert!(error.to_string().ends_with("[LW-0402]"), "{error}");
    put("latest/plan.json", "{}").await;
    let error = state.newest_run(&group()).await.unwrap_err();
    assert!(matches!(&error, StateError::ForeignName { name } if name == "latest"), "{error}");
}

fn record(point: &str, second: i64) -> PointRecord {
    let at = jiff::Timestamp::from_second(second).unwrap();
    let volume = PointVolume { key: "db-disk".to_owned(), at, consistency: Consistency::Stopped, files: Vec::new() };
    PointRecord {
        manifest: PointManifest {
            group: group(),
            point: PointId::parse(point).unwrap(),
            from: site("east"),
            to: site("west"),
            volumes: vec![volume],
        },
        backup: format!("shop-{point}"),
        vms: Vec::new(),
        claims: Vec::new(),
        at,
    }
}

#[tokio::test]
async fn points_come_oldest_first_and_are_never_overwritten() {
    let state = World::default().state();
    // By name it would be the other way round.
    let (old, new) = (record("rp-z", 100), record("fp-a", 200));
    for point in [&new, &old, &PointRecord { backup: "another".to_owned(), ..old.clone() }] {
        state.write_point(point).await.unwrap();
    }
    assert_eq!(state.points(&group(), &site("west")).await.unwrap(), [old.clone(), new.clone()]);
    assert!(state.points(&group(), &site("east")).await.unwrap().is_empty());
    for _ in 0..2 {
        state.forget_point(&group(), &site("west"), &old.manifest.point).await.unwrap();
        assert_eq!(state.points(&group(), &site("west")).await.unwrap(), std::slice::from_ref(&new));
    }
}

#[tokio::test]
async fn everything_has_its_place() {
    let world = World::default();
    let state = State::new(world.bucket.clone(), "/some/where/");
    state.probe().await.unwrap();
    state.claim_epoch(&group(), &witness(1, "east", "cycle-1")).await.unwrap();
    let mut run = state.open_run(&plan(RunKind::Cycle, 1)).await.unwrap();
    state.record(&mut run, opened(1, "one")).await.unwrap();
    state.write_point(&record("rp-1", 1)).await.unwrap();
    assert_eq!(
        world.objects().await,
        [
            "some/where/groups/shop/epochs/0000000001.json",
            "some/where/groups/shop/points/west/rp-1.json",
            "some/where/groups/shop/runs/000001/journal/000001.json",
            "some/where/groups/shop/runs/000001/plan.json",
            "some/where/probe/conditional-create.json",
        ]
    );
}
