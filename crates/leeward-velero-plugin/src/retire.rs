//! What the plug-in made goes when no backup needs it any more: when its backup is deleted, and, because Velero only logs
//! what goes wrong then, once more at the next backup of the namespace.
//!
//! Laws, checked on what is seen at the moment of deletion and held to exactly that (uid and version): nothing goes that the
//! plug-in did not make, that a Backup still names, that a pod, an owner or another volume uses; nor the newest data of a
//! claim: it goes only after newer promotions of the same claim, as many as the site keeps, are bound and in completed
//! Backups (N3).

use crate::cluster::{BACKUPS, CLAIMS, Cluster, ClusterError, MACHINE_SNAPSHOTS, PODS, Resource, SNAPSHOTS, VOLUMES};
use crate::promote::{PLUG_IN, State, state, title};
use crate::{naming, view};
use leeward_model::keys::{MADE_BY, PROMOTED_FROM, RECOVERY_POINT, USED_BY};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;
use velero_plugin::{ActionError, DeleteItemAction, Selector, async_trait};

/// Not everything that a deleted backup leaves behind could go.
#[derive(Debug, thiserror::Error)]
enum RetireError {
    #[error(
        "of what backup {backup} had promoted in namespace {namespace}, this stays: {kept}. The next backup of the namespace \
         tries again [LW-0624]"
    )]
    Kept { backup: String, namespace: String, kept: String },
}

/// Deletion of a backup, PVCs and namespaces: see the module. Namespaces, because the archive of a backup that was
/// interrupted may hold none of the claims that it has promoted.
pub(crate) struct Retire {
    cluster: Arc<Cluster>,
    /// The (backup, namespace) pairs that were seen to, with the first of their items.
    done: Mutex<HashSet<(String, String)>>,
}

impl Retire {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, done: Mutex::default() }
    }
}

#[async_trait]
impl DeleteItemAction for Retire {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims", "namespaces"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<(), ActionError> {
        let namespace = if item["kind"] == "Namespace" { view::name(&item) } else { view::namespace(&item) };
        let (backup, namespace) = (title(backup), namespace.to_owned());
        let mut done = self.done.lock().await;
        if done.contains(&(backup.clone(), namespace.clone())) {
            return Ok(());
        }
        let kept = retire(&self.cluster, &namespace, Occasion::Deletion(&backup)).await?;
        done.insert((backup.clone(), namespace.clone()));
        if kept.is_empty() {
            return Ok(());
        }
        Err(RetireError::Kept { backup, namespace, kept: kept.join("; ") }.into())
    }
}

/// Puts away what backups before `current` left behind. What goes wrong is logged: the backup at hand has nothing to do
/// with it.
pub(crate) async fn sweep(cluster: Arc<Cluster>, namespaces: Vec<String>, current: String) {
    for namespace in namespaces {
        match retire(&cluster, &namespace, Occasion::Backup(&current)).await {
            Ok(kept) => kept.iter().for_each(|kept| tracing::warn!("left over in namespace {namespace}: {kept}")),
            Err(error) => tracing::warn!("namespace {namespace} could not be searched for left-overs: {error}"),
        }
    }
}

/// Why something is retired. Both name a Backup, `namespace/name`.
#[derive(Clone, Copy)]
enum Occasion<'a> {
    /// It is being deleted: what it made goes.
    Deletion(&'a str),
    /// It has begun: what all that are gone made goes. It is there, whatever the list of Backups says.
    Backup(&'a str),
}

/// Deletes what may go on this occasion. What should go but has to stay
/// is told, with the reason; that the newest data of a claim stays is as it should be.
async fn retire(cluster: &Cluster, namespace: &str, occasion: Occasion<'_>) -> Result<Vec<String>, ClusterError> {
    let ours = format!("{MADE_BY}={PLUG_IN}");
    let claims = cluster.list(&CLAIMS, Some(namespace), &ours).await?;
    let mut snapshots = Vec::new();
    for resource in [&SNAPSHOTS, &MACHINE_SNAPSHOTS] {
        let found = cluster.list_if_known(resource, Some(namespace), &ours).await?;
        snapshots.extend(found.into_iter().map(|snapshot| (resource, snapshot)));
    }
    // Its VolumeSnapshots go with it; by themselves the snapshot controller would not let them go.
    if let Some(api) = cluster.group_api().await? {
        let found = match cluster.list(&api.snapshots, Some(namespace), &ours).await {
            // Rights for them are given only where they are used.
            Err(error) if cluster.settings().await?.group_snapshot_classes.is_empty() => {
                tracing::debug!("VolumeGroupSnapshots were not looked for: {error}");
                Vec::new()
            }
            found => found?,
        };
        snapshots.extend(found.into_iter().map(|snapshot| (&api.snapshots, snapshot)));
    }
    if claims.is_empty() && snapshots.is_empty() {
        return Ok(Vec::new());
    }
    let backups = cluster.list(&BACKUPS, Some(cluster.namespace()), "").await?;
    let backups = backups.iter().map(|b| (title(b), b["status"]["phase"] == "Completed")).collect();
    let keep = cluster.settings().await?.keep_newest();
    let known = Known { claims: &claims, backups, velero: cluster.namespace(), keep, occasion };

    let mut kept = Vec::new();
    let going: Vec<_> = claims.iter().filter(|claim| known.may_go(claim)).collect();
    let guards = if going.is_empty() { None } else { Some(Guards::read(cluster, namespace).await?) };
    let mut gone = HashSet::new();
    for (claim, guards) in going.into_iter().zip(guards.iter().cycle()) {
        match guards.against(claim) {
            Some(why) => kept.push(format!("claim {} ({why})", title(claim))),
            None if delete(cluster, &CLAIMS, claim).await? => {
                gone.insert(view::name(claim));
            }
            None => kept.push(format!("claim {} (it was changed meanwhile)", title(claim))),
        }
    }
    for (resource, snapshot) in &snapshots {
        if known.snapshot_may_go(snapshot, &gone) && !delete(cluster, resource, snapshot).await? {
            kept.push(format!("{} {} (it was changed meanwhile)", resource.kind(), title(snapshot)));
        }
    }
    Ok(kept)
}

async fn delete(cluster: &Cluster, resource: &Resource, object: &Value) -> Result<bool, ClusterError> {
    let deleted = cluster.delete(resource, object).await?;
    if deleted {
        tracing::info!("deleted {} {}: no backup needs it any more", resource.kind(), title(object));
    }
    Ok(deleted)
}

/// What was seen in a namespace.
struct Known<'a> {
    /// The promoted claims that the plug-in made.
    claims: &'a [Value],
    /// By `namespace/name`: whether it is completed.
    backups: HashMap<String, bool>,
    /// The namespace that they are of. Another Velero's backups cannot be seen, and so count as there.
    velero: &'a str,
    /// How many newer verified promotions there have to be.
    keep: usize,
    occasion: Occasion<'a>,
}

