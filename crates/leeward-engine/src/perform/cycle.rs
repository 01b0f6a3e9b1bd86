//! The steps of a cycle: snapshot → promote and back up → replicate → stage → verify → prune.

use super::{BACKUP, BackupMade, RESTORE, SYNC, SitesPerformer};
use crate::{
    error::{SiteError, StepError},
    executor::Outputs,
    observe::object_name,
    site::{PV, PVC, SNAPSHOT, Site, VM},
};
use leeward_model::{
    address::VolumeAddress,
    claim, keys,
    mapping::Mapping,
    naming,
    plan::{Copy, Plan, VolumePlan, observed::ObjectRef},
    run::Step,
};
use leeward_storage::{Consistency, PointManifest, SyncRequest, SyncVolume};
use leeward_velero::{BackupRequest, RestoreRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Time for a snapshot to become ready.
const SNAPSHOT_READY: Duration = Duration::from_secs(300);
/// Restores of one backup before it is given up: more repeats than an operator makes in one night.
const RESTORES: u32 = 50;
/// Points kept at each site: the newest, and two to go back to.
const KEEP: usize = 3;
/// What Velero writes on every object that it restores.
const RESTORED: &str = "velero.io/restore-name";

/// Moments of the snapshots that were taken, by PV.
#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    at: BTreeMap<String, jiff::Timestamp>,
}

/// Whether a staged VM could be started, for people.
#[derive(Debug, Serialize, Deserialize)]
struct Readiness {
    vm: ObjectRef,
    ready: bool,
    why: Option<String>,
}

