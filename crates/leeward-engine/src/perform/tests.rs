//! The steps that act on storage and records, on storage in memory; what acts on the clusters is played.

use super::*;
use crate::{
    error::EngineError,
    executor::{Executor, Identity},
    progress::Deaf,
    state::RunRecord,
    testing::{World, clock, group, plan, site, witness},
};
use leeward_model::{group::Confirm, journal::Outcome, name::Epoch};
use leeward_storage::{
    Consistency, StorageError, SyncRequest, SyncVolume,
    fake::{Fault, InMemory, Verb, WriteRefused},
};
use serde_json::json;

const MAPPING: &str = "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - name: nas\n    east: { nfs: { server: 10.77.0.1, path: /export } }\n    west: { nfs: { server: 10.77.0.2, path: /vault } }\n";
const DISK: &str = "disk.img";

struct Bed {
    world: World,
    storage: InMemory,
    mapping: Mapping,
    publication: Publication,
    group: GroupSpec,
    sites: BTreeMap<SiteName, Site>,
}

impl Bed {
    /// The shop runs in the east, in epoch 1; its guest has written one record, which the newest point holds, and another.
    async fn new(plan: &Plan) -> Self {
        let bed = Self {
            world: World::default(),
            storage: InMemory::new([site("east"), site("west")]),
            mapping: Mapping::parse(MAPPING).unwrap(),
            publication: Publication::default(),
            group: GroupSpec {
                namespaces: Vec::new(),
                match_labels: BTreeMap::new(),
                home: site("east"),
                priorities: BTreeMap::new(),
                confirm: Confirm::Ready,
            },
            sites: BTreeMap::new(),
        };
        let state = bed.world.state();
        state.claim_epoch(&group(), &witness(1, "east", "cycle-0")).await.unwrap();
        bed.guest(plan, "east", b"one").unwrap();
        let volume = &plan.volumes[0];
        let request = SyncRequest {
            group: group(),
            point: "rp-1".parse().unwrap(),
            base: None,
            from: site("east"),
            to: site("west"),
            epoch: Epoch(1),
            volumes: vec![SyncVolume {
                key: volume.pv.clone(),
                source: volume.before.clone(),
                consistency: Consistency::Stopped,
                at: clock(),
                seed: None,
            }],
            carried: Vec::new(),
        };
        let manifest = bed.storage.sync(&request).await.unwrap();
        let claims = claims_of(plan, |volume| volume.object.clone());
        let record = PointRecord { manifest, backup: "shop-rp-1".to_owned(), vms: vms_of(plan), claims, at: clock() };
        state.write_point(&record).await.unwrap();
        bed.guest(plan, "east", b"one two").unwrap();
        bed
    }

    fn guest(&self, plan: &Plan, at: &str, bytes: &[u8]) -> Result<(), WriteRefused> {
        let volume = &plan.volumes[0];
        let address = if at == "east" { &volume.before } else { &volume.after };
        self.storage.write(&site(at), address, DISK, bytes)
    }

    fn disk(&self, plan: &Plan, at: &str) -> Option<Vec<u8>> {
        let volume = &plan.volumes[0];
        self.storage.read(&site(at), if at == "east" { &volume.before } else { &volume.after }, DISK)
    }

    fn performer<'a>(&'a self, state: &'a State) -> SitesPerformer<'a> {
        SitesPerformer {
            sites: &self.sites,
            storage: &self.storage,
            state,
            mapping: (&self.mapping, &self.publication),
            group: &self.group,
            listener: &Deaf,
            clock,
            by: "host/1".to_owned(),
        }
    }

    async fn attempt(&self, plan: &Plan) -> Result<RunRecord, EngineError> {
        let state = self.world.state();
        let mut run = match state.newest_run(&group()).await? {
            Some(run) if run.state.outcome.is_some() => return Ok(run),
            Some(run) => run,
            None => state.open_run(plan).await?,
        };
        let performer = Played { bed: self, real: self.performer(&state) };
        let identity = Identity { host: "host".to_owned(), by: "host/1".to_owned() };
        let executor = Executor { state: &state, performer: &performer, listener: &Deaf, identity, clock };
        executor.carry_out(&mut run).await.map(|()| run)
    }

    async fn points(&self, at: &str) -> Vec<PointRecord> {
        self.world.state().points(&group(), &site(at)).await.unwrap()
    }
}

/// The steps that need clusters are played, and look at what the real ones left them.
struct Played<'a> {
    bed: &'a Bed,
    real: SitesPerformer<'a>,
}

