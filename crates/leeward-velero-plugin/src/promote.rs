//! Which claim a snapshot is promoted to. Pure: from what was observed to what has to be there.
//!
//! Laws: a promoted claim is like the claim it comes from (access, mode, and class unless that one waits for a consumer) and
//! large enough for the snapshot; its name follows from claim and point, so that doing it again finds it; a claim that has
//! that name but is not it is never used.

use crate::policy::Policy;
use crate::selection::EXCLUDED;
use crate::{naming, quantity, view};
use leeward_model::keys::{GROUP, MADE_BY, PROMOTED_FROM, RECOVERY_POINT};
use leeward_model::name::PointId;
use serde_json::{Map, Value, json};

/// Value of [`MADE_BY`].
pub(crate) const PLUG_IN: &str = "velero-plugin";
const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";

/// A claim cannot be promoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PromoteError {
    #[error(
        "PersistentVolumeClaim {claim} has more than one VolumeSnapshot of recovery point {point} ({first}, {second}), and \
         only one of them can be its data; delete the wrong one or its label, then back up again [LW-0611]"
    )]
    TwoSnapshots { claim: String, point: PointId, first: String, second: String },
    #[error(
        "VolumeSnapshot {snapshot} of PersistentVolumeClaim {claim} has failed: {reason}; delete it, take a new recovery \
         point [LW-0612]"
    )]
    Failed { snapshot: String, claim: String, reason: String },
    #[error(
        "PersistentVolumeClaim {claim} cannot be promoted: neither it nor VolumeSnapshot {snapshot} has a size that can be \
         read ({found}) [LW-0613]"
    )]
    Size { claim: String, snapshot: String, found: String },
    #[error(
        "PersistentVolumeClaim {claim} has no VolumeSnapshot that could be promoted ({wanted}): {found}. Take one, have the \
         backup take it (annotation {key}: take-now), or leave the claim out with the annotation {key}: none on it [LW-0619]",
        key = leeward_model::keys::PROMOTE
    )]
    NoSnapshot { claim: String, wanted: String, found: String },
}

/// The snapshot that is a claim's data.
#[derive(Debug, PartialEq)]
pub(crate) enum Choice<'a> {
    /// The policy has none for this claim, and that is no fault.
    Nothing,
    Snapshot(&'a Value),
    /// It has to be taken.
    Take,
}

/// Whether a claim is itself the product of a promotion.
pub(crate) fn is_promoted(claim: &Value) -> bool {
    view::label(claim, PROMOTED_FROM).is_some()
}

/// Picks the snapshot of `claim` out of the namespace's `snapshots` that the policy looks at.
pub(crate) fn choose<'a>(policy: &Policy, snapshots: &'a [Value], claim: &Value) -> Result<Choice<'a>, PromoteError> {
    let name = view::name(claim);
    let of_claim =
        || snapshots.iter().filter(|s| view::text(s, "/spec/source/persistentVolumeClaimName") == Some(name));
    let wanted = match policy {
        Policy::None => return Ok(Choice::Nothing),
        Policy::TakeNow { .. } => return Ok(Choice::Take),
        Policy::Point(point) => {
            let mut found = of_claim();
            return match (found.next(), found.next()) {
                (None, _) => Ok(Choice::Nothing),
                (Some(snapshot), None) => Ok(Choice::Snapshot(snapshot)),
                (Some(first), Some(second)) => Err(PromoteError::TwoSnapshots {
                    claim: title(claim),
                    point: point.clone(),
                    first: view::name(first).to_owned(),
                    second: view::name(second).to_owned(),
                }),
            };
        }
        Policy::NewestReady => "the newest that is ready".to_owned(),
        Policy::Labels(selector) => format!("the newest that is ready and matches {selector}"),
    };
    let alive = |snapshot: &&Value| snapshot["metadata"]["deletionTimestamp"].is_null();
    let newest = of_claim().filter(alive).filter(|s| s["status"]["readyToUse"] == true).max_by_key(|s| taken_at(s));
    newest.map(Choice::Snapshot).ok_or_else(|| {
        let found: Vec<_> = of_claim().map(view::name).collect();
        let found = if found.is_empty() { "it has none".to_owned() } else { format!("{} not ready", found.join(", ")) };
        PromoteError::NoSnapshot { claim: title(claim), wanted, found }
    })
}

/// When its data was cut; RFC 3339 in UTC, so it compares as text.
fn taken_at(snapshot: &Value) -> &str {
    ["/status/creationTime", "/metadata/creationTimestamp"]
        .iter()
        .find_map(|pointer| view::text(snapshot, pointer))
        .unwrap_or_default()
}

/// The point that a snapshot belongs to: its label, else one of its own.
pub(crate) fn point_of(snapshot: &Value) -> String {
    view::label(snapshot, RECOVERY_POINT).and_then(|point| PointId::parse(point).ok()).map_or_else(
        || {
            let identity = view::text(snapshot, "/metadata/uid").map_or_else(|| title(snapshot), str::to_owned);
            format!("s-{}", naming::hash(&identity))
        },
        |point| point.as_str().to_owned(),
    )
}

