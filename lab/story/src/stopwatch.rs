//! Velero's Backups and Restores with a stopwatch: what it says of times itself is in whole seconds.

use crate::velero::ENDS;
use anyhow::{Context, Result, ensure};
use kube::api::{Api, DynamicObject};
use kube::runtime::wait::await_condition;
use leeward_lab::Cluster;
use leeward_lab::velero::NAMESPACE;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A Backup or Restore that Velero has carried out.
#[derive(Debug)]
pub struct Run {
    /// From its creation until Velero has been through all items. What follows waits for Velero's own timers.
    pub items: Duration,
    /// From its creation to its last phase.
    pub whole: Duration,
    /// As it is in the end.
    pub object: Value,
}

/// What annotations, labels and spec a run has.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Annotations, an object.
    pub annotations: Value,
    /// Its spec.
    pub spec: Value,
}

/// Velero's phases in which it goes through the items, or has not begun to.
const BEFORE: [&str; 5] = ["", "New", "Queued", "ReadyToStart", "InProgress"];

fn phase(object: Option<&DynamicObject>) -> &str {
    object.and_then(|object| object.data.pointer("/status/phase")).and_then(Value::as_str).unwrap_or_default()
}

/// Has Velero carry out a Backup or Restore.
///
/// # Errors
/// It does not end as `Completed` within `limit`.
pub async fn run(cluster: &Cluster, kind: &str, name: &str, wanted: &Wanted, limit: Duration) -> Result<Run> {
    let api = cluster.api("velero.io/v1", kind, Some(NAMESPACE));
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": kind,
        "metadata": {"namespace": NAMESPACE, "name": name, "annotations": wanted.annotations},
        "spec": wanted.spec,
    }))?;
    let begin = Instant::now();
    api.create(&Default::default(), &object).await.with_context(|| format!("creating {kind} {name}"))?;
    let reaches = async |what: &str, reached: fn(&str) -> bool| {
        let condition = move |object: Option<&DynamicObject>| reached(phase(object));
        let waiting = tokio::time::timeout(limit, seen(&api, name, condition));
        let object = waiting.await.with_context(|| format!("{kind} {name} has not {what} within {limit:?}"))?;
        Ok::<_, anyhow::Error>((begin.elapsed(), object))
    };
    let (items, _) = reaches("been through its items", |phase| !BEFORE.contains(&phase)).await?;
    let (whole, object) = reaches("ended", |phase| ENDS.contains(&phase)).await?;
    ensure!(phase(object.as_ref()) == "Completed", "{kind} {name} ended as {}: {object:?}", phase(object.as_ref()));
    Ok(Run { items, whole, object: serde_json::to_value(object)? })
}

/// Waits until a site's Velero has seen a backup of the other.
///
/// # Errors
/// It does not within `limit`; Velero looks once a minute.
pub async fn synced(cluster: &Cluster, backup: &str, limit: Duration) -> Result<()> {
    let api = cluster.api("velero.io/v1", "Backup", Some(NAMESPACE));
    let there = |object: Option<&DynamicObject>| object.is_some();
    tokio::time::timeout(limit, seen(&api, backup, there))
        .await
        .with_context(|| format!("Backup {backup} does not arrive"))?;
    Ok(())
}

/// Waits for a condition by watches: one that is silent for as long as the client waits for an answer (30 s) ends with an error,
/// and Velero may do nothing for a minute.
async fn seen(
    api: &Api<DynamicObject>,
    name: &str,
    condition: impl Fn(Option<&DynamicObject>) -> bool + Copy,
) -> Option<DynamicObject> {
    loop {
        match await_condition(api.clone(), name, condition).await {
            Ok(object) => return object,
            Err(error) => eprintln!("watching {name} again: {error}"),
        }
    }
}
