//! Takes claims that belong together by one VolumeGroupSnapshot, so that what is promoted of them is of one moment.
//!
//! Laws:
//! - It is asked for: only volumes of drivers for which the ConfigMap names a VolumeGroupSnapshotClass are taken so.
//! - Together belong, in one namespace and of one driver, the claims with the same label `velero.io/volume-group` (Velero's
//!   own word for it), and else the disks of one VM. One claim alone is taken by itself.
//! - The API chooses claims by labels alone, and the snapshot controller looks at `matchLabels` alone (the expressions of a
//!   selector it passes over, up to 8.6). So the claims get a label of this group before the group is there, and lose it
//!   when the group has its volumes or has come to nothing. What a killed plug-in left is taken off by a later backup.
//! - A group that was not begun by the deadline is deleted: with its labels gone it could only become a part of itself.

use crate::cluster::{BACKUPS, CLAIMS, Cluster, ClusterError, SNAPSHOTS, VOLUMES};
use crate::followed::Followed;
use crate::group_api::GroupApi;
use crate::policy::Policy;
use crate::promote::{PLUG_IN, title};
use crate::promoter::Namespace;
use crate::selection::EXCLUDED;
use crate::take::{TakeError, Taking};
use crate::{naming, view};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use leeward_model::keys::{MADE_BY, RECOVERY_POINT, SNAPSHOT_GROUP};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// By which Velero (1.17 and later) knows claims that are to be taken together.
const VOLUME_GROUP: &str = "velero.io/volume-group";
/// Calls at once.
const AT_ONCE: usize = 8;

/// The groups of a namespace, and what is followed for them.
#[derive(Default)]
pub(crate) struct Groups {
    by_claim: OnceCell<HashMap<String, Arc<Group>>>,
    wholes: OnceCell<Followed>,
    /// All VolumeSnapshots of the namespace: those that the controller makes have no label.
    members: OnceCell<Followed>,
}

/// Claims that are taken together.
struct Group {
    /// What it is named after.
    stem: String,
    driver: String,
    class: String,
    claims: Vec<Member>,
    taken: OnceCell<Result<Taken, Arc<TakeError>>>,
}

struct Member {
    claim: Value,
    handle: String,
}

/// A group that is there and ready.
struct Taken {
    whole: Value,
    /// Its VolumeSnapshots, which need not be ready.
    snapshots: Vec<Value>,
}

/// The snapshot of `taking`'s claim out of its group, ready; `None` if the claim is in none.
pub(crate) async fn snapshot(taking: &Taking<'_>, namespace: &Namespace) -> Result<Option<Value>, TakeError> {
    let groups = namespace.groups.by_claim.get_or_try_init(|| read(taking, namespace)).await?;
    let name = view::name(taking.claim);
    let Some(group) = groups.get(name) else { return Ok(None) };
    // Whoever comes first takes it for all; what became of it, all are told.
    let take = || async { take(taking, namespace, group).await.map_err(Arc::new) };
    let taken = group.taken.get_or_init(take).await.as_ref().map_err(|e| TakeError::Together(Arc::clone(e)))?;
    let not_in = || TakeError::NotInGroup { claim: taking.of.clone(), group: title(&taken.whole) };
    let member = member(group, taken, name).ok_or_else(not_in)?;
    let snapshot = taking.awaited(&SNAPSHOTS, &namespace.groups.members, "", member).await?;
    // As on every snapshot that a backup takes; not our mark, for a group's members cannot be deleted by themselves.
    let labels =
        json!({"metadata": {"labels": {RECOVERY_POINT: taking.work.request.taken.as_str(), EXCLUDED: "true"}}});
    let patch = taking.cluster().patch(&SNAPSHOTS, Some(view::namespace(&snapshot)), view::name(&snapshot), &labels);
    patch.await.map_err(|e| taking.refused(e))?.ok_or_else(not_in).map(Some)
}

