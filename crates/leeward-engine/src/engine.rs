//! The engine: looks, plans, and carries out, one run of a group at a time.

use crate::{
    error::EngineError,
    executor::{Clock, Executor, Identity},
    lock::GroupLock,
    observe,
    perform::SitesPerformer,
    progress::{Listener, Told},
    publication::Publication,
    roles::{self, PutRight},
    rollback,
    site::Site,
    state::{RunRecord, State},
};
use futures::future::join_all;
use leeward_model::{
    group::GroupSpec,
    journal::{Entry, Event, Outcome},
    mapping::Mapping,
    name::{GroupName, SiteName},
    plan::{
        Plan,
        observed::{Observed, Request},
        planner::{self, Passing},
    },
    resume::{self, Unfinished},
    run::Step,
};
use leeward_storage::StorageAdapter;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Velero looks at its bucket once a minute, at ticks of ten seconds (`bsl_controller.go`).
const VELERO_LOOKS: Duration = Duration::from_secs(80);

/// How often a plan that may only be forbidden for a moment is made again, and the time between two looks.
const MORE_LOOKS: u32 = 2;
const LOOKS_APART: Duration = Duration::from_secs(2);

/// Everything a command works with.
pub struct Engine {
    /// Both sites.
    pub sites: BTreeMap<SiteName, Site>,
    /// Their storage.
    pub storage: Arc<dyn StorageAdapter>,
    /// Leeward's records.
    pub state: State,
    /// The mapping.
    pub mapping: Mapping,
    /// The mapping as written, with its tables, for the plug-ins.
    pub publication: Publication,
    /// Tells installations apart that share a machine.
    pub scope: String,
    /// Host name.
    pub host: String,
    /// What time it is.
    pub clock: Clock,
}

/// What became of a command.
#[derive(Debug)]
pub struct Carried {
    /// The run.
    pub run: RunRecord,
    /// Whether it had been begun by an earlier command.
    pub resumed: bool,
    /// Sites that had to be put right first.
    pub put_right: Vec<PutRight>,
}

/// Asked with a fixed plan before it is carried out; `false` stops without any effect.
pub type Approve<'a> = &'a (dyn Fn(&Plan) -> bool + Send + Sync);

impl Engine {
    /// Looks at everything a plan is made from. Changes nothing.
    ///
    /// # Errors
    /// Something answers and then fails.
    pub async fn observe(&self, name: &GroupName, group: &GroupSpec) -> Result<Observed, EngineError> {
        observe::observe((name, group), &self.sites, (self.storage.as_ref(), &self.mapping), &self.state).await
    }

    /// The plan of a run, without carrying it out. Changes nothing.
    ///
    /// # Errors
    /// Everything that forbids it.
    pub async fn plan(&self, name: &GroupName, group: &GroupSpec, request: &Request) -> Result<Plan, EngineError> {
        let mut observed = self.observe(name, group).await?;
        if let Some(source) = self.half_moved(name).await? {
            observed.active.site = source;
        }
        Ok(planner::plan(request, group, &self.mapping, &observed)?)
    }

    /// Plans. Where nothing forbids it but what may pass by itself, looks again: a busy site may need longer to answer than a lost
    /// one is given, and a site that has just come back has a Velero that still says what it saw while it was cut off.
    async fn plan_with_another_look(
        &self,
        name: &GroupName,
        group: &GroupSpec,
        request: &Request,
        listener: &dyn Listener,
    ) -> Result<Plan, EngineError> {
        for _ in 0..MORE_LOOKS {
            let planned = self.plan(name, group, request).await;
            let Err(EngineError::Plan(error)) = &planned else { return planned };
            let Some(passing) = error.passing() else { return planned };
            listener.hear(Told::Note(&format!("looking again: {error}")));
            // Whatever is still wrong is for the last plan to say.
            if join_all(passing.into_iter().map(|problem| self.let_pass(problem))).await.contains(&false) {
                break;
            }
        }
        self.plan(name, group, request).await
    }

    /// Waits until it may have passed; false if it was seen that it has not.
    async fn let_pass(&self, problem: Passing<'_>) -> bool {
        match problem {
            Passing::Silence(_) => {
                tokio::time::sleep(LOOKS_APART).await;
                true
            }
            Passing::VelerosWord(site) => match self.sites.get(site) {
                Some(site) => site.velero.await_available(VELERO_LOOKS, &|_| {}).await.is_ok(),
                None => false,
            },
        }
    }

    /// The site with the newest data, if a move that was never finished has taken the epoch from it.
    ///
    /// Looks back over the runs that were given up since: the first completed one has settled who is active.
    async fn half_moved(&self, name: &GroupName) -> Result<Option<SiteName>, EngineError> {
        let Some(witness) = self.state.witness(name).await? else { return Ok(None) };
        let mut newest = self.state.newest_run(name).await?;
        while let Some(run) = newest {
            if run.plan.run == witness.run {
                return Ok(resume::half_moved(&witness, &run.plan, &run.state).cloned());
            }
            if run.state.outcome == Some(Outcome::Completed) {
                return Ok(None);
            }
            newest = self.state.run_before(name, &run).await?;
        }
        Ok(None)
    }

