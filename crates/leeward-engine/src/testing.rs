//! What the tests of this crate share: plans, a store and a world in which anything can go wrong at any instant.
//!
//! Instants are numbered through one attempt: each request to the store and each look at or effect on the world is one. A
//! [`Storm`] strikes at one of them.

use crate::{
    error::StepError,
    executor::{Executor, Identity, Outputs, Performer},
    progress::Deaf,
    state::{RunRecord, State},
};
use futures::{StreamExt, stream::BoxStream};
use leeward_model::{
    group::{Confirm, GroupSpec},
    journal::WitnessRecord,
    mapping::Mapping,
    name::{Epoch, GroupName, Namespace, PointId, RunId, SiteName},
    plan::{
        Plan,
        observed::{
            Active, ClaimObserved, ObjectRef, Observed, PointObserved, Request, SiteObserved, SiteState, VmObserved,
        },
        planner,
    },
    run::{RunKind, Step},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

pub(crate) const PREFIX: &str = "leeward";

pub(crate) fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

pub(crate) fn group() -> GroupName {
    GroupName::parse("shop").unwrap()
}

/// A clock that never shows the same time twice.
pub(crate) fn clock() -> jiff::Timestamp {
    static SECOND: AtomicU64 = AtomicU64::new(1_000_000_000);
    jiff::Timestamp::from_second(i64::try_from(SECOND.fetch_add(1, Ordering::Relaxed)).unwrap()).unwrap()
}

/// The plan of a shop with one VM on one volume, which runs in the east and is protected in the west.
pub(crate) fn plan(kind: RunKind, epoch: u64) -> Plan {
    let mapping = Mapping::parse(
        "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - name: nas\n    east: { nfs: { server: 10.77.0.1, path: /export } }\n    west: { nfs: { server: 10.77.0.2, path: /vault } }\n",
    )
    .unwrap();
    let object = |name: &str| ObjectRef { namespace: Namespace::parse("shop").unwrap(), name: name.to_owned() };
    let pv = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "db-disk"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "",
            "claimRef": {"namespace": "shop", "name": "db-disk"},
            "nfs": {"server": "10.77.0.1", "path": "/export/db-disk"},
        },
    });
    let vms = vec![VmObserved { vm: object("db"), halted: false, running: true, claims: vec!["db-disk".to_owned()] }];
    let claims = vec![ClaimObserved { claim: object("db-disk"), pv: Some(pv), snapshot_class: Some("nfs".to_owned()) }];
    let state = |vms, claims| SiteObserved::Reachable(Box::new(SiteState { vms, claims, ..SiteState::default() }));
    let at = jiff::Timestamp::from_second(1_763_834_701).unwrap();
    let point = PointObserved {
        point: PointId::parse("rp-1").unwrap(),
        at: site("west"),
        backup: Some("shop-rp-1".to_owned()),
        vms: vms.clone(),
        claims: claims.clone(),
        volumes: [("db-disk".to_owned(), at)].into(),
    };
    let observed = Observed {
        group: group(),
        active: Active { site: site("east"), epoch: Epoch(epoch) },
        sites: [(site("east"), state(vms, claims)), (site("west"), state(Vec::new(), Vec::new()))].into(),
        points: vec![point],
    };
    let spec = GroupSpec {
        namespaces: vec![Namespace::parse("shop").unwrap()],
        match_labels: BTreeMap::new(),
        home: if kind == RunKind::Failback { site("west") } else { site("east") },
        priorities: BTreeMap::new(),
        confirm: Confirm::Ready,
    };
    let request = Request { kind, target: site("west"), at, accepted: None };
    planner::plan(&request, &spec, &mapping, &observed).unwrap()
}

/// The witness's record that a run writes.
pub(crate) fn witness(epoch: u64, active: &str, run: &str) -> WitnessRecord {
    WitnessRecord {
        epoch: Epoch(epoch),
        active: site(active),
        run: RunId::parse(run).unwrap(),
        kind: RunKind::Migrate,
        point: PointId::parse("rp-1").unwrap(),
        at: jiff::Timestamp::UNIX_EPOCH,
        by: "host/1".to_owned(),
    }
}

/// What happens at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, nothing has been done.
    FailBefore,
    /// It is done, and the answer is an error.
    FailAfter,
    /// The process dies, nothing has been done.
    DieBefore,
    /// It is done, and the process dies.
    DieAfter,
    /// It is done, the answer is lost, and the client does it again.
    Again,
}

