//! Does the steps of a plan: on the two sites, their storage and their Velero. One function a step; what the steps act
//! on stands in the plan, what they need of each other comes from the journal.

mod cycle;
mod landing;
mod moves;

use crate::{
    error::StepError,
    executor::{Clock, Outputs, Performer},
    progress::{Listener, Told},
    publication::Publication,
    site::{CONFIG_MAP, Site},
    state::{PointRecord, State},
};
use leeward_model::{
    group::GroupSpec,
    journal::WitnessRecord,
    mapping::Mapping,
    name::SiteName,
    plan::{
        Plan,
        observed::{ClaimObserved, ObjectRef, VmObserved},
    },
    run::{RunKind, Step},
};
use leeward_storage::{PointManifest, StorageAdapter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Time for a backup. Velero's own limit for one item's operations is four hours; a metadata backup of a group takes seconds.
const BACKUP: Duration = Duration::from_secs(1800);
/// Time for a restore: 10 to 20 objects a second, and Velero restores one after another.
const RESTORE: Duration = Duration::from_secs(3600);
/// Time for the standby's Velero to see a backup.
const SYNC: Duration = Duration::from_secs(180);

/// Does steps.
pub struct SitesPerformer<'a> {
    /// Both sites.
    pub sites: &'a BTreeMap<SiteName, Site>,
    /// Their storage.
    pub storage: &'a dyn StorageAdapter,
    /// Leeward's records.
    pub state: &'a State,
    /// The mapping, and as the plug-ins read it.
    pub mapping: (&'a Mapping, &'a Publication),
    /// The group.
    pub group: &'a GroupSpec,
    /// Who hears of it.
    pub listener: &'a dyn Listener,
    /// What time it is.
    pub clock: Clock,
    /// Host and process, for the witness.
    pub by: String,
}

/// A backup that was made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackupMade {
    pub(crate) backup: String,
}

#[async_trait::async_trait]
impl Performer for SitesPerformer<'_> {
    async fn observe(&self, plan: &Plan, step: Step, _: &Outputs<'_>) -> Result<Option<Value>, StepError> {
        match step {
            Step::TakeEpoch => {
                let record = self.state.witness(&plan.group).await?;
                Ok(record.filter(|record| record.epoch == plan.epoch && record.run == plan.run).map(|_| Value::Null))
            }
            // The point is there whole or not at all, and its name is this run's own.
            Step::Replicate => {
                let held = self.storage.points(&plan.target, &plan.group).await?;
                held.iter().find(|manifest| manifest.point == plan.point).map(cycle::output).transpose()
            }
            // It is done only when the point is recorded, too; making it again then reads nothing at the source.
            Step::FinalSync => {
                let recorded = self.state.points(&plan.group, &plan.target).await?;
                let made = recorded.iter().find(|record| record.manifest.point == plan.point);
                made.map(|record| cycle::output(&record.manifest)).transpose()
            }
            // Each of these finds out for itself what is done already and does only the rest.
            Step::PublishMapping
            | Step::TakeSnapshots
            | Step::BackUpPoint
            | Step::Stage
            | Step::VerifyStaged
            | Step::Prune
            | Step::StopVms
            | Step::FenceSource
            | Step::BackUpFinal
            | Step::VerifyPoint
            | Step::Present
            | Step::Restore
            | Step::StartVms
            | Step::Confirm
            | Step::Commit
            | Step::Reprotect => Ok(None),
        }
    }

    async fn perform(&self, plan: &Plan, step: Step, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        match step {
            Step::PublishMapping => self.publish_mapping(plan).await,
            Step::TakeSnapshots => self.take_snapshots(plan).await,
            Step::BackUpPoint => self.back_up(plan, true).await,
            Step::BackUpFinal => self.back_up(plan, false).await,
            Step::Replicate => self.replicate(plan, outputs).await,
            Step::Stage => self.stage(plan, &outputs.of::<BackupMade>(Step::BackUpPoint)?.backup).await,
            Step::VerifyStaged => self.verify_staged(plan, outputs).await,
            Step::Prune => self.prune(plan).await,
            Step::TakeEpoch => self.take_epoch(plan).await,
            Step::StopVms => self.stop_vms(plan).await,
            Step::FenceSource => self.fence_source(plan).await,
            Step::FinalSync => self.final_sync(plan, outputs).await,
            Step::VerifyPoint => self.verify_point(plan).await,
            Step::Present => self.present(plan, outputs).await,
            Step::Restore => self.restore(plan, outputs).await,
            Step::StartVms => self.start_vms(plan).await,
            Step::Confirm => self.confirm(plan).await,
            Step::Commit => self.commit(plan, outputs).await,
            Step::Reprotect => self.reprotect(plan, outputs).await,
        }
    }
}