    /// Carries out what is asked for: goes on with an unfinished run of the same kind, or plans and begins a new one.
    /// `None` if the plan was not approved.
    ///
    /// # Errors
    /// What forbids it, or the step that failed; a repeat goes on there.
    pub async fn carry_out(
        &self,
        (name, group): (&GroupName, &GroupSpec),
        request: &Request,
        take_over: bool,
        approve: Approve<'_>,
        listener: &dyn Listener,
    ) -> Result<Option<Carried>, EngineError> {
        let _lock = GroupLock::take(name, &self.scope)?;
        self.state.probe().await?;
        let put_right =
            roles::enforce((name, group), &self.sites, self.storage.as_ref(), &self.state, listener).await?;
        let unfinished = self.state.newest_run(name).await?.filter(|run| run.state.outcome.is_none());
        let (mut run, resumed) = match unfinished {
            Some(run) if self.goes_on(&run, request, take_over)? => {
                listener.hear(Told::Note(&format!("run {} was not finished: going on with it", run.plan.run)));
                (run, true)
            }
            given_up => {
                let plan = self.plan_with_another_look(name, group, request, listener).await?;
                if !approve(&plan) {
                    return Ok(None);
                }
                if let Some(mut run) = given_up {
                    listener.hear(Told::Note(&format!("run {} was not finished: it is given up", run.plan.run)));
                    self.abandon(&mut run).await?;
                }
                (self.state.open_run(&plan).await?, false)
            }
        };
        let performer = SitesPerformer {
            sites: &self.sites,
            storage: self.storage.as_ref(),
            state: &self.state,
            mapping: (&self.mapping, &self.publication),
            group,
            listener,
            clock: self.clock,
            by: self.by(),
        };
        let executor = Executor {
            state: &self.state,
            performer: &performer,
            listener,
            identity: Identity { host: self.host.clone(), by: self.by() },
            clock: self.clock,
        };
        executor.carry_out(&mut run).await?;
        Ok(Some(Carried { run, resumed, put_right }))
    }

    /// Takes an unfinished run back: the source becomes active again, with its data, which is the newest as long as no VM
    /// was started at the target. Every part may be repeated after an interruption.
    ///
    /// # Errors
    /// [`EngineError::NothingToRollBack`], [`EngineError::TooLate`], or what kept a part from being done.
    pub async fn roll_back(
        &self,
        (name, group): (&GroupName, &GroupSpec),
        take_over: bool,
        listener: &dyn Listener,
    ) -> Result<RunRecord, EngineError> {
        let _lock = GroupLock::take(name, &self.scope)?;
        self.state.probe().await?;
        let unfinished = self.state.newest_run(name).await?.filter(|run| run.state.outcome.is_none());
        let mut run = unfinished.ok_or_else(|| EngineError::NothingToRollBack { group: name.clone() })?;
        self.check_host(&run, take_over)?;
        if resume::may_have_started(&run.state) {
            return Err(EngineError::TooLate { run: run.plan.run.clone(), target: run.plan.target.clone() });
        }
        if run.plan.kind.moves() && run.state.has_begun(Step::TakeEpoch) {
            rollback::undo(self, group, &run, listener).await?;
        }
        self.abandon(&mut run).await?;
        Ok(run)
    }

    async fn abandon(&self, run: &mut RunRecord) -> Result<(), EngineError> {
        let event = Event::Finished { outcome: Outcome::Abandoned };
        let entry = Entry { seq: run.state.last + 1, at: (self.clock)(), by: self.by(), event };
        Ok(self.state.record(run, entry).await?)
    }

    /// Host and process, for the records.
    #[must_use]
    pub fn by(&self) -> String {
        format!("{}/{}", self.host, std::process::id())
    }

    fn goes_on(&self, run: &RunRecord, request: &Request, take_over: bool) -> Result<bool, EngineError> {
        let plan = &run.plan;
        match resume::unfinished(plan, &run.state, request) {
            Unfinished::InTheWay => {
                Err(EngineError::OtherRun { run: plan.run.clone(), kind: plan.kind, target: plan.target.clone() })
            }
            Unfinished::GoOn => self.check_host(run, take_over).map(|()| true),
            Unfinished::GiveUp => self.check_host(run, take_over).map(|()| false),
        }
    }

    fn check_host(&self, run: &RunRecord, take_over: bool) -> Result<(), EngineError> {
        match &run.state.host {
            Some(host) if *host != self.host && !take_over => {
                Err(EngineError::OtherHost { run: run.plan.run.clone(), host: host.clone() })
            }
            _ => Ok(()),
        }
    }
}