impl SitesPerformer<'_> {
    pub(super) async fn take_snapshots(&self, plan: &Plan) -> Result<Value, StepError> {
        let site = self.site(&plan.source)?;
        let wanted: Vec<(&VolumePlan, &str)> = plan
            .volumes
            .iter()
            .filter_map(|volume| match &volume.copy {
                Copy::Snapshot { class } => Some((volume, class.as_str())),
                Copy::Stopped
                | Copy::AtPoint { .. }
                | Copy::Carried { .. }
                | Copy::Kept { .. }
                | Copy::Never { .. } => None,
            })
            .collect();
        // All are asked for before any is waited for, so that their moments lie close together.
        for (volume, class) in &wanted {
            site.create(SNAPSHOT, Some(volume.claim.namespace.as_str()), snapshot(plan, volume, class)).await?;
        }
        let moments =
            futures::future::try_join_all(wanted.iter().map(|(volume, _)| snapshot_moment(site, plan, volume))).await?;
        let at: BTreeMap<_, _> = wanted.iter().zip(moments).map(|((volume, _), at)| (volume.pv.clone(), at)).collect();
        self.note(&format!("{} snapshots, each crash-consistent by itself", at.len()));
        output(&Taken { at })
    }

    pub(super) async fn back_up(&self, plan: &Plan, promote: bool) -> Result<Value, StepError> {
        let request = BackupRequest {
            name: plan.backup.clone(),
            group: plan.group.clone(),
            run: plan.run.clone(),
            point: promote.then(|| plan.point.clone()),
            namespaces: self.group.namespaces.clone(),
            label_selector: None,
            ttl: None,
        };
        let made = self.site(&plan.source)?.velero.back_up(&request, BACKUP, &|text| self.note(text)).await?;
        self.note(&format!("backup {}: {} objects", made.name, made.items));
        output(&BackupMade { backup: made.name })
    }

    pub(super) async fn replicate(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        let site = self.site(&plan.source)?;
        let taken: Option<Taken> =
            if plan.steps.contains(&Step::TakeSnapshots) { Some(outputs.of(Step::TakeSnapshots)?) } else { None };
        let mut volumes = Vec::new();
        let mut carried = Vec::new();
        for volume in &plan.volumes {
            match &volume.copy {
                Copy::Snapshot { .. } => {
                    let at = taken
                        .as_ref()
                        .and_then(|taken| taken.at.get(&volume.pv))
                        .ok_or(StepError::MissingOutput(Step::TakeSnapshots))?;
                    volumes.push(SyncVolume {
                        key: volume.pv.clone(),
                        source: promoted_address((site, self.mapping.0), plan, volume).await?,
                        consistency: Consistency::Snapshot,
                        at: *at,
                        seed: Some(volume.after.clone()),
                    });
                }
                // It has been off since before the plan was made; when, nobody knows, so now is the honest upper bound.
                Copy::Stopped => volumes.push(live(volume, (self.clock)())),
                Copy::Carried { .. } | Copy::AtPoint { .. } => carried.push(volume.pv.clone()),
                Copy::Kept { .. } | Copy::Never { .. } => {}
            }
        }
        let manifest = self.sync(plan, volumes, carried).await?;
        output(&manifest)
    }

    pub(super) async fn sync(
        &self,
        plan: &Plan,
        volumes: Vec<SyncVolume>,
        carried: Vec<String>,
    ) -> Result<PointManifest, StepError> {
        let request = SyncRequest {
            group: plan.group.clone(),
            point: plan.point.clone(),
            base: plan.base.clone(),
            from: plan.source.clone(),
            to: plan.target.clone(),
            epoch: plan.epoch,
            volumes,
            carried,
        };
        let manifest = self.storage.sync(&request).await?;
        self.note(&format!("point {}: {} volumes whole at {}", plan.point, manifest.volumes.len(), plan.target));
        Ok(manifest)
    }

    /// Restores the backup at the target and checks what landed. A restore that was completed earlier and whose objects
    /// are not there as they should be (its plug-in was missing, somebody has deleted them) is done again under a new
    /// name; Velero never repeats one.
    pub(super) async fn stage(&self, plan: &Plan, backup: &str) -> Result<Value, StepError> {
        let velero = &self.site(&plan.target)?.velero;
        velero.await_backup(backup, SYNC, &|text| self.note(text)).await?;
        let began = (self.clock)();
        let mut again = 1;
        loop {
            let name = if again == 1 { backup.to_owned() } else { format!("{backup}-r{again}") };
            let request = RestoreRequest {
                name,
                backup: backup.to_owned(),
                group: plan.group.clone(),
                run: plan.run.clone(),
                update_existing: true,
            };
            let restored = velero.restore(&request, RESTORE, &|text| self.note(text)).await?;
            self.note(&format!("restore {}: {} objects at {}", restored.name, restored.items, plan.target));
            // Velero's times have no fractions of seconds.
            let earlier = restored.completed.is_some_and(|at| at.as_second() < began.as_second());
            match self.check_landed(plan).await {
                Ok(()) => {
                    return Ok(
                        json!({"restore": restored.name, "items": restored.items, "warnings": restored.warnings}),
                    );
                }
                Err(error) if !earlier || again == RESTORES => return Err(error),
                Err(error) => self.note(&format!("restored earlier, and not there now ({error}); restoring again")),
            }
            again += 1;
        }
    }

    pub(super) async fn verify_staged(&self, plan: &Plan, outputs: &Outputs<'_>) -> Result<Value, StepError> {
        let manifest = self.manifest(plan, outputs).await?;
        self.storage.verify(&plan.target, &manifest).await?;
        let readiness: Vec<Readiness> = plan
            .vms
            .iter()
            .map(|planned| {
                let missing: Vec<&str> =
                    planned.volumes.iter().filter(|pv| manifest.volume(pv).is_none()).map(String::as_str).collect();
                let why =
                    (!missing.is_empty()).then(|| format!("no copy of {} at {} yet", missing.join(", "), plan.target));
                Readiness { vm: planned.vm.clone(), ready: why.is_none(), why }
            })
            .collect();
        for one in readiness.iter().filter(|one| !one.ready) {
            self.note(&format!(
                "VM {} is staged and could not be started: {}",
                one.vm,
                one.why.as_deref().unwrap_or_default()
            ));
        }
        output(&readiness)
    }

    /// Removes promoted claims and snapshots of older points at the source, points beyond [`KEEP`] at both sites and VMs
    /// that left the group at the target. Runs after the new point is verified and recorded (N3).
    pub(super) async fn prune(&self, plan: &Plan) -> Result<Value, StepError> {
        let source = self.site(&plan.source)?;
        let older = format!("{}={},{}!={}", keys::GROUP, plan.group, keys::RECOVERY_POINT, plan.point);
        for namespace in &self.group.namespaces {
            for kind in [PVC, SNAPSHOT] {
                for object in source.list(kind, Some(namespace.as_str()), &older).await? {
                    source.delete(kind, Some(namespace.as_str()), object_name(&object).unwrap_or_default()).await?;
                }
            }
        }
        let target = self.site(&plan.target)?;
        for namespace in &self.group.namespaces {
            for object in target.list(VM, Some(namespace.as_str()), RESTORED).await? {
                let name = object_name(&object).unwrap_or_default();
                let stays =
                    plan.vms.iter().any(|planned| planned.vm.namespace == *namespace && planned.vm.name == name);
                let ours = self.group.match_labels.iter().all(|(key, value)| {
                    object.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str)
                        == Some(value)
                });
                if !stays && ours {
                    self.note(&format!(
                        "VM {namespace}/{name} left the group: its staged copy at {} is removed",
                        plan.target
                    ));
                    target.delete(VM, Some(namespace.as_str()), name).await?;
                }
            }
        }
        let mut withdrawn = 0;
        for site in [&plan.target, &plan.source] {
            let held = self.storage.points(site, &plan.group).await?;
            for manifest in held.iter().take(held.len().saturating_sub(KEEP)) {
                // The record goes first: data without a record is never recovered from, a record without data would be.
                self.state.forget_point(&plan.group, site, &manifest.point).await?;
                self.storage.withdraw(site, &plan.group, &manifest.point).await?;
                withdrawn += 1;
            }
        }
        Ok(json!({"withdrawn": withdrawn}))
    }
}