impl SitesPerformer<'_> {
    fn note(&self, text: &str) {
        self.listener.hear(Told::Note(text));
    }

    fn site(&self, name: &SiteName) -> Result<&Site, StepError> {
        self.sites.get(name).ok_or_else(|| {
            StepError::Changed(format!("the plan names site {name}, which the configuration does not have any more"))
        })
    }

    async fn publish_mapping(&self, plan: &Plan) -> Result<Value, StepError> {
        for name in [&plan.source, &plan.target] {
            let site = self.site(name)?;
            for (map, object) in self.mapping.1.config_maps(name, &site.velero_namespace) {
                site.apply(CONFIG_MAP, Some(&site.velero_namespace), &map, &object).await?;
            }
        }
        Ok(Value::Null)
    }

    async fn take_epoch(&self, plan: &Plan) -> Result<Value, StepError> {
        let active = if plan.kind.moves() { &plan.target } else { &plan.source };
        let record = WitnessRecord {
            epoch: plan.epoch,
            active: active.clone(),
            run: plan.run.clone(),
            kind: plan.kind,
            point: plan.point.clone(),
            at: (self.clock)(),
            by: self.by.clone(),
        };
        self.state.claim_epoch(&plan.group, &record).await?;
        self.note(&format!("{active} is active from epoch {} on", plan.epoch));
        Ok(Value::Null)
    }

    /// The manifest of the data that the target starts from.
    async fn manifest(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<PointManifest, StepError> {
        match plan.kind {
            RunKind::Migrate | RunKind::Failback => outputs.of(Step::FinalSync),
            RunKind::Cycle => outputs.of(Step::Replicate),
            RunKind::Failover => Ok(self.recorded_point(plan).await?.manifest),
        }
    }

    async fn recorded_point(&self, plan: &Plan) -> Result<PointRecord, StepError> {
        let points = self.state.points(&plan.group, &plan.target).await?;
        points.into_iter().find(|record| record.manifest.point == plan.point).ok_or_else(|| {
            StepError::Changed(format!(
                "recovery point {} of {} has no record at {} any more",
                plan.point, plan.group, plan.target
            ))
        })
    }

    /// Writes down the recovery point that the run made. From then on it can be recovered from.
    async fn commit(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        let backup = match plan.kind {
            RunKind::Cycle => outputs.of::<BackupMade>(Step::BackUpPoint)?.backup,
            RunKind::Migrate | RunKind::Failback => outputs.of::<BackupMade>(Step::BackUpFinal)?.backup,
            // It started from a point that was recorded when it was made.
            RunKind::Failover => return Ok(Value::Null),
        };
        let manifest = self.manifest(plan, outputs).await?;
        self.record_point(plan, &manifest, backup).await?;
        Ok(Value::Null)
    }

    async fn record_point(&self, plan: &Plan, manifest: &PointManifest, backup: String) -> Result<(), StepError> {
        let record = PointRecord {
            manifest: manifest.clone(),
            backup,
            vms: vms_of(plan),
            claims: claims_of(plan, |volume| volume.object.clone()),
            at: (self.clock)(),
        };
        Ok(self.state.write_point(&record).await?)
    }
}

/// The plan's VMs, as a recovery point remembers them.
fn vms_of(plan: &Plan) -> Vec<VmObserved> {
    plan.vms
        .iter()
        .map(|planned| VmObserved {
            vm: planned.vm.clone(),
            halted: !planned.on,
            running: false,
            claims: planned.claims.clone(),
        })
        .collect()
}

fn claims_of(plan: &Plan, object: impl Fn(&leeward_model::plan::VolumePlan) -> Value) -> Vec<ClaimObserved> {
    plan.volumes
        .iter()
        .map(|volume| ClaimObserved { claim: volume.claim.clone(), pv: Some(object(volume)), snapshot_class: None })
        .collect()
}

fn names_of(plan: &Plan) -> Vec<ObjectRef> {
    plan.vms.iter().map(|planned| planned.vm.clone()).collect()
}

#[cfg(test)]
mod tests;