/// Which claims of the namespace are taken together, by each of their names.
async fn read(taking: &Taking<'_>, namespace: &Namespace) -> Result<HashMap<String, Arc<Group>>, TakeError> {
    let work = taking.work;
    let classes = &taking.cluster().settings().await.map_err(|e| taking.refused(e))?.group_snapshot_classes;
    if classes.is_empty() {
        return Ok(HashMap::new());
    }
    let machines = taking.machines(namespace).await?;
    let frozen = work.request.policy == Policy::TakeNow { frozen: true };
    let of = |claim: &Value| match machines.get(view::name(claim)) {
        // KubeVirt takes these.
        Some(_) if frozen => None,
        machine => match view::label(claim, VOLUME_GROUP) {
            Some(group) => Some(("group", group.to_owned())),
            None => machine.map(|machine| ("machine", machine.clone())),
        },
    };
    let here = work.foreseen.iter().filter(|claim| view::namespace(claim) == view::namespace(taking.claim));
    // One that is not bound would spoil it for all; by itself it has an error of its own.
    let here = here.filter(|claim| claim["status"]["phase"] == "Bound");
    let looks = here.filter_map(|claim| Some((claim, of(claim)?))).map(|(claim, of)| async move {
        let pv = view::text(claim, "/spec/volumeName").unwrap_or_default();
        let pv = taking.cluster().get(&VOLUMES, None, pv).await?;
        Ok::<_, ClusterError>(pv.map(|pv| (claim, of, pv)))
    });
    let found = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await;
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (claim, of, pv) in found.map_err(|e| taking.refused(e))?.into_iter().flatten() {
        let (driver, handle) = (view::text(&pv, "/spec/csi/driver"), view::text(&pv, "/spec/csi/volumeHandle"));
        if let (Some(driver), Some(handle)) = (driver, handle)
            && classes.contains_key(driver)
        {
            let member = Member { claim: claim.clone(), handle: handle.to_owned() };
            groups.entry((of, driver.to_owned())).or_default().push(member);
        }
    }
    let mut by_claim = HashMap::new();
    for (((kind, of), driver), mut claims) in groups.into_iter().filter(|(_, claims)| claims.len() > 1) {
        claims.sort_by(|a, b| view::name(&a.claim).cmp(view::name(&b.claim)));
        let class = classes[&driver].clone();
        let names: Vec<_> = claims.iter().map(|member| view::name(&member.claim).to_owned()).collect();
        let stem = stem(kind, &of, &driver);
        let group = Arc::new(Group { stem, driver, class, claims, taken: OnceCell::new() });
        by_claim.extend(names.into_iter().map(|name| (name, Arc::clone(&group))));
    }
    Ok(by_claim)
}

/// A name of the group that no other group has: a label's value may say what a name may not.
fn stem(kind: &str, of: &str, driver: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let readable: String = of.chars().map(plain).collect();
    format!("{readable}-{}", &naming::hash(&format!("{kind}/{of}/{driver}"))[..6])
}

/// Takes the group, or finds what an earlier attempt has begun, and waits until it is ready.
async fn take(taking: &Taking<'_>, namespace: &Namespace, group: &Group) -> Result<Taken, TakeError> {
    let titles: Vec<_> = group.claims.iter().map(|member| title(&member.claim)).collect();
    let taking = Taking { work: taking.work, claim: taking.claim, of: titles.join(", "), until: taking.until };
    let cluster = taking.cluster();
    let api = api(&taking, group).await?;
    let mut wanted = taking.marked(&api.snapshots, &group.stem, Value::Null);
    let mark = mark(&wanted);
    wanted["spec"] = json!({
        "volumeGroupSnapshotClassName": group.class, "source": {"selector": {"matchLabels": {&mark: "true"}}},
    });
    let taken = match label(&taking, group, api, &wanted, &mark).await {
        Ok(()) => taking.ready(&api.snapshots, &namespace.groups.wholes, &wanted).await,
        Err(source) => Err(taking.refused(source)),
    };
    if taken.is_err() {
        drop_unbegun(cluster, api, &wanted).await;
    }
    for member in &group.claims {
        if let Err(error) = unlabel(cluster, &member.claim, &mark).await {
            tracing::warn!("label {mark} stays on claim {} until a later backup: {error}", title(&member.claim));
        }
    }
    let whole = taken?;
    let all = cluster.list(&SNAPSHOTS, Some(view::namespace(&whole)), "").await.map_err(|e| taking.refused(e))?;
    let is_of_it = |snapshot: &Value| {
        let owners = snapshot["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == whole["metadata"]["uid"]))
    };
    let snapshots = all.into_iter().filter(is_of_it).collect();
    Ok(Taken { whole, snapshots })
}

/// The API, if it has the class that is to be used.
async fn api(taking: &Taking<'_>, group: &Group) -> Result<&'static GroupApi, TakeError> {
    let failed = |found: String| TakeError::GroupClass {
        claim: taking.of.clone(),
        driver: group.driver.clone(),
        class: group.class.clone(),
        found,
    };
    let Some(api) = taking.cluster().group_api().await.map_err(|e| taking.refused(e))? else {
        return Err(failed("this cluster does not serve VolumeGroupSnapshots (v1, v1beta2 or v1beta1)".to_owned()));
    };
    let class = taking.cluster().get(&api.classes, None, &group.class).await.map_err(|e| taking.refused(e))?;
    match class.as_ref().map(|class| view::text(class, "/driver").unwrap_or("(none)")) {
        Some(driver) if driver == group.driver => Ok(api),
        Some(other) => Err(failed(format!("that is of driver {other}"))),
        None => Err(failed("there is none of that name".to_owned())),
    }
}

/// The label, and annotation, of the claims that belong to `whole`.
fn mark(whole: &Value) -> String {
    format!("{SNAPSHOT_GROUP}{}", naming::hash(&title(whole)))
}

fn is_begun(whole: &Value) -> bool {
    view::text(whole, "/status/boundVolumeGroupSnapshotContentName").is_some()
}

/// Labels the claims, unless the group has its volumes already.
async fn label(
    taking: &Taking<'_>,
    group: &Group,
    api: &'static GroupApi,
    wanted: &Value,
    mark: &str,
) -> Result<(), ClusterError> {
    let cluster = taking.cluster();
    let existing = cluster.get(&api.snapshots, Some(view::namespace(wanted)), view::name(wanted)).await?;
    if existing.as_ref().is_some_and(is_begun) {
        return Ok(());
    }
    let marks = json!({"metadata": {"labels": {mark: "true"}, "annotations": {mark: taking.work.request.backup}}});
    let patch = |member: &Member| {
        let (namespace, name) = (view::namespace(&member.claim).to_owned(), view::name(&member.claim).to_owned());
        let marks = &marks;
        async move { cluster.patch(&CLAIMS, Some(&namespace), &name, marks).await }
    };
    let patches: Vec<_> = group.claims.iter().map(patch).collect();
    stream::iter(patches).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}

/// Takes both marks off the claim; it may be gone.
async fn unlabel(cluster: &Cluster, claim: &Value, mark: &str) -> Result<(), ClusterError> {
    let marks = json!({"metadata": {"labels": {mark: null}, "annotations": {mark: null}}});
    cluster.patch(&CLAIMS, Some(view::namespace(claim)), view::name(claim), &marks).await.map(drop)
}

/// Deletes a group that we made and that has no volumes yet. What goes wrong is logged: there is an error to be told already.
async fn drop_unbegun(cluster: &Cluster, api: &'static GroupApi, wanted: &Value) {
    let dropped = async {
        let existing = cluster.get(&api.snapshots, Some(view::namespace(wanted)), view::name(wanted)).await?;
        let ours = |whole: &Value| {
            view::label(whole, MADE_BY) == Some(PLUG_IN) && whole["spec"]["source"] == wanted["spec"]["source"]
        };
        match existing.filter(|whole| ours(whole) && !is_begun(whole)) {
            Some(whole) => cluster.delete(&api.snapshots, &whole).await,
            None => Ok(false),
        }
    };
    match dropped.await {
        Ok(true) => tracing::info!("deleted VolumeGroupSnapshot {}: nothing was taken", title(wanted)),
        Ok(false) => {}
        Err(error) => tracing::warn!("VolumeGroupSnapshot {} stays: {error}", title(wanted)),
    }
}

/// The group's snapshot of a claim. The controller leaves the claim's name out if several PersistentVolumes name the same
/// storage, as they do where a claim was recovered from its promoted volume; then the snapshot's own name tells.
fn member<'a>(group: &Group, taken: &'a Taken, claim: &str) -> Option<&'a Value> {
    let says = |snapshot: &&Value| view::text(snapshot, "/spec/source/persistentVolumeClaimName") == Some(claim);
    let named = || {
        let of = group.claims.iter().find(|member| view::name(&member.claim) == claim)?;
        let uid = view::text(&taken.whole, "/metadata/uid")?;
        let name = format!("snapshot-{}", naming::sha256(format!("{uid}{}", of.handle)));
        taken.snapshots.iter().find(|snapshot| view::name(snapshot) == name)
    };
    taken.snapshots.iter().find(says).or_else(named)
}