/// Of a volume's snapshot, and of the claim that the plug-in promotes it to.
fn made_name(plan: &Plan, volume: &VolumePlan) -> String {
    naming::made_from(&volume.claim.name, plan.point.as_str())
}

fn snapshot(plan: &Plan, volume: &VolumePlan, class: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {
            "name": made_name(plan, volume), "namespace": volume.claim.namespace.as_str(),
            "labels": {keys::RECOVERY_POINT: plan.point.as_str(), keys::GROUP: plan.group.as_str()},
        },
        "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": volume.claim.name}},
    })
}

async fn snapshot_moment(site: &Site, plan: &Plan, volume: &VolumePlan) -> Result<jiff::Timestamp, StepError> {
    let name = made_name(plan, volume);
    let namespace = Some(volume.claim.namespace.as_str());
    let is_ready = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/readyToUse")).and_then(Value::as_bool) == Some(true)
    };
    let explain = |object: &Value| {
        object.pointer("/status/error/message").and_then(Value::as_str).unwrap_or("it is not ready to use").to_owned()
    };
    site.wait(
        SNAPSHOT,
        (namespace, &name),
        (&format!("snapshot {}/{name}", volume.claim.namespace), SNAPSHOT_READY),
        is_ready,
        explain,
    )
    .await?;
    let object = site.get(SNAPSHOT, namespace, &name).await?;
    let moment = object.as_ref().and_then(|object| object.pointer("/status/creationTime")).and_then(Value::as_str);
    moment.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let problem = "is ready, but does not say when it was taken (status.creationTime)".to_owned();
        SiteError::Wrong { site: site.name.clone(), object: format!("VolumeSnapshot {name}"), problem }.into()
    })
}

/// Where the promoted snapshot's data is: the PV of the claim that the plug-in made during the backup.
async fn promoted_address(
    (site, mapping): (&Site, &Mapping),
    plan: &Plan,
    volume: &VolumePlan,
) -> Result<VolumeAddress, StepError> {
    let name = made_name(plan, volume);
    let wrong = |object: String, problem: &str| SiteError::Wrong {
        site: site.name.clone(),
        object,
        problem: problem.to_owned(),
    };
    let pvc = site.get(PVC, Some(volume.claim.namespace.as_str()), &name).await?.ok_or_else(|| {
        wrong(
            format!("promoted claim {}/{name}", volume.claim.namespace),
            "does not exist after the backup: is the leeward plug-in in Velero's plug-in folder at this site?",
        )
    })?;
    let pv_name =
        claim::volume(&pvc).ok_or_else(|| wrong(format!("promoted claim {name}"), "is not bound to a volume"))?;
    let pv = site.get(PV, None, pv_name).await?.ok_or_else(|| wrong(format!("volume {pv_name}"), "does not exist"))?;
    mapping.address_of(&pv).map_err(|error| {
        wrong(format!("volume {pv_name}"), &format!("has an address that cannot be read: {error}")).into()
    })
}

/// The live volume of a VM that is off, with the moment that its data is of.
pub(super) fn live(volume: &VolumePlan, at: jiff::Timestamp) -> SyncVolume {
    SyncVolume {
        key: volume.pv.clone(),
        source: volume.before.clone(),
        consistency: Consistency::Stopped,
        at,
        seed: Some(volume.after.clone()),
    }
}

/// A step's output as the journal keeps it.
pub(super) fn output(value: &impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(value)
        .map_err(|error| StepError::Changed(format!("an output cannot be written down: {error}")))
}