pub(crate) const FAULTS: [Fault; 5] =
    [Fault::FailBefore, Fault::FailAfter, Fault::DieBefore, Fault::DieAfter, Fault::Again];

/// Strikes at one instant of one attempt.
#[derive(Debug)]
pub(crate) struct Storm {
    strikes: Option<(usize, Fault)>,
    passed: AtomicUsize,
    dead: Notify,
    /// Lets another task run this many times before each instant, by turns.
    yields: Vec<usize>,
}

impl Storm {
    pub(crate) fn at(instant: usize, fault: Fault) -> Arc<Self> {
        Self::build(Some((instant, fault)), Vec::new())
    }

    pub(crate) fn calm() -> Arc<Self> {
        Self::build(None, Vec::new())
    }

    pub(crate) fn yielding(yields: Vec<usize>) -> Arc<Self> {
        Self::build(None, yields)
    }

    fn build(strikes: Option<(usize, Fault)>, yields: Vec<usize>) -> Arc<Self> {
        Arc::new(Self { strikes, passed: AtomicUsize::new(0), dead: Notify::new(), yields })
    }

    /// Whether the instant came.
    pub(crate) fn struck(&self) -> bool {
        self.strikes.is_some_and(|(instant, _)| self.passed.load(Ordering::SeqCst) > instant)
    }

    async fn enter(&self) -> Option<Fault> {
        let number = self.passed.fetch_add(1, Ordering::SeqCst);
        for _ in 0..self.yields.get(number % self.yields.len().max(1)).copied().unwrap_or(0) {
            tokio::task::yield_now().await;
        }
        let fault = self.strikes.filter(|(instant, _)| *instant == number).map(|(_, fault)| fault);
        if fault == Some(Fault::DieBefore) {
            self.die().await;
        }
        fault
    }

    async fn leave(&self, fault: Option<Fault>) {
        if fault == Some(Fault::DieAfter) {
            self.die().await;
        }
    }

    /// Never returns: whoever waits for [`Storm::survive`] drops the future.
    async fn die(&self) {
        self.dead.notify_one();
        std::future::pending::<()>().await;
    }

    /// What the future gives; `None` if the process died.
    pub(crate) async fn survive<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = future => Some(answer),
            () = self.dead.notified() => None,
        }
    }
}

/// A store in a storm.
#[derive(Debug)]
pub(crate) struct Stormy {
    pub(crate) inner: Arc<InMemory>,
    pub(crate) storm: Arc<Storm>,
    /// Ignores `If-None-Match`, as some stores do.
    pub(crate) unconditional: bool,
}

fn torn() -> Error {
    Error::Generic { store: "test", source: "torn".into() }
}

macro_rules! stormy {
    ($self:ident, $what:expr) => {{
        let fault = $self.storm.enter().await;
        if fault == Some(Fault::FailBefore) {
            return Err(torn());
        }
        let mut answer = $what.await;
        if fault == Some(Fault::Again) {
            answer = $what.await;
        }
        $self.storm.leave(fault).await;
        if fault == Some(Fault::FailAfter) {
            return Err(torn());
        }
        answer
    }};
}

impl fmt::Display for Stormy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stormy")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Stormy {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let options = if self.unconditional { PutOptions::default() } else { options };
        stormy!(self, self.inner.put_opts(path, payload.clone(), options.clone()))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(torn())
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        stormy!(self, self.inner.get_opts(path, options.clone()))
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(torn()) }).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        // No store promises an order.
        let listed: Result<ListResult> = stormy!(self, self.inner.list_with_delimiter(prefix));
        listed.map(|mut listed| {
            listed.objects.reverse();
            listed.common_prefixes.reverse();
            listed
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(torn())
    }
}

/// An effect, by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) by: String,
    pub(crate) step: Step,
    /// Whether it had been done before.
    pub(crate) again: bool,
}

/// The two sites, as far as steps change them, and the bucket. Outlives every process.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) bucket: Arc<InMemory>,
    pub(crate) effects: Mutex<Vec<Effect>>,
}

impl World {
    /// The records without weather.
    pub(crate) fn state(&self) -> State {
        State::new(self.bucket.clone(), PREFIX)
    }

