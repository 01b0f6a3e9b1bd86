//! The steps of a run that changes the active site: stop → fence → final sync → present → restore → start → reprotect.

use super::{
    BackupMade, SitesPerformer, claims_of,
    cycle::{live, output},
    names_of, vms_of,
};
use crate::{
    error::{SiteError, StepError},
    executor::Outputs,
    state::PointRecord,
    vms,
};
use leeward_model::{
    plan::{Copy, Plan, VolumePlan, observed::ObjectRef},
    rewrite,
    run::{RunKind, Step},
};
use leeward_storage::{PointManifest, SyncRequest, SyncVolume, VolumeRef};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// When the last VM had stopped: the moment that the disks are of.
#[derive(Debug, Serialize, Deserialize)]
struct Stopped {
    stopped: jiff::Timestamp,
}

impl SitesPerformer<'_> {
    pub(super) async fn stop_vms(&self, plan: &Plan) -> Result<Value, StepError> {
        vms::stop(self.site(&plan.source)?, &names_of(plan)).await?;
        output(&Stopped { stopped: (self.clock)() })
    }

    pub(super) async fn fence_source(&self, plan: &Plan) -> Result<Value, StepError> {
        let proof = self.storage.fence(&plan.source).await?;
        self.note(&format!("a write at {} was refused: {}", plan.source, proof.refused_by));
        output(&proof)
    }

    pub(super) async fn final_sync(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        let Stopped { stopped } = outputs.of(Step::StopVms)?;
        let disks = plan.volumes.iter().filter(|volume| volume.copy == Copy::Stopped);
        let volumes = disks.map(|volume| live(volume, stopped)).collect();
        let manifest = self.sync(plan, volumes, Vec::new()).await?;
        // From here on a failover has it to recover from, should the source be lost before this run is over.
        self.record_point(plan, &manifest, outputs.of::<BackupMade>(Step::BackUpFinal)?.backup).await?;
        output(&manifest)
    }

    pub(super) async fn verify_point(&self, plan: &Plan) -> Result<Value, StepError> {
        let record = self.recorded_point(plan).await?;
        self.storage.verify(&plan.target, &record.manifest).await?;
        self.note(&format!("every byte of {} at {} is what was written", plan.point, plan.target));
        Ok(Value::Null)
    }

    pub(super) async fn present(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        let manifest = self.manifest(plan, outputs).await?;
        let volumes: Vec<VolumeRef> = plan
            .volumes
            .iter()
            .filter(|volume| volume.copy.arrives())
            .map(|volume| VolumeRef { key: volume.pv.clone(), address: volume.after.clone() })
            .collect();
        // While the data is put in place nobody can write there; only then are clients let in.
        self.storage.present(&plan.target, &manifest, &volumes).await?;
        self.storage.unfence(&plan.target).await?;
        Ok(json!({"presented": volumes.len()}))
    }

    pub(super) async fn restore(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        match plan.kind {
            RunKind::Failover if self.has_landed(plan).await? => {
                self.check_landed(plan).await?;
                self.note("the objects were staged by the last cycle");
                Ok(Value::Null)
            }
            RunKind::Failover => self.stage(plan, &plan.backup).await,
            RunKind::Migrate | RunKind::Failback | RunKind::Cycle => {
                self.stage(plan, &outputs.of::<BackupMade>(Step::BackUpFinal)?.backup).await
            }
        }
    }

    /// Starts the VMs in waves. Right before the first one it is made sure once more that the source cannot write (N1):
    /// the proof of the fence step may be hours old when a run is taken up again.
    pub(super) async fn start_vms(&self, plan: &Plan) -> Result<Value, StepError> {
        if plan.steps.contains(&Step::FenceSource) && !self.storage.is_fenced(&plan.source).await? {
            let problem =
                "can be written again since the fence: fence it, or find out who lifted it, then repeat".to_owned();
            return Err(
                SiteError::Wrong { site: plan.source.clone(), object: "the storage".to_owned(), problem }.into()
            );
        }
        let site = self.site(&plan.target)?;
        let mut waves: BTreeMap<u8, Vec<ObjectRef>> = BTreeMap::new();
        for planned in plan.vms.iter().filter(|planned| planned.start) {
            waves.entry(planned.priority).or_default().push(planned.vm.clone());
        }
        let last = waves.keys().next_back().copied();
        for (priority, wave) in waves {
            self.state.hold(&plan.group, plan.epoch, &plan.target).await?;
            vms::start(site, &wave).await?;
            if Some(priority) != last {
                vms::wait_up(site, &wave, self.group.confirm).await?;
            }
        }
        Ok(json!({"ordered": (self.clock)()}))
    }

    pub(super) async fn confirm(&self, plan: &Plan) -> Result<Value, StepError> {
        let started: Vec<ObjectRef> =
            plan.vms.iter().filter(|planned| planned.start).map(|planned| planned.vm.clone()).collect();
        vms::wait_up(self.site(&plan.target)?, &started, self.group.confirm).await?;
        Ok(json!({"up": (self.clock)()}))
    }

    /// Makes the source's own stopped disks a point there: the same bytes as the target started from, so the way back
    /// sends only what changes from here on, and a failover back would have something to start from at once.
    pub(super) async fn reprotect(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        if let Err(why) = self.site(&plan.source)?.probe().await {
            // The move is over and its VMs run: a source that was lost since is the next run's matter.
            self.note(&format!("{} does not answer ({why}); it is brought in line by the next move", plan.source));
            return Ok(json!({"skipped": why}));
        }
        let held = self.storage.points(&plan.source, &plan.group).await?;
        let manifest = match held.iter().find(|manifest| manifest.point == plan.point) {
            Some(made) => made.clone(),
            None => {
                self.storage.sync(&own_disks(plan, held.last(), outputs.of::<Stopped>(Step::StopVms)?.stopped)).await?
            }
        };
        let record = PointRecord {
            manifest,
            backup: outputs.of::<BackupMade>(Step::BackUpFinal)?.backup,
            vms: vms_of(plan),
            claims: claims_of(plan, |volume| self.as_target_has_it(plan, volume)),
            at: (self.clock)(),
        };
        self.state.write_point(&record).await?;
        Ok(Value::Null)
    }

    /// The PV as it stands at the target now, where the next run starts from.
    fn as_target_has_it(&self, plan: &Plan, volume: &VolumePlan) -> Value {
        // The plan could not have been made if this failed.
        rewrite::rewrite(&volume.object, self.mapping.0, &plan.source, &plan.target)
            .map_or_else(|_| volume.object.clone(), |rewritten| rewritten.pv)
    }
}

/// A point at the source, of its own stopped disks.
fn own_disks(plan: &Plan, base: Option<&PointManifest>, stopped: jiff::Timestamp) -> SyncRequest {
    let disks = plan.volumes.iter().filter(|volume| volume.copy == Copy::Stopped);
    SyncRequest {
        group: plan.group.clone(),
        point: plan.point.clone(),
        base: base.map(|manifest| manifest.point.clone()),
        from: plan.source.clone(),
        to: plan.source.clone(),
        epoch: plan.epoch,
        volumes: disks
            .map(|volume| SyncVolume { seed: Some(volume.before.clone()), ..live(volume, stopped) })
            .collect(),
        carried: Vec::new(),
    }
}
