//! Leeward's own records in the shared bucket, under their own prefix (a foreign folder under Velero's prefix makes its
//! location unavailable).
//!
//! ```text
//! <prefix>/groups/<group>/epochs/<epoch>.json          witness: who is active since that epoch
//!                         runs/<n>/plan.json           a run, numbered; created only if the number is free
//!                         runs/<n>/journal/<seq>.json  its entries, likewise
//!                         points/<site>/<point>.json   recovery points: what data, which backup, which VMs
//! ```
//!
//! Everything that decides something is made by conditional create (`If-None-Match: *`) and never changed, so no store
//! needs more than that; [`State::probe`] finds a store that ignores the condition.

use crate::error::StateError;
use leeward_model::{
    journal::{Entry, RunState, WitnessRecord},
    name::{Epoch, GroupName, PointId, SiteName},
    plan::{
        Plan,
        observed::{ClaimObserved, VmObserved},
    },
};
use leeward_storage::PointManifest;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A recovery point as a whole: its data and the objects that go with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointRecord {
    /// The data.
    pub manifest: PointManifest,
    /// The Velero backup with the objects.
    pub backup: String,
    /// The VMs in it.
    pub vms: Vec<VmObserved>,
    /// Their claims, with the PVs as the source site had them.
    pub claims: Vec<ClaimObserved>,
    /// When it was complete.
    pub at: jiff::Timestamp,
}

/// A plan in the store, with what it was when it was fixed.
#[derive(Debug, Serialize, Deserialize)]
struct FixedPlan {
    /// [`Plan::fingerprint`].
    sha256: String,
    plan: Plan,
}

/// A run in the store.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// Its number.
    pub number: u64,
    /// Its plan.
    pub plan: Plan,
    /// How far it is.
    pub state: RunState,
}

/// Leeward's records.
#[derive(Clone)]
pub struct State {
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl State {
    /// Records under `prefix` in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: prefix.trim_matches('/').to_owned() }
    }

    fn path(&self, group: &GroupName, rest: &str) -> Path {
        Path::from(format!("{}/groups/{group}/{rest}", self.prefix))
    }

    /// Makes sure that the store keeps its promise: the second conditional create of one object must fail.
    ///
    /// # Errors
    /// [`StateError::Unconditional`] if it does not; [`StateError::Store`] if the store cannot be used at all.
    pub async fn probe(&self) -> Result<(), StateError> {
        let path = Path::from(format!("{}/probe/conditional-create.json", self.prefix));
        // The first create may find the probe of an earlier time; the second must find it.
        self.create(&path, &"conditional create").await?;
        if self.create(&path, &"conditional create").await? { Err(StateError::Unconditional) } else { Ok(()) }
    }