/// What the plug-in writes on everything it makes for `claim` and `backup`.
pub(crate) fn marks(point: &str, backup: &str) -> (Map<String, Value>, Map<String, Value>) {
    let labels = [
        (RECOVERY_POINT, point),
        (MADE_BY, PLUG_IN),
        // A later backup of the namespace must not take it along; this one names it.
        (EXCLUDED, "true"),
    ];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    (labels, Map::from_iter([(naming::used_by(backup), backup.into())]))
}

/// The claim that holds `snapshot`'s data, in the storage class `class`.
pub(crate) fn promoted(
    claim: &Value,
    snapshot: &Value,
    class: Option<&str>,
    policy: &Policy,
    backup: &str,
) -> Result<Value, PromoteError> {
    if let Some(error) = snapshot.pointer("/status/error").filter(|e| !e.is_null())
        && snapshot["status"]["readyToUse"] != true
    {
        let reason = view::text(error, "/message").unwrap_or("no reason given").to_owned();
        return Err(PromoteError::Failed { snapshot: view::name(snapshot).to_owned(), claim: title(claim), reason });
    }
    let (name, point) = (view::name(claim), point_of(snapshot));
    let (mut labels, mut annotations) = marks(&point, backup);
    labels.insert(PROMOTED_FROM.to_owned(), naming::label_value(name).into());
    annotations.insert(PROMOTED_FROM.to_owned(), name.into());
    // The group's own cycles remove what has their label; what a plain backup made is not theirs.
    if let (Policy::Point(_), Some(group)) = (policy, view::label(snapshot, GROUP)) {
        labels.insert(GROUP.to_owned(), group.into());
    }
    let mut spec = Map::new();
    for field in ["accessModes", "volumeMode"] {
        if let Some(value) = claim["spec"].get(field) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(class) = class {
        spec.insert("storageClassName".to_owned(), class.into());
    }
    spec.insert("resources".to_owned(), json!({"requests": {"storage": size(claim, snapshot)?}}));
    spec.insert(
        "dataSource".to_owned(),
        json!({"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": view::name(snapshot)}),
    );
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": view::namespace(claim), "name": naming::made_from(name, &point), "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    }))
}

/// The larger of what the claim asked for and what the snapshot needs.
fn size(claim: &Value, snapshot: &Value) -> Result<String, PromoteError> {
    let asked = view::text(claim, "/spec/resources/requests/storage");
    let needed = view::text(snapshot, "/status/restoreSize");
    [asked, needed]
        .into_iter()
        .flatten()
        .filter_map(|text| Some((quantity::bytes(text)?, text)))
        .max_by_key(|(bytes, _)| *bytes)
        .map(|(_, text)| text.to_owned())
        .ok_or_else(|| PromoteError::Size {
            claim: title(claim),
            snapshot: view::name(snapshot).to_owned(),
            found: format!("{} and {}", asked.unwrap_or("nothing"), needed.unwrap_or("nothing")),
        })
}

/// Whether `existing` is the claim that `wanted` would be: then it was made by an earlier attempt and is used again.
pub(crate) fn is_same(existing: &Value, wanted: &Value) -> bool {
    let of = |claim: &Value| {
        let source = &claim["spec"]["dataSource"];
        [RECOVERY_POINT, PROMOTED_FROM]
            .map(|key| view::label(claim, key).map(str::to_owned))
            .into_iter()
            .chain([view::text(source, "/kind").map(str::to_owned), view::text(source, "/name").map(str::to_owned)])
            .collect::<Vec<_>>()
    };
    of(existing) == of(wanted)
}

/// What is going on with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Bound,
    Waiting,
    /// Its volume is gone; it will not come back.
    Lost,
    /// Deleted, or being deleted.
    Gone,
}

/// Reads a claim's state; `None` if it is not there.
pub(crate) fn state(claim: Option<&Value>) -> State {
    let Some(claim) = claim else { return State::Gone };
    if !claim["metadata"]["deletionTimestamp"].is_null() {
        return State::Gone;
    }
    match claim["status"]["phase"].as_str() {
        Some("Bound") => State::Bound,
        Some("Lost") => State::Lost,
        _ => State::Waiting,
    }
}

/// The text of the event that tells most: the newest warning, else the newest of any kind. The claim controller repeats
/// "waiting for a volume to be created" beside the provisioner's own complaints.
pub(crate) fn telling(events: &[Value]) -> Option<String> {
    let at = |event: &Value| {
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
            .iter()
            .find_map(|pointer| view::text(event, pointer))
            .unwrap_or_default()
            .to_owned()
    };
    let event = events.iter().max_by_key(|event| (event["type"] == "Warning", at(event)))?;
    let reason = view::text(event, "/reason").unwrap_or("event");
    Some(format!("{reason}: {}", view::text(event, "/message").unwrap_or("(no message)").trim()))
}

/// `namespace/name`.
pub(crate) fn title(object: &Value) -> String {
    format!("{}/{}", view::namespace(object), view::name(object))
}

#[cfg(test)]
#[path = "promote_tests.rs"]
mod tests;
