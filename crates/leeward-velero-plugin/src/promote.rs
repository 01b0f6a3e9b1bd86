//! Which claims a recovery point's snapshots are promoted to. Pure: from what was observed to what has to be there.
//!
//! Laws: a promoted claim is like the claim it comes from (class, access, mode) and large enough for the snapshot; its name
//! follows from claim and point, so that doing it again finds it; a claim that has that name but is not it is never used.

use crate::{quantity, view};
use leeward_model::keys::{GROUP, PROMOTED_FROM, PROMOTION_DEADLINE, RECOVERY_POINT};
use leeward_model::name::{InvalidName, PointId};
use serde_json::{Map, Value, json};
use std::time::Duration;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);
const MAX_DEADLINE_SECONDS: u64 = 24 * 3600;
/// What a label's value may be long.
const MAX_LABEL: usize = 63;
const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";

/// What a backup asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) point: PointId,
    pub(crate) deadline: Duration,
}

/// A claim's snapshot and the claim that has to be made from it.
#[derive(Debug)]
pub(crate) struct Promotion {
    /// The claim whose data it is.
    pub(crate) claim: String,
    pub(crate) snapshot: String,
    /// The promoted claim, or why there cannot be one.
    pub(crate) promoted: Result<Value, PromoteError>,
}

/// A snapshot cannot become a claim.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PromoteError {
    #[error("the Backup's annotation {RECOVERY_POINT} does not name a recovery point; correct it [LW-0610]")]
    Point(#[source] InvalidName),
    #[error(
        "the Backup's annotation {PROMOTION_DEADLINE} is {0:?}; give whole seconds between 1 and {MAX_DEADLINE_SECONDS} [LW-0610]"
    )]
    Deadline(String),
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
        "PersistentVolumeClaim {claim} cannot be promoted: its name is longer than the {MAX_LABEL} characters that a label \
         can hold; give the disk a shorter name [LW-0613]"
    )]
    LongName { claim: String },
    #[error(
        "PersistentVolumeClaim {claim} cannot be promoted: neither it nor VolumeSnapshot {snapshot} has a size that can be \
         read ({found}) [LW-0613]"
    )]
    Size { claim: String, snapshot: String, found: String },
}

/// What this backup asks for; `None` if it takes no recovery point.
pub(crate) fn request(backup: &Value) -> Result<Option<Request>, PromoteError> {
    let Some(point) = view::annotation(backup, RECOVERY_POINT) else { return Ok(None) };
    let point = PointId::parse(point).map_err(PromoteError::Point)?;
    let deadline = match view::annotation(backup, PROMOTION_DEADLINE) {
        None => DEFAULT_DEADLINE,
        Some(text) => match text.parse() {
            Ok(seconds @ 1..=MAX_DEADLINE_SECONDS) => Duration::from_secs(seconds),
            _ => return Err(PromoteError::Deadline(text.to_owned())),
        },
    };
    Ok(Some(Request { point, deadline }))
}

/// Whether a claim is itself the product of a promotion.
pub(crate) fn is_promoted(claim: &Value) -> bool {
    view::label(claim, PROMOTED_FROM).is_some()
}

/// The promotions that `point` needs, out of the namespace's `snapshots` of this point and its `claims`. Second, the
/// snapshots that belong to no claim that is there: (snapshot, claim it names, if any).
pub(crate) fn plan(snapshots: &[Value], claims: &[Value], point: &PointId) -> (Vec<Promotion>, Vec<(String, String)>) {
    let mut promotions: Vec<Promotion> = Vec::new();
    let mut orphans = Vec::new();
    for snapshot in snapshots {
        let of = view::text(snapshot, "/spec/source/persistentVolumeClaimName").unwrap_or("(none)");
        let Some(claim) = claims.iter().find(|claim| view::name(claim) == of) else {
            orphans.push((view::name(snapshot).to_owned(), of.to_owned()));
            continue;
        };
        if let Some(other) = promotions.iter_mut().find(|p| p.claim == of) {
            other.promoted = Err(PromoteError::TwoSnapshots {
                claim: title(claim),
                point: point.clone(),
                first: other.snapshot.clone(),
                second: view::name(snapshot).to_owned(),
            });
            continue;
        }
        promotions.push(Promotion {
            claim: of.to_owned(),
            snapshot: view::name(snapshot).to_owned(),
            promoted: promoted(claim, snapshot, point),
        });
    }
    (promotions, orphans)
}

/// The claim that holds `snapshot`'s data.
fn promoted(claim: &Value, snapshot: &Value, point: &PointId) -> Result<Value, PromoteError> {
    let name = view::name(claim);
    if name.len() > MAX_LABEL {
        return Err(PromoteError::LongName { claim: title(claim) });
    }
    if let Some(error) = snapshot.pointer("/status/error").filter(|e| !e.is_null())
        && snapshot["status"]["readyToUse"] != true
    {
        let reason = view::text(error, "/message").unwrap_or("no reason given").to_owned();
        return Err(PromoteError::Failed { snapshot: view::name(snapshot).to_owned(), claim: title(claim), reason });
    }
    let mut labels = Map::new();
    labels.insert(RECOVERY_POINT.to_owned(), point.as_str().into());
    labels.insert(PROMOTED_FROM.to_owned(), name.into());
    if let Some(group) = view::label(snapshot, GROUP) {
        labels.insert(GROUP.to_owned(), group.into());
    }
    let mut spec = Map::new();
    for field in ["storageClassName", "accessModes", "volumeMode"] {
        if let Some(value) = claim["spec"].get(field) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    spec.insert("resources".to_owned(), json!({"requests": {"storage": size(claim, snapshot)?}}));
    spec.insert(
        "dataSource".to_owned(),
        json!({"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": view::name(snapshot)}),
    );
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": view::namespace(claim), "name": format!("{name}-{point}"), "labels": labels},
        "spec": spec,
    }))
}

/// The larger of what the claim asked for and what the snapshot needs. A snapshot that is not ready yet may not know.
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
    of(existing) == of(wanted) && existing["metadata"]["deletionTimestamp"].is_null()
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