#[async_trait::async_trait]
impl Performer for Played<'_> {
    async fn observe(&self, plan: &Plan, step: Step, outputs: &Outputs<'_>) -> Result<Option<Value>, StepError> {
        self.real.observe(plan, step, outputs).await
    }

    async fn perform(&self, plan: &Plan, step: Step, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        match step {
            Step::StopVms => Ok(json!({"stopped": clock()})),
            Step::BackUpFinal => Ok(json!({"backup": plan.backup})),
            Step::Restore => {
                // Should the source be lost now, a failover finds the newest data.
                let newest = self.bed.points("west").await.pop().unwrap();
                assert_eq!((&newest.manifest.point, &newest.backup), (&plan.point, &plan.backup));
                Ok(Value::Null)
            }
            Step::StartVms => {
                let wanted: &[u8] = if plan.kind == RunKind::Failover { b"one" } else { b"one two" };
                assert_eq!(self.bed.disk(plan, "west").as_deref(), Some(wanted), "the disk is there");
                assert!(self.bed.guest(plan, "east", b"late").is_err(), "N1: the source can write");
                self.bed.guest(plan, "west", b"one two three").unwrap();
                Ok(Value::Null)
            }
            Step::PublishMapping | Step::Confirm | Step::Reprotect => Ok(Value::Null),
            _ => self.real.perform(plan, step, outputs).await,
        }
    }
}

async fn assert_moved(bed: &Bed, plan: &Plan) {
    assert_eq!(bed.disk(plan, "west").as_deref(), Some(&b"one two three"[..]), "what was written since stays");
    assert_eq!(bed.disk(plan, "east").as_deref(), Some(&b"one two"[..]));
    let now = bed.world.state().witness(&group()).await.unwrap().unwrap();
    assert_eq!((now.epoch, &now.active, &now.run), (Epoch(2), &plan.target, &plan.run));
    let points: Vec<String> = bed.points("west").await.iter().map(|p| p.manifest.point.to_string()).collect();
    let made = plan.point.to_string();
    assert_eq!(points, if plan.kind == RunKind::Failover { vec![made] } else { vec!["rp-1".to_owned(), made] });
}

fn failed(error: &EngineError) -> (Step, &StepError) {
    match error {
        EngineError::Step { step, source, .. } => (*step, source),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_move_brings_the_last_data_and_starts_behind_a_fence() {
    for kind in [RunKind::Migrate, RunKind::Failover] {
        let plan = plan(kind, 1);
        let bed = Bed::new(&plan).await;
        assert_eq!(bed.attempt(&plan).await.unwrap().state.outcome, Some(Outcome::Completed));
        assert_moved(&bed, &plan).await;
    }
}

#[tokio::test]
async fn whatever_the_storage_refuses_a_repeat_ends_the_same() {
    for kind in [RunKind::Migrate, RunKind::Failover] {
        let plan = plan(kind, 1);
        let mut broken = 0;
        for verb in [Verb::Sync, Verb::Points, Verb::Verify, Verb::Fence, Verb::Unfence, Verb::IsFenced, Verb::Present]
        {
            for fault in [Fault::Before, Fault::During, Fault::After] {
                for place in ["east", "west"] {
                    let bed = Bed::new(&plan).await;
                    bed.storage.fail(&site(place), verb, fault, 2);
                    let mut attempts = 1;
                    while let Err(error) = bed.attempt(&plan).await {
                        assert!(matches!(failed(&error).1, StepError::Storage(_)), "{error}");
                        attempts += 1;
                        assert!(attempts <= 3, "{verb:?} {fault:?} {place}: {error}");
                    }
                    broken += usize::from(attempts > 1);
                    assert_moved(&bed, &plan).await;
                }
            }
        }
        assert!(broken >= 12, "{kind}: the faults reach the steps: {broken}");
    }
}

#[tokio::test]
async fn a_damaged_point_is_not_started_from() {
    let plan = plan(RunKind::Failover, 1);
    let bed = Bed::new(&plan).await;
    let manifest = bed.points("west").await[0].manifest.clone();
    assert!(bed.storage.damage(&manifest, &plan.volumes[0].pv, DISK));
    let error = bed.attempt(&plan).await.unwrap_err();
    let (step, why) = failed(&error);
    assert!(matches!(why, StepError::Storage(StorageError::Differs { .. })), "{why}");
    assert_eq!(step, Step::VerifyPoint);
    assert_eq!(bed.disk(&plan, "west"), None, "nothing was presented");
}

#[tokio::test]
async fn a_failover_from_a_lost_site_asks_nothing_of_it() {
    let mut plan = plan(RunKind::Failover, 1);
    plan.steps.retain(|step| !matches!(step, Step::StopVms | Step::FenceSource));
    let bed = Bed::new(&plan).await;
    bed.storage.set_reachable(&site("east"), false);
    let before = bed.storage.calls().len();
    bed.attempt(&plan).await.unwrap();
    assert_moved(&bed, &plan).await;
    assert!(bed.storage.calls()[before..].iter().all(|(_, at)| *at == site("west")));
}

#[tokio::test]
async fn a_lifted_fence_stops_the_start() {
    let plan = plan(RunKind::Migrate, 1);
    let bed = Bed::new(&plan).await;
    let state = bed.world.state();
    bed.storage.fence(&site("east")).await.unwrap();
    // Behind the fence it gets as far as the cluster, which this bed does not have.
    let error = bed.performer(&state).start_vms(&plan).await.unwrap_err();
    assert!(error.to_string().contains("[LW-0431]"), "{error}");
    bed.storage.unfence(&site("east")).await.unwrap();
    let error = bed.performer(&state).start_vms(&plan).await.unwrap_err();
    assert!(error.to_string().starts_with("east: the storage can be written again since the fence"), "{error}");
}