/// The marks of groups on a claim, with the Backups that need them.
fn marks(claim: &Value) -> Vec<(String, String)> {
    let annotations = claim["metadata"]["annotations"].as_object().into_iter().flatten();
    let ours = annotations.filter(|(key, _)| key.starts_with(SNAPSHOT_GROUP));
    ours.map(|(key, backup)| (key.clone(), backup.as_str().unwrap_or_default().to_owned())).collect()
}

/// The claim as it is stored: without marks of the moment.
pub(crate) fn unmark(claim: &mut Value) {
    for map in ["labels", "annotations"] {
        if let Some(map) = claim["metadata"].get_mut(map).and_then(Value::as_object_mut) {
            map.retain(|key, _| !key.starts_with(SNAPSHOT_GROUP));
        }
    }
}

/// Takes off what plug-ins that were killed have left on `claims`: marks of Backups that are over. What goes wrong is
/// logged: the backup at hand has nothing to do with it. Before the backup takes anything itself, for its groups may have the
/// same marks.
pub(crate) async fn tidy(cluster: &Cluster, claims: &[Value]) {
    for claim in claims {
        for (mark, backup) in marks(claim) {
            let tidied = async {
                let Some((namespace, name)) = backup.split_once('/') else { return Ok(()) };
                // Another Velero's cannot be seen.
                if namespace != cluster.namespace() {
                    return Ok(());
                }
                let of = cluster.get(&BACKUPS, Some(namespace), name).await?;
                match of.is_none_or(|backup| !backup["status"]["completionTimestamp"].is_null()) {
                    true => unlabel(cluster, claim, &mark).await,
                    false => Ok(()),
                }
            };
            if let Err(error) = tidied.await {
                tracing::warn!("label {mark} stays on claim {}: {error}", title(claim));
            }
        }
    }
}

#[cfg(test)]
#[path = "take_group_tests.rs"]
mod tests;
