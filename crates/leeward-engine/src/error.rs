//! What can go wrong while a run is planned or carried out.

use leeward_model::{
    journal::JournalError,
    name::{Epoch, GroupName, RunId, SiteName},
    plan::planner::PlanError,
    run::{RunKind, Step},
};
use leeward_storage::StorageError;
use leeward_velero::VeleroError;

/// While reading or writing Leeward's records.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store did not do it.
    #[error(
        "the object store did not serve {path}: check that its endpoint answers and that the credentials may read and write there [LW-0401]"
    )]
    Store {
        /// The object.
        path: String,
        /// Why.
        source: object_store::Error,
    },
    /// An object is not what should be there.
    #[error("{path} in the object store is not a record of this version of leeward [LW-0402]")]
    Form {
        /// The object.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A folder's name is not a number.
    #[error("the object store holds a run named {name:?}, which leeward did not write: remove it [LW-0403]")]
    ForeignName {
        /// The name.
        name: String,
    },
    /// Two executors could both believe that they are the only one.
    #[error(
        "the object store ignores `If-None-Match: *`: it let one object be created twice, so it cannot say which site is active; use a store with conditional writes [LW-0404]"
    )]
    Unconditional,
    /// Another run has the epoch.
    #[error(
        "epoch {epoch} was taken by run {run} for site {active}: look at `leeward status` and plan again [LW-0405]"
    )]
    EpochTaken {
        /// The epoch.
        epoch: Epoch,
        /// The other run.
        run: RunId,
        /// The site it made active.
        active: SiteName,
    },
    /// The plan of a run was changed after it had been fixed.
    #[error(
        "{path} in the object store is not the plan that run {run} was begun with: somebody has changed it; find out who can write to the bucket, then remove the folder of that run and plan anew [LW-0409]"
    )]
    PlanChanged {
        /// The run.
        run: RunId,
        /// The object.
        path: String,
    },
    /// The epoch is over.
    #[error("{site} does not hold epoch {epoch} any more ({}): this run is over and must not change anything; look at `leeward status` [LW-0406]", now_text(now.as_ref()))]
    Superseded {
        /// The run's epoch.
        epoch: Epoch,
        /// The site that should be active in it.
        site: SiteName,
        /// What the witness says.
        now: Option<(Epoch, SiteName)>,
    },
    /// One run at a time.
    #[error(
        "run {run} ({kind}) of this group is not finished: repeat `leeward {kind}` to finish it, then try again [LW-0407]"
    )]
    RunOpen {
        /// The other run.
        run: RunId,
        /// Its kind.
        kind: RunKind,
    },
    /// Another executor was faster.
    #[error("another executor ({by}) carries out run {run}: this one stops before its next effect [LW-0408]")]
    Overtaken {
        /// The run.
        run: RunId,
        /// The other.
        by: String,
    },
    /// The journal is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn now_text(now: Option<&(Epoch, SiteName)>) -> String {
    match now {
        Some((epoch, site)) => format!("now {site} is active in epoch {epoch}"),
        None => "there is no epoch yet".to_owned(),
    }
}

/// While something is done at a site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The cluster did not do it.
    #[error("{site}: could not {doing} [LW-0420]")]
    Kube {
        /// The site.
        site: SiteName,
        /// What was being done.
        doing: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It did not happen in time.
    #[error("{site}: {waiting} did not come within {seconds} s{} [LW-0421]", if detail.is_empty() { String::new() } else { format!(" ({detail})") })]
    Deadline {
        /// The site.
        site: SiteName,
        /// What was waited for.
        waiting: String,
        /// For how long.
        seconds: u64,
        /// What was seen last.
        detail: String,
    },
    /// An object is not as it must be.
    #[error("{site}: {object} {problem} [LW-0422]")]
    Wrong {
        /// The site.
        site: SiteName,
        /// The object.
        object: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// While a step is carried out.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// At a site.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// With Velero.
    #[error(transparent)]
    Velero(#[from] VeleroError),
    /// With the storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// With Leeward's records.
    #[error(transparent)]
    State(#[from] StateError),
    /// An earlier step's output is not in the journal.
    #[error(
        "the journal has no usable output of step {0}, which a later step needs: the run's record is damaged [LW-0430]"
    )]
    MissingOutput(Step),
    /// The plan's volume is not where it was.
    #[error("{0} [LW-0431]")]
    Changed(String),
}

/// While a run is prepared or carried out.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step failed; a repeat goes on from there.
    #[error("step {step} of run {run} failed; repeat the command to go on from there")]
    Step {
        /// The run.
        run: RunId,
        /// The step.
        step: Step,
        /// Why.
        source: Box<StepError>,
    },
    /// With Leeward's records.
    #[error(transparent)]
    State(#[from] StateError),
    /// At a site.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// With the storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An executor of this group is at work on this machine.
    #[error("another leeward is at work on group {group} on this machine (process {pid}): wait for it [LW-0440]")]
    Locked {
        /// The group.
        group: GroupName,
        /// Its process.
        pid: String,
    },
    /// The lock file cannot be used.
    #[error("the lock file {path} cannot be used [LW-0441]")]
    LockFile {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The unfinished run belongs to an executor elsewhere.
    #[error(
        "run {run} was last carried out on host {host}: make sure that no leeward works there, then repeat with --take-over [LW-0442]"
    )]
    OtherHost {
        /// The run.
        run: RunId,
        /// The host.
        host: String,
    },
    /// There is no unfinished run.
    #[error(
        "group {group} has no unfinished run, so there is nothing to roll back: `leeward status` shows where it is [LW-0444]"
    )]
    NothingToRollBack {
        /// The group.
        group: GroupName,
    },
    /// VMs were started at the target.
    #[error(
        "run {run} may have started VMs at {target}, whose data is the newest since: it can only go forward; repeat its command to finish it, then move back [LW-0445]"
    )]
    TooLate {
        /// The run.
        run: RunId,
        /// The target.
        target: SiteName,
    },
    /// The unfinished run goes elsewhere.
    #[error(
        "run {run} ({kind} to {target}) is not finished: repeat `leeward {kind}` to finish it, or take it back with `leeward rollback`, then try again [LW-0443]"
    )]
    OtherRun {
        /// The run.
        run: RunId,
        /// Its kind.
        kind: RunKind,
        /// Its target.
        target: SiteName,
    },
}
