//! What Execute is given: objects of a usual size.

use crate::stand_in::disk_id;
use leeward_model::keys::SITE;
use serde_json::{Value, json};

/// Bytes of an item, as JSON: of a PV that csi-provisioner made and a claim is bound to, with all that three programs have
/// noted of it in `managedFields`.
pub(super) const BYTES: usize = 3072;

/// A PV of csi-driver-nfs.
pub(super) fn volume(server: &str, share: &str, claim: Option<&str>) -> Value {
    let site = if share == "/export" { "east" } else { "west" };
    let mut pv = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "pvc-1", "annotations": {SITE: site, "pv.kubernetes.io/provisioned-by": "nfs.csi.k8s.io"}},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "nfs-csi", "volumeMode": "Filesystem",
            "csi": {
                "driver": "nfs.csi.k8s.io", "volumeHandle": format!("{server}#{}#pvc-1##", share.trim_start_matches('/')),
                "volumeAttributes": {"server": server, "share": share, "subdir": "pvc-1"},
            },
        },
    });
    if let Some(claim) = claim {
        pv["spec"]["claimRef"] =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": claim});
    }
    padded(pv)
}

/// East's PV on a disk of a block array.
pub(super) fn disk(number: usize) -> Value {
    padded(json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": format!("disk-{number}"), "annotations": {SITE: "east"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "", "volumeMode": "Block",
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "db-data",
            },
            "fc": {"wwids": [disk_id("east", number)]},
        },
    }))
}

pub(super) fn snapshot_class() -> Value {
    padded(json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
        "metadata": {"name": "nfs-csi", "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": "nfs.csi.k8s.io", "deletionPolicy": "Delete",
    }))
}

/// A Backup or Restore as Velero sends it with each item.
pub(super) fn run(kind: &str) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": kind,
        "metadata": {
            "name": "bench", "namespace": "velero", "uid": "5a53c1b5-7a6c-43f3-a9cd-3bb0e7a76a30",
            "resourceVersion": "48211", "generation": 5, "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"example.io/ticket": "CHG-00123"}, "finalizers": ["restores.velero.io/external-resources-finalizer"],
            "managedFields": fields(&["spec", "status", "metadata"]),
        },
        "spec": {
            "backupName": "bench", "includedNamespaces": ["shop"], "includeClusterResources": true,
            "excludedResources": [
                "nodes", "events", "events.events.k8s.io", "backups.velero.io", "restores.velero.io", "resticrepositories.velero.io",
                "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io", "backuprepositories.velero.io",
            ],
            "hooks": {}, "itemOperationTimeout": "4h0m0s", "snapshotVolumes": false, "ttl": "720h0m0s",
        },
        "status": {"phase": "InProgress", "startTimestamp": "2026-01-01T00:00:01Z", "progress": {"itemsRestored": 10, "totalItems": 1000}},
    })
}

/// What the API server notes of who has set what.
fn fields(of: &[&str]) -> Value {
    let field = |name: &&str| {
        json!({
            "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "csi-provisioner", "operation": "Update",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {format!("f:{name}"): {
                "f:accessModes": {}, "f:capacity": {".": {}, "f:storage": {}},
                "f:claimRef": {".": {}, "f:apiVersion": {}, "f:kind": {}, "f:name": {}, "f:namespace": {}, "f:uid": {}},
                "f:csi": {".": {}, "f:driver": {}, "f:volumeHandle": {}, "f:volumeAttributes": {".": {}, "f:server": {}, "f:share": {}}},
            }},
        })
    };
    of.iter().map(field).collect()
}

/// Exactly [`BYTES`] long as JSON, by what is usual in such objects: managed fields, then annotations.
fn padded(mut object: Value) -> Value {
    object["metadata"]["uid"] = "0a4cf6c3-4a5b-4f3c-9e49-6d3c83f5a7ee".into();
    object["metadata"]["managedFields"] = fields(&["metadata", "spec", "status"]);
    for n in 0.. {
        let missing = BYTES.saturating_sub(object.to_string().len());
        let key = format!("bench.leeward.io/padding-{n:02}");
        // Quotes, colon and comma.
        let around = key.len() + 6;
        if missing < around {
            break;
        }
        let rest = missing - around;
        // The last one takes what would be too little for another.
        let length = if rest < 2 * 120 { rest } else { 120 };
        object["metadata"]["annotations"][key] = "x".repeat(length).into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_as_long_as_the_table_says() {
        for object in [
            volume("10.77.0.1", "/export", Some("db-data")),
            volume("10.77.0.2", "/vault", None),
            snapshot_class(),
            disk(9999),
        ] {
            assert_eq!(object.to_string().len(), BYTES);
        }
    }
}
