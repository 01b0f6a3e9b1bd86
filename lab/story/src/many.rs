//! Many volumes at once, made by hand, for restores.

use anyhow::{Result, ensure};
use kube::api::ListParams;
use leeward_lab::{CLASS, Cluster, DRIVER, Site};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// On everything that is made here.
const LABEL: &str = "lab.leeward.io/many";
/// Time for a thousand objects, on two cores that also run two clusters.
const LIMIT: Duration = Duration::from_secs(300);

fn labels() -> Value {
    json!({LABEL: "true"})
}

fn selected() -> ListParams {
    ListParams::default().labels(LABEL)
}

/// A PersistentVolume of the lab's CSI driver that nobody has provisioned: its storage is a directory's name, and is not
/// looked at before a pod mounts it. Its policy is `Retain`, so that Velero restores it as it is.
fn volume(site: Site, namespace: &str, number: usize) -> Value {
    let (name, server, share) = (format!("{namespace}-{number:04}"), site.address().to_string(), site.share());
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": labels(), "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": CLASS,
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name},
            "csi": {
                "driver": DRIVER, "volumeHandle": format!("{server}#{}#{name}##", share.trim_start_matches('/')),
                "volumeAttributes": {"server": server, "share": share, "subdir": name},
            },
        },
    })
}

/// Makes that many PersistentVolumes by hand.
///
/// # Errors
/// The API server refuses one.
pub async fn make_volumes(cluster: &Cluster, site: Site, namespace: &str, count: usize) -> Result<()> {
    let volumes: Vec<_> = (0..count).map(|number| volume(site, namespace, number)).collect();
    cluster.apply_all(&volumes).await
}

/// How many of those volumes are at a site, by the server that they point at.
///
/// # Errors
/// The API server refuses.
pub async fn volumes_by_server(cluster: &Cluster) -> Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for volume in cluster.api("v1", "PersistentVolume", None).list(&selected()).await? {
        let server = volume.data.pointer("/spec/csi/volumeAttributes/server").and_then(Value::as_str);
        *found.entry(server.unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(found)
}

/// Deletes those volumes at a site, and waits until they are gone.
///
/// # Errors
/// Some stay.
pub async fn clear_volumes(cluster: &Cluster) -> Result<()> {
    let volumes = cluster.api("v1", "PersistentVolume", None);
    volumes.delete_collection(&Default::default(), &selected()).await?;
    let began = Instant::now();
    // The controller-manager takes a finalizer off each: a list of names now and then is cheaper than a thousand events.
    while !volumes.list_metadata(&selected()).await?.items.is_empty() {
        ensure!(began.elapsed() < LIMIT, "PersistentVolumes do not go away");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
