//! Takes snapshots now: of a claim by VolumeSnapshot; or of a claim's whole VM by VirtualMachineSnapshot, for which KubeVirt
//! has the guest agent freeze the file systems.
//!
//! The names follow from claim or VM and the backup's point, so that a plug-in that was killed finds what it had begun.

use crate::cluster::{
    Cluster, ClusterError, Created, MACHINE_SNAPSHOT_CONTENTS, MACHINE_SNAPSHOTS, MACHINES, Resource, SNAPSHOT_CLASSES,
    SNAPSHOTS, VOLUMES,
};
use crate::followed::{Followed, Look};
use crate::policy::Policy;
use crate::promote::{self, PLUG_IN, title};
use crate::promoter::{Namespace, Work};
use crate::{naming, take_group, view};
use leeward_model::keys::{MADE_BY, RECOVERY_POINT};
use leeward_model::vm;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Velero's own mark on the class to use for a driver.
const VELERO_CLASS: &str = "velero.io/csi-volumesnapshot-class";
const DEFAULT_CLASS: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// A snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error(
        "no snapshot can be taken of PersistentVolumeClaim {claim}: its PersistentVolume {volume} is not of a CSI driver. Move \
         the disk to one, or leave the claim out with the annotation leeward.io/promote: none on it [LW-0626]"
    )]
    NotCsi { claim: String, volume: String },
    #[error(
        "no snapshot can be taken of PersistentVolumeClaim {claim}: {found} of driver {driver}. Write the one to use into \
         ConfigMap leeward-site, key `promote`: snapshotClasses: {{ {driver}: <class> }} [LW-0627]"
    )]
    Class { claim: String, driver: String, found: String },
    #[error(
        "{kind} {snapshot} is to be taken of PersistentVolumeClaim {claim}, but there is another of that name; delete it, \
         then back up again [LW-0628]"
    )]
    Foreign { kind: &'static str, snapshot: String, claim: String },
    #[error(
        "{kind} {snapshot} of PersistentVolumeClaim {claim} was not ready within {seconds} s; its last word: {reason}. See to \
         that, or allow more time with the Backup's annotation {key}, then back up again [LW-0629]",
        key = leeward_model::keys::PROMOTION_DEADLINE
    )]
    Late { kind: &'static str, snapshot: String, claim: String, seconds: u64, reason: String },
    #[error("{kind} {snapshot} of PersistentVolumeClaim {claim} {how}; back up again [LW-0629]")]
    Ended { kind: &'static str, snapshot: String, claim: String, how: String },
    #[error(
        "VirtualMachineSnapshot {snapshot} holds nothing of PersistentVolumeClaim {claim}; see why in its status, or take \
         snapshots without the guest (leeward.io/promote: take-now) [LW-0631]"
    )]
    NotInside { snapshot: String, claim: String },
    #[error(
        "PersistentVolumeClaims {claim} cannot be taken together: ConfigMap leeward-site, key `promote`, names VolumeGroupSnapshotClass {class} for \
         driver {driver}, but {found}. Correct it, or take the driver out of groupSnapshotClasses: then each claim is taken by \
         itself [LW-0634]"
    )]
    GroupClass { claim: String, driver: String, class: String, found: String },
    #[error(
        "VolumeGroupSnapshot {group} holds nothing of PersistentVolumeClaim {claim}, which was not one of its claims when it \
         was taken; back up again, as another recovery point [LW-0635]"
    )]
    NotInGroup { claim: String, group: String },
    /// Of one of several claims: it says of which.
    #[error(transparent)]
    Together(Arc<TakeError>),
    #[error("no snapshot could be taken of PersistentVolumeClaim {claim} [LW-0614]")]
    Refused {
        claim: String,
        #[source]
        source: ClusterError,
    },
}

/// The snapshot of `claim`, ready. It says of which point it is.
pub(crate) async fn snapshot(
    work: &Work,
    namespace: &Namespace,
    claim: &Value,
    until: Instant,
) -> Result<Value, TakeError> {
    let taking = Taking { work, claim, of: title(claim), until };
    let mut snapshot = match taking.machine(namespace).await? {
        Some(machine) => taking.of_machine(namespace, &machine).await?,
        None => match take_group::snapshot(&taking, namespace).await? {
            Some(snapshot) => snapshot,
            None => taking.of_claim(namespace).await?,
        },
    };
    snapshot["metadata"]["labels"][RECOVERY_POINT] = work.request.taken.as_str().into();
    Ok(snapshot)
}

/// What is being taken, of which claim.
pub(crate) struct Taking<'a> {
    pub(crate) work: &'a Work,
    pub(crate) claim: &'a Value,
    /// Its title, for errors; all titles, if several are taken at once.
    pub(crate) of: String,
    pub(crate) until: Instant,
}