    /// Creates an object; `false` if it is there already.
    async fn create(&self, path: &Path, value: &impl Serialize) -> Result<bool, StateError> {
        let body =
            serde_json::to_vec_pretty(value).map_err(|source| StateError::Form { path: path.to_string(), source })?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(path, PutPayload::from(body), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(StateError::Store { path: path.to_string(), source }),
        }
    }

    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, StateError> {
        let failed = |source| StateError::Store { path: path.to_string(), source };
        let body = self.store.get(path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        serde_json::from_slice(&body).map_err(|source| StateError::Form { path: path.to_string(), source })
    }

    /// The names under a folder, sorted, without `.json`.
    async fn names(&self, folder: &Path) -> Result<Vec<String>, StateError> {
        let listed = self
            .store
            .list_with_delimiter(Some(folder))
            .await
            .map_err(|source| StateError::Store { path: folder.to_string(), source })?;
        let files = listed.objects.iter().filter_map(|object| object.location.filename());
        let folders = listed.common_prefixes.iter().filter_map(Path::filename);
        let mut names: Vec<String> =
            files.chain(folders).map(|name| name.trim_end_matches(".json").to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The newest witness record; `None` before the group's first epoch.
    ///
    /// # Errors
    /// [`StateError`] if the store does not answer or holds something else.
    pub async fn witness(&self, group: &GroupName) -> Result<Option<WitnessRecord>, StateError> {
        match self.names(&self.path(group, "epochs")).await?.last() {
            None => Ok(None),
            Some(name) => self.read(&self.path(group, &format!("epochs/{name}.json"))).await.map(Some),
        }
    }

    /// Claims an epoch. Claiming again what the same run has claimed succeeds.
    ///
    /// # Errors
    /// [`StateError::EpochTaken`] if another run has it.
    pub async fn claim_epoch(&self, group: &GroupName, record: &WitnessRecord) -> Result<(), StateError> {
        let path = self.path(group, &format!("epochs/{:010}.json", record.epoch.0));
        if self.create(&path, record).await? {
            return Ok(());
        }
        let there: WitnessRecord = self.read(&path).await?;
        if there.run == record.run && there.active == record.active {
            Ok(())
        } else {
            Err(StateError::EpochTaken { epoch: record.epoch, run: there.run, active: there.active })
        }
    }

    /// Makes sure that `epoch` is still the newest and that `site` is active in it (N1).
    ///
    /// # Errors
    /// [`StateError::Superseded`] if not.
    pub async fn hold(&self, group: &GroupName, epoch: Epoch, site: &SiteName) -> Result<(), StateError> {
        match self.witness(group).await? {
            Some(record) if record.epoch == epoch && record.active == *site => Ok(()),
            other => Err(StateError::Superseded {
                epoch,
                site: site.clone(),
                now: other.map(|record| (record.epoch, record.active)),
            }),
        }
    }

    /// The newest run of the group, if there was any.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    pub async fn newest_run(&self, group: &GroupName) -> Result<Option<RunRecord>, StateError> {
        match self.names(&self.path(group, "runs")).await?.last() {
            None => Ok(None),
            Some(name) => {
                let number = name.parse().map_err(|_| StateError::ForeignName { name: name.clone() })?;
                self.run(group, number).await.map(Some)
            }
        }
    }

    /// The run before `run`, if there is one.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    pub async fn run_before(&self, group: &GroupName, run: &RunRecord) -> Result<Option<RunRecord>, StateError> {
        match run.number.checked_sub(1) {
            None | Some(0) => Ok(None),
            Some(number) => self.run(group, number).await.map(Some),
        }
    }

    async fn run(&self, group: &GroupName, number: u64) -> Result<RunRecord, StateError> {
        let path = self.path(group, &format!("runs/{number:06}/plan.json"));
        let FixedPlan { sha256, plan } = self.read(&path).await?;
        if plan.fingerprint() != sha256 {
            return Err(StateError::PlanChanged { run: plan.run, path: path.to_string() });
        }
        let journal = self.path(group, &format!("runs/{number:06}/journal"));
        let mut entries: Vec<Entry> = Vec::new();
        for name in self.names(&journal).await? {
            entries.push(self.read(&self.path(group, &format!("runs/{number:06}/journal/{name}.json"))).await?);
        }
        let state = RunState::replay(&plan, &entries)?;
        Ok(RunRecord { number, plan, state })
    }

    /// Opens a run with a fixed plan, after the newest one.
    ///
    /// # Errors
    /// [`StateError::RunOpen`] if another run was opened meanwhile or is not finished.
    pub async fn open_run(&self, plan: &Plan) -> Result<RunRecord, StateError> {
        let newest = self.newest_run(&plan.group).await?;
        let number = match newest {
            None => 1,
            Some(run) if run.state.outcome.is_some() => run.number + 1,
            Some(run) => return Err(StateError::RunOpen { run: run.plan.run.clone(), kind: run.plan.kind }),
        };
        let path = self.path(&plan.group, &format!("runs/{number:06}/plan.json"));
        let fixed = FixedPlan { sha256: plan.fingerprint(), plan: plan.clone() };
        if self.create(&path, &fixed).await? {
            Ok(RunRecord { number, plan: fixed.plan, state: RunState::new(plan) })
        } else {
            let FixedPlan { plan: other, .. } = self.read(&path).await?;
            Err(StateError::RunOpen { run: other.run, kind: other.kind })
        }
    }

    /// Adds an entry to a run's journal.
    ///
    /// # Errors
    /// [`StateError::Overtaken`] if its number is taken: another executor carries the run out.
    pub async fn record(&self, run: &mut RunRecord, entry: Entry) -> Result<(), StateError> {
        // What does not follow must not be stored: it could never be read again.
        let mut next = run.state.clone();
        next.apply(&entry)?;
        let path = self.path(&run.plan.group, &format!("runs/{:06}/journal/{:06}.json", run.number, entry.seq));
        if !self.create(&path, &entry).await? {
            let other: Entry = self.read(&path).await?;
            // The store may have kept the entry and lost the answer; the client then repeats the request.
            if other != entry {
                return Err(StateError::Overtaken { run: run.plan.run.clone(), by: other.by });
            }
        }
        run.state = next;
        Ok(())
    }

    /// Writes a recovery point's record; writing the same point again changes nothing.
    ///
    /// # Errors
    /// [`StateError`] if the store does not take it.
    pub async fn write_point(&self, record: &PointRecord) -> Result<(), StateError> {
        let manifest = &record.manifest;
        let path = self.path(&manifest.group, &format!("points/{}/{}.json", manifest.to, manifest.point));
        self.create(&path, record).await.map(|_| ())
    }

    /// The recovery points recorded for a site, oldest data first.
    ///
    /// # Errors
    /// [`StateError`] if they cannot be read.
    pub async fn points(&self, group: &GroupName, site: &SiteName) -> Result<Vec<PointRecord>, StateError> {
        let mut points: Vec<PointRecord> = Vec::new();
        for name in self.names(&self.path(group, &format!("points/{site}"))).await? {
            points.push(self.read(&self.path(group, &format!("points/{site}/{name}.json"))).await?);
        }
        points.sort_by(|a, b| a.manifest.age_key().cmp(&b.manifest.age_key()));
        Ok(points)
    }

    /// Forgets a recovery point whose data was withdrawn.
    ///
    /// # Errors
    /// [`StateError`] if the store refuses.
    pub async fn forget_point(&self, group: &GroupName, site: &SiteName, point: &PointId) -> Result<(), StateError> {
        let path = self.path(group, &format!("points/{site}/{point}.json"));
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(StateError::Store { path: path.to_string(), source }),
        }
    }
}

#[cfg(test)]
mod tests;
