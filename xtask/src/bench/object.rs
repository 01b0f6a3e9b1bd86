//! What Execute is given: objects of a usual size.

use super::stand_in::disk_id;
use leeward_model::keys::SITE;
use serde_json::{Value, json};

/// Bytes of an object, as JSON.
pub(super) const BYTES: usize = 2048;

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

/// Exactly [`BYTES`] long as JSON, by annotations of a usual size.
fn padded(mut object: Value) -> Value {
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