impl Taking<'_> {
    pub(crate) fn refused(&self, source: ClusterError) -> TakeError {
        TakeError::Refused { claim: self.of.clone(), source }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.work.cluster
    }

    /// The VM whose disk the claim is, if VMs are to be frozen.
    async fn machine(&self, namespace: &Namespace) -> Result<Option<String>, TakeError> {
        if self.work.request.policy != (Policy::TakeNow { frozen: true }) {
            return Ok(None);
        }
        Ok(self.machines(namespace).await?.get(view::name(self.claim)).cloned())
    }

    /// By claim: the VM whose disk it is.
    pub(crate) async fn machines<'n>(
        &self,
        namespace: &'n Namespace,
    ) -> Result<&'n HashMap<String, String>, TakeError> {
        let read = || async {
            let machines = self.cluster().list_if_known(&MACHINES, Some(view::namespace(self.claim)), "").await?;
            let owned =
                |vm: &Value| vm::claims(vm).into_iter().map(|claim| (claim, view::name(vm).to_owned())).collect();
            Ok(machines.iter().flat_map(|vm| -> Vec<_> { owned(vm) }).collect::<HashMap<_, _>>())
        };
        namespace.machines.get_or_try_init(read).await.map_err(|e| self.refused(e))
    }

    async fn of_claim(&self, namespace: &Namespace) -> Result<Value, TakeError> {
        let volume = view::text(self.claim, "/spec/volumeName").unwrap_or_default();
        let pv = self.cluster().get(&VOLUMES, None, volume).await.map_err(|e| self.refused(e))?;
        let Some(driver) = pv.as_ref().and_then(|pv| view::text(pv, "/spec/csi/driver")) else {
            return Err(TakeError::NotCsi { claim: title(self.claim), volume: volume.to_owned() });
        };
        let class = self.class(driver).await?;
        let source = json!({"persistentVolumeClaimName": view::name(self.claim)});
        let wanted = self.marked(
            &SNAPSHOTS,
            view::name(self.claim),
            json!({
                "volumeSnapshotClassName": class, "source": source,
            }),
        );
        self.ready(&SNAPSHOTS, &namespace.taken, &wanted).await
    }

    async fn of_machine(&self, namespace: &Namespace, machine: &str) -> Result<Value, TakeError> {
        let wanted = self.marked(
            &MACHINE_SNAPSHOTS,
            machine,
            json!({
                "source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": machine},
                "deletionPolicy": "Delete",
                "failureDeadline": format!("{}s", self.work.request.deadline.as_secs()),
            }),
        );
        let whole = self.ready(&MACHINE_SNAPSHOTS, &namespace.machine_snapshots, &wanted).await?;
        if let Some(why) = unfrozen(&whole) {
            // Velero counts it as a warning of the backup.
            tracing::warn!("VirtualMachineSnapshot {}: {why}, so its disks are only crash-consistent", title(&whole));
        }
        let inside = || TakeError::NotInside { snapshot: title(&whole), claim: title(self.claim) };
        let content = view::text(&whole, "/status/virtualMachineSnapshotContentName").ok_or_else(inside)?;
        let name_space = Some(view::namespace(self.claim));
        let get = self.cluster().get(&MACHINE_SNAPSHOT_CONTENTS, name_space, content).await;
        let content = get.map_err(|e| self.refused(e))?.ok_or_else(inside)?;
        let name = snapshot_of(&content, view::name(self.claim)).ok_or_else(inside)?;
        let get = self.cluster().get(&SNAPSHOTS, name_space, name).await;
        get.map_err(|e| self.refused(e))?.ok_or_else(inside)
    }

    pub(crate) fn marked(&self, resource: &Resource, of: &str, spec: Value) -> Value {
        let point = self.work.request.taken.as_str();
        let (labels, annotations) = promote::marks(point, &self.work.request.backup);
        json!({
            "apiVersion": resource.api_version(), "kind": resource.kind(),
            "metadata": {
                "namespace": view::namespace(self.claim), "name": naming::made_from(of, point),
                "labels": labels, "annotations": annotations,
            },
            "spec": spec,
        })
    }

    /// Makes `wanted`, or finds it, and waits until it is ready.
    pub(crate) async fn ready(
        &self,
        resource: &'static Resource,
        followed: &OnceCell<Followed>,
        wanted: &Value,
    ) -> Result<Value, TakeError> {
        let (namespace, name, kind) = (view::namespace(wanted), view::name(wanted), resource.kind());
        if let Created::Exists = self.cluster().create(resource, wanted).await.map_err(|e| self.refused(e))? {
            let existing = self.cluster().get(resource, Some(namespace), name).await.map_err(|e| self.refused(e))?;
            if !existing.as_ref().is_some_and(|existing| is_same(existing, wanted)) {
                return Err(TakeError::Foreign { kind, snapshot: title(wanted), claim: self.of.clone() });
            }
            // Of another backup of the same point, perhaps.
            let used = json!({"metadata": {"annotations": wanted["metadata"]["annotations"]}});
            self.cluster().patch(resource, Some(namespace), name, &used).await.map_err(|e| self.refused(e))?;
        } else {
            tracing::info!("taking {kind} {namespace}/{name}");
        }
        self.awaited(resource, followed, MADE_BY, wanted).await
    }

    /// Waits until `wanted` is ready, by a watch of all that have `labels`.
    pub(crate) async fn awaited(
        &self,
        resource: &'static Resource,
        followed: &OnceCell<Followed>,
        labels: &str,
        wanted: &Value,
    ) -> Result<Value, TakeError> {
        let (namespace, name, kind) = (view::namespace(wanted), view::name(wanted), resource.kind());
        let begin = || Followed::new(&self.work.cluster, resource, namespace, labels);
        let followed = followed.get_or_try_init(begin).await.map_err(|e| self.refused(e))?;
        let look = |object: Option<&Value>| match object {
            Some(object) if object["status"]["readyToUse"] == true => Look::Done(Ok(object.clone())),
            Some(object) if object["status"]["phase"] == "Failed" => Look::Done(Err(reason(object))),
            Some(_) => Look::Wait,
            None => Look::Done(Err("was deleted meanwhile".to_owned())),
        };
        let ended = |how| TakeError::Ended { kind, snapshot: title(wanted), claim: title(self.claim), how };
        if let Some(seen) = followed.wait(name, self.until, look).await.map_err(|e| self.refused(e))? {
            return seen.map_err(ended);
        }
        let last = self.cluster().get(resource, Some(namespace), name).await.map_err(|e| self.refused(e))?;
        match last {
            Some(object) if object["status"]["readyToUse"] == true => Ok(object),
            None => Err(ended("was deleted meanwhile".to_owned())),
            Some(object) => Err(TakeError::Late {
                kind,
                snapshot: title(wanted),
                claim: self.of.clone(),
                seconds: self.work.request.deadline.as_secs(),
                reason: reason(&object),
            }),
        }
    }

    /// The class for `driver`: the configured one, else the one that Velero would use, else the default, else the only one.
    async fn class(&self, driver: &str) -> Result<String, TakeError> {
        let settings = self.cluster().settings().await.map_err(|e| self.refused(e))?;
        if let Some(class) = settings.snapshot_classes.get(driver) {
            return Ok(class.clone());
        }
        let read = || self.cluster().list(&SNAPSHOT_CLASSES, None, "");
        let all = self.work.snapshot_classes.get_or_try_init(read).await.map_err(|e| self.refused(e))?;
        pick(all, driver).map(str::to_owned).map_err(|found| TakeError::Class {
            claim: title(self.claim),
            driver: driver.to_owned(),
            found,
        })
    }
}