impl Known<'_> {
    /// The Backups that need this, and are there and stay there.
    fn users<'o>(&self, object: &'o Value) -> Vec<&'o str> {
        let marks = object["metadata"]["annotations"].as_object().into_iter().flatten();
        let named = marks.filter(|(key, _)| key.starts_with(USED_BY)).filter_map(|(_, name)| name.as_str());
        let is_there = |name: &&str| match self.occasion {
            Occasion::Deletion(leaving) if leaving == *name => false,
            Occasion::Backup(current) if current == *name => true,
            _ => {
                let unseen = name.split_once('/').is_none_or(|(namespace, _)| namespace != self.velero);
                unseen || self.backups.contains_key(*name)
            }
        };
        named.filter(is_there).collect()
    }

    /// Whether nobody needs it who was seen, out of those that it is about.
    fn unneeded(&self, object: &Value) -> bool {
        let about = match self.occasion {
            Occasion::Deletion(backup) => view::annotation(object, &naming::used_by(backup)) == Some(backup),
            Occasion::Backup(_) => true,
        };
        about
            && view::label(object, MADE_BY) == Some(PLUG_IN)
            && object["metadata"]["deletionTimestamp"].is_null()
            && self.users(object).is_empty()
    }

    fn may_go(&self, claim: &Value) -> bool {
        let is_newer = |other: &&Value| {
            origin(other) == origin(claim)
                && view::name(other) != view::name(claim)
                && created(other) > created(claim)
                && state(Some(other)) == State::Bound
                && self.users(other).iter().any(|user| self.backups.get(*user) == Some(&true))
        };
        self.unneeded(claim) && self.claims.iter().filter(is_newer).count() >= self.keep
    }

    /// A snapshot goes with the claims that were promoted from it, or if nothing came of it.
    fn snapshot_may_go(&self, snapshot: &Value, gone: &HashSet<&str>) -> bool {
        let of_its_point = |claim: &&Value| view::label(claim, RECOVERY_POINT) == view::label(snapshot, RECOVERY_POINT);
        self.unneeded(snapshot) && self.claims.iter().filter(of_its_point).all(|claim| gone.contains(view::name(claim)))
    }
}

/// The claim whose data it is.
fn origin(claim: &Value) -> Option<&str> {
    view::annotation(claim, PROMOTED_FROM).or_else(|| view::label(claim, PROMOTED_FROM))
}

/// RFC 3339 in UTC: compares as text.
fn created(object: &Value) -> &str {
    view::text(object, "/metadata/creationTimestamp").unwrap_or_default()
}

/// What else could use a promoted claim.
struct Guards {
    pods: Vec<Value>,
    volumes: Vec<Value>,
}

impl Guards {
    async fn read(cluster: &Cluster, namespace: &str) -> Result<Self, ClusterError> {
        let pods = cluster.list(&PODS, Some(namespace), "").await?;
        Ok(Self { pods, volumes: cluster.list(&VOLUMES, None, "").await? })
    }

    /// Why the claim has to stay.
    fn against(&self, claim: &Value) -> Option<String> {
        if claim["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty()) {
            return Some("it has an owner".to_owned());
        }
        let name = view::name(claim);
        let mounts = |pod: &&Value| {
            let volumes = pod["spec"]["volumes"].as_array();
            volumes.into_iter().flatten().any(|volume| volume["persistentVolumeClaim"]["claimName"] == name)
        };
        if let Some(pod) = self.pods.iter().find(mounts) {
            return Some(format!("pod {} uses it", view::name(pod)));
        }
        // A claim that was recovered from it here has a PV of its own that names the same storage.
        let own = view::text(claim, "/spec/volumeName")?;
        let address = address(self.volumes.iter().find(|pv| view::name(pv) == own)?)?;
        let other =
            self.volumes.iter().find(|pv| view::name(pv) != own && self::address(pv).as_ref() == Some(&address));
        other.map(|pv| format!("PersistentVolume {} names the same storage", view::name(pv)))
    }
}

/// What makes a PV's storage that storage and no other; `None` if it cannot be told.
pub(crate) fn address(pv: &Value) -> Option<Value> {
    let spec = pv["spec"].as_object()?;
    if let Some(csi) = spec.get("csi") {
        return Some(Value::Array(vec![csi["driver"].clone(), csi["volumeHandle"].clone()]));
    }
    spec.iter()
        .find(|(key, _)| ["nfs", "iscsi", "fc", "rbd", "cephfs"].contains(&key.as_str()))
        .map(|(_, of)| of.clone())
}

#[cfg(test)]
#[path = "retire_tests.rs"]
mod tests;
