//! The `Backup` object by which a site's Velero knows a backup that another site made.
//!
//! Velero finds the other site's backups by itself, but only on a clock: its sync controller ignores every event (its watch
//! of `BackupStorageLocation`s is filtered to nothing) and wakes once a minute, and as it measures the period from the *end*
//! of its last sync, it may skip every other one. Neither `backupSyncPeriod` nor a changed location wakes it sooner. So
//! that staging does not wait up to two minutes for nothing, Leeward does for one named backup what that controller would
//! do next: 0.1 s instead of 32 to 48 s where it was measured (Velero 1.18.2), with the same object. What makes it safe:
//!
//! - **It is the same object.** [`synced`] takes `velero-backup.json` from the bucket and changes what the sync controller
//!   changes: namespace, storage location (field and label), no resource version, no owners. The uid and the times
//!   are the API server's. Whoever is first makes it; the other finds it and goes on (the controller logs "already exists").
//! - **Only when the controller would.** A backup that is not at its end yet is left alone, and so is all while the location
//!   is not `Available`.
//! - **Only when nothing else belongs to it.** The controller also makes `PodVolumeBackup`s, and a backup with asynchronous
//!   work has its archive replaced after its description. Leeward's backups have neither; one that has is left to Velero.
//! - **It is never mistaken for an order.** A `Backup` without phase is one that Velero would *run*. Velero's CRD has no
//!   status subresource, so the phase is stored at creation; a dry run proves that before the object is made.
//! - **Velero keeps house as before.** The object carries the location's label, so Velero deletes it when the files go. A
//!   sync that had listed the bucket just before the backup arrived deletes it at once, as it may delete any just finished
//!   backup; `restore` notices that and brings it again.

use crate::phase::number;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// What a stored `Backup` is to this site.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// At its end: its phase, and the object to create here.
    Final {
        /// Velero's phase: `Completed`, `PartiallyFailed`, `Failed`.
        phase: String,
        /// The object.
        object: Value,
    },
    /// The other site's Velero still works on it: its phase.
    Unfinished(String),
    /// Velero has to bring it itself: why.
    LeftToVelero(String),
    /// It is not the description of that backup: why.
    Wrong(String),
}

/// Label that Velero puts on each backup of a location.
const LOCATION_LABEL: &str = "velero.io/storage-location";

/// The API server's own, or valid only where it was written.
const LEFT_BEHIND: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    // The sync controller keeps a Schedule of the same uid, which no other cluster has.
    "ownerReferences",
];

/// What `stored` (the content of `velero-backup.json`) is to a site whose Velero runs in `namespace` with `location`.
#[must_use]
pub fn synced(stored: &Value, name: &str, namespace: &str, location: &str) -> Stored {
    let text = |pointer: &str| stored.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if (text("/apiVersion"), text("/kind")) != ("velero.io/v1", "Backup") {
        return Stored::Wrong("it is not a velero.io/v1 Backup".to_owned());
    }
    if text("/metadata/name") != name {
        return Stored::Wrong(format!("it describes backup {:?}", text("/metadata/name")));
    }
    let phase = text("/status/phase");
    if !matches!(phase, "Completed" | "PartiallyFailed" | "Failed") {
        return Stored::Unfinished(phase.to_owned());
    }
    if number(stored, "backupItemOperationsAttempted") > 0 {
        return Stored::LeftToVelero("plug-ins worked on after it was written".to_owned());
    }
    let mut object = stored.clone();
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Stored::Wrong("it has no metadata".to_owned());
    };
    for field in LEFT_BEHIND {
        metadata.remove(*field);
    }
    metadata.insert("namespace".to_owned(), json!(namespace));
    let labels = metadata.entry("labels").or_insert(Value::Null);
    if !labels.is_object() {
        *labels = Value::Object(Map::new());
    }
    labels[LOCATION_LABEL] = json!(label_value(location));
    if !object["spec"].is_object() {
        return Stored::Wrong("it has no spec".to_owned());
    }
    object["spec"]["storageLocation"] = json!(location);
    Stored::Final { phase: phase.to_owned(), object }
}

/// Velero's `label.GetValidName`: a label's value holds 63 characters, a location's name 253.
pub(crate) fn label_value(name: &str) -> String {
    if name.len() <= 63 {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    // Names of Kubernetes objects are ASCII.
    format!("{}{hash}", name.get(..57).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Value {
        json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "name": "shop-rp-1", "namespace": "velero", "uid": "u", "resourceVersion": "42", "generation": 6,
                "creationTimestamp": "2026-11-22T18:05:01Z", "managedFields": [{}],
                "ownerReferences": [{ "kind": "Schedule", "name": "s", "uid": "o" }],
                "labels": { "leeward.io/group": "shop", "velero.io/storage-location": "default" },
                "annotations": { "leeward.io/recovery-point": "rp-1" },
            },
            "spec": { "storageLocation": "default", "ttl": "720h0m0s", "hooks": {}, "labelSelector": null, "newer": [1] },
            "status": { "phase": "Completed", "version": 1, "formatVersion": "1.1.0", "expiration": "2026-12-22T18:05:01Z" },
        })
    }

    #[test]
    fn is_the_object_that_veleros_sync_makes() {
        let Stored::Final { phase, object } = synced(&stored(), "shop-rp-1", "openshift-adp", "dpa-1") else {
            panic!()
        };
        assert_eq!(phase, "Completed");
        insta::assert_json_snapshot!(object);
    }

    #[test]
    fn an_unfinished_backup_is_not_brought() {
        for phase in ["", "New", "InProgress", "WaitingForPluginOperations", "Finalizing", "FinalizingPartiallyFailed"]
        {
            let mut backup = stored();
            backup["status"]["phase"] = json!(phase);
            assert_eq!(synced(&backup, "shop-rp-1", "velero", "default"), Stored::Unfinished(phase.to_owned()));
        }
    }

    #[test]
    fn asynchronous_work_is_left_to_velero() {
        let mut backup = stored();
        backup["status"]["backupItemOperationsAttempted"] = json!(1);
        assert!(matches!(synced(&backup, "shop-rp-1", "velero", "default"), Stored::LeftToVelero(_)));
    }

    #[test]
    fn another_backups_description_is_refused() {
        let wrong = |backup: &Value, name| matches!(synced(backup, name, "velero", "default"), Stored::Wrong(_));
        assert!(wrong(&stored(), "shop-rp-2"));
        assert!(wrong(&json!({}), ""));
        let mut backup = stored();
        backup["kind"] = json!("Restore");
        assert!(wrong(&backup, "shop-rp-1"));
        backup = stored();
        backup["spec"] = Value::Null;
        assert!(wrong(&backup, "shop-rp-1"));
    }

    #[test]
    fn a_long_location_is_labelled_as_velero_labels_it() {
        assert_eq!(label_value("default"), "default");
        // The example in Velero's own test of label.GetValidName.
        let long = "this_is_a_very_long_label_value_that_will_be_rejected_by_Kubernetes";
        assert_eq!(label_value(long), "this_is_a_very_long_label_value_that_will_be_rejected_by_8d0722");
        assert_eq!(label_value(long).len(), 63);
    }
}