/// The VolumeSnapshotClass for `driver`, or how many there are to choose from.
fn pick<'a>(classes: &'a [Value], driver: &str) -> Result<&'a str, String> {
    let of_driver: Vec<_> = classes.iter().filter(|class| class["driver"] == driver).collect();
    let marked = of_driver.iter().find(|class| view::label(class, VELERO_CLASS) == Some("true"));
    let default = || of_driver.iter().find(|class| view::annotation(class, DEFAULT_CLASS) == Some("true"));
    match (marked.or_else(default), of_driver.as_slice()) {
        (Some(class), _) | (None, [class]) => Ok(view::name(class)),
        (None, []) => Err("there is no VolumeSnapshotClass".to_owned()),
        (None, many) => {
            let names: Vec<_> = many.iter().map(|class| view::name(class)).collect();
            Err(format!("none of the VolumeSnapshotClasses {} is the default", names.join(", ")))
        }
    }
}

/// Whether an earlier attempt has begun exactly this.
fn is_same(existing: &Value, wanted: &Value) -> bool {
    let of = |object: &Value| [RECOVERY_POINT, MADE_BY].map(|key| view::label(object, key).map(str::to_owned)).to_vec();
    of(existing) == of(wanted)
        && view::label(existing, MADE_BY) == Some(PLUG_IN)
        && existing["spec"]["source"] == wanted["spec"]["source"]
        && existing["metadata"]["deletionTimestamp"].is_null()
}

/// What the snapshotter says is the matter.
fn reason(object: &Value) -> String {
    view::text(object, "/status/error/message").unwrap_or("no reason given").to_owned()
}

/// Why the guest of a running machine was not frozen, if it was not.
fn unfrozen(machine_snapshot: &Value) -> Option<&'static str> {
    let indications = machine_snapshot["status"]["indications"].as_array();
    let has = |word: &str| indications.is_some_and(|all| all.iter().any(|indication| indication == word));
    // Until 1.7 KubeVirt tells only that it failed, from 1.8 on only that it came too late; a paused guest is not asked.
    if has("QuiesceTimeout") || has("QuiesceFailed") {
        Some("the guest could not be frozen")
    } else if has("Paused") {
        Some("the machine is paused, and what its guest has not written yet is not in it")
    } else if has("NoGuestAgent") {
        Some("the guest has no agent that could freeze it")
    } else {
        None
    }
}

/// The VolumeSnapshot of `claim` in a VirtualMachineSnapshotContent.
fn snapshot_of<'a>(content: &'a Value, claim: &str) -> Option<&'a str> {
    let backups = content["spec"]["volumeBackups"].as_array()?;
    let of_claim = backups.iter().find(|backup| backup["persistentVolumeClaim"]["metadata"]["name"] == claim)?;
    view::text(of_claim, "/volumeSnapshotName")
}

#[cfg(test)]
#[path = "take_tests.rs"]
mod tests;
