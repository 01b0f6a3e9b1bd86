//! What a site's cluster holds before anybody uses it: custom resources and the lab's own objects.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::cluster::Cluster;
use crate::place::Site;
use crate::velero;

/// Reads CRDs out of YAML files of many documents. Descriptions are left out: they are two thirds of KubeVirt's 4 MB,
/// and an API server takes seconds to store them and to publish them.
pub(crate) async fn read_crds(files: &[PathBuf]) -> Result<Vec<Value>> {
    let reads: Vec<_> = files
        .iter()
        .cloned()
        .map(|file| {
            spawn_blocking(move || -> Result<Vec<Value>> {
                let text = fs_err::read_to_string(&file)?;
                let mut crds = Vec::new();
                // Document by document: one parser run over all of them would have to keep everything.
                for document in documents(&text) {
                    let mut crd: Value =
                        serde_saphyr::from_str(document).with_context(|| format!("reading {}", file.display()))?;
                    strip_descriptions(&mut crd);
                    crds.push(crd);
                }
                Ok(crds)
            })
        })
        .collect();
    let mut crds = Vec::new();
    for read in reads {
        crds.extend(read.await??);
    }
    Ok(crds)
}

fn documents(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n---\n").map(|document| document.trim_start_matches("---\n")).filter(|text| !text.trim().is_empty())
}

/// Removes the descriptions of a schema, but no *property* of that name.
fn strip_descriptions(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("description").is_some_and(Value::is_string) {
                map.remove("description");
            }
            map.values_mut().for_each(strip_descriptions);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_descriptions),
        _ => {}
    }
}

/// Applies CRDs and waits until each is served.
pub(crate) async fn apply_crds(cluster: &Cluster, crds: &[Value]) -> Result<()> {
    cluster.apply_all(crds).await?;
    let api = cluster.api("apiextensions.k8s.io/v1", "CustomResourceDefinition", None);
    for crd in crds {
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        cluster
            .wait(&api, name, Duration::from_secs(30), "kube-apiserver", |crd| condition(crd, "Established"))
            .await?;
    }
    Ok(())
}

/// Whether a condition of an object is `True`.
pub fn condition(object: &Value, kind: &str) -> bool {
    object.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
    })
}

/// Namespaces.
pub(crate) fn namespaces() -> Vec<Value> {
    let namespace = |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    [velero::NAMESPACE, "kubevirt"].map(namespace).to_vec()
}

/// Everything else, in no order.
pub(crate) fn objects(site: Site) -> Vec<Value> {
    vec![
        // Each restore looks for Velero's own Deployment and ends PartiallyFailed without it.
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "velero", "namespace": velero::NAMESPACE },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "deploy": "velero" } },
                "template": {
                    "metadata": { "labels": { "deploy": "velero" } },
                    "spec": { "containers": [{ "name": "velero", "image": "leeward.io/lab/velero" }] },
                },
            },
        }),
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": { "name": "default", "namespace": velero::NAMESPACE },
            "spec": {
                "provider": "aws",
                "default": true,
                "accessMode": "ReadWrite",
                "objectStorage": { "bucket": velero::BUCKET, "prefix": velero::PREFIX },
                "config": { "s3Url": velero::s3_url(), "s3ForcePathStyle": "true", "region": "us-east-1" },
            },
        }),
        json!({
            "apiVersion": "kubevirt.io/v1",
            "kind": "KubeVirt",
            "metadata": { "name": "kubevirt", "namespace": "kubevirt" },
            "spec": { "configuration": { "developerConfiguration": { "useEmulation": true } } },
        }),
        json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": { "name": DRIVER },
            "spec": { "attachRequired": false, "volumeLifecycleModes": ["Persistent"] },
        }),
        json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": { "name": CLASS },
            "provisioner": DRIVER,
            "parameters": { "server": site.address().to_string(), "share": site.share() },
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        }),
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotClass",
            "metadata": { "name": CLASS, "labels": { "velero.io/csi-volumesnapshot-class": "true" } },
            "driver": DRIVER,
            "deletionPolicy": "Delete",
        }),
        json!({
            "apiVersion": "groupsnapshot.storage.k8s.io/v1",
            "kind": "VolumeGroupSnapshotClass",
            "metadata": { "name": CLASS },
            "driver": DRIVER,
            "deletionPolicy": "Delete",
        }),
    ]
}

/// The CSI driver's name.
pub const DRIVER: &str = "nfs.csi.k8s.io";
/// The name of the StorageClass, of the VolumeSnapshotClass and of the VolumeGroupSnapshotClass.
pub const CLASS: &str = "nfs-csi";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_go_and_properties_of_that_name_stay() {
        let mut schema = json!({
            "description": "a thing",
            "properties": { "description": { "type": "string", "description": "what it is" } },
        });
        strip_descriptions(&mut schema);
        assert_eq!(schema, json!({ "properties": { "description": { "type": "string" } } }));
    }

    #[test]
    fn documents_are_told_apart() {
        assert_eq!(documents("---\na: 1\n---\nb: |\n  x---\n").collect::<Vec<_>>(), ["a: 1", "b: |\n  x---\n"]);
    }
}