    pub(crate) fn stormy(&self, storm: &Arc<Storm>) -> State {
        State::new(Arc::new(Stormy { inner: self.bucket.clone(), storm: storm.clone(), unconditional: false }), PREFIX)
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.effects.lock().unwrap().clone()
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.effects().into_iter().filter(|effect| !effect.again).map(|effect| effect.step).collect()
    }

    fn done(&self, step: Step) -> bool {
        self.effects.lock().unwrap().iter().any(|effect| effect.step == step)
    }

    /// Every object in the bucket.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let mut paths: Vec<String> =
            self.bucket.list(None).map(|object| object.unwrap().location.to_string()).collect().await;
        paths.sort();
        paths
    }
}

/// Does steps in the world, and watches that nobody breaks a law while doing so.
pub(crate) struct Hands<'a> {
    pub(crate) world: &'a World,
    pub(crate) state: State,
    pub(crate) storm: Arc<Storm>,
    pub(crate) by: String,
    /// Whether it sees what is done already; if not, everything is done again.
    pub(crate) sees: bool,
    /// The steps that fail for good.
    pub(crate) broken: Option<Step>,
    /// After this step another run takes the epoch.
    pub(crate) superseded_after: Option<Step>,
}

fn broken() -> StepError {
    StepError::Changed("broken".to_owned())
}

impl Hands<'_> {
    pub(crate) fn output(step: Step) -> Value {
        json!({"of": step})
    }

    async fn effect(&self, plan: &Plan, step: Step) -> std::result::Result<(), StepError> {
        if step == Step::TakeEpoch {
            let active = if plan.kind.moves() { &plan.target } else { &plan.source };
            let record = WitnessRecord {
                run: plan.run.clone(),
                active: active.clone(),
                by: self.by.clone(),
                at: clock(),
                ..witness(plan.epoch.0, "east", "x")
            };
            self.state.claim_epoch(&plan.group, &record).await?;
        }
        let again = self.world.done(step);
        self.world.effects.lock().unwrap().push(Effect { by: self.by.clone(), step, again });
        Ok(())
    }
}

#[async_trait::async_trait]
impl Performer for Hands<'_> {
    async fn observe(&self, _: &Plan, step: Step, _: &Outputs<'_>) -> std::result::Result<Option<Value>, StepError> {
        let fault = self.storm.enter().await;
        if matches!(fault, Some(Fault::FailBefore | Fault::FailAfter)) {
            return Err(broken());
        }
        let seen = (self.sees && self.world.done(step)).then(|| Self::output(step));
        self.storm.leave(fault).await;
        Ok(seen)
    }

    async fn perform(&self, plan: &Plan, step: Step, outputs: &Outputs<'_>) -> std::result::Result<Value, StepError> {
        for earlier in plan.steps.iter().take_while(|&&earlier| earlier != step) {
            assert!(self.world.done(*earlier), "{step} is done before {earlier}");
            assert_eq!(outputs.of::<Value>(*earlier).unwrap(), Self::output(*earlier), "{step} sees what was done");
        }
        assert!(outputs.of::<Value>(step).is_err(), "a step has no output before it is done");
        if step.needs_epoch() {
            let holder = self.world.state().witness(&plan.group).await.unwrap().unwrap();
            assert_eq!(holder.epoch, plan.epoch, "{step} without the epoch");
        }
        let fault = self.storm.enter().await;
        if fault == Some(Fault::FailBefore) || self.broken == Some(step) {
            return Err(broken());
        }
        self.effect(plan, step).await?;
        if fault == Some(Fault::Again) {
            self.effect(plan, step).await?;
        }
        self.storm.leave(fault).await;
        if fault == Some(Fault::FailAfter) {
            return Err(broken());
        }
        if self.superseded_after == Some(step) {
            let next = witness(plan.epoch.0 + 1, "east", "another-run");
            self.world.state().claim_epoch(&plan.group, &next).await.unwrap();
        }
        Ok(Self::output(step))
    }
}

impl Hands<'_> {
    /// Carries `run` out.
    pub(crate) async fn carry_out(&self, run: &mut RunRecord) -> std::result::Result<(), crate::error::EngineError> {
        let identity = Identity { host: "host".to_owned(), by: self.by.clone() };
        Executor { state: &self.state, performer: self, listener: &Deaf, identity, clock }.carry_out(run).await
    }
}
