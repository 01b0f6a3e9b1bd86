//! What the tests of this crate share: mappings, volumes and generators.

use crate::mapping::Mapping;
use crate::name::SiteName;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

pub(crate) fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

/// East 10.77.0.1:/export, west 10.77.0.2:/vault; class `gold` is `fast` in the west.
pub(crate) fn nas() -> Mapping {
    Mapping::parse(
        "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - name: nas\n    east: { nfs: { server: 10.77.0.1, path: /export } }\n    west: { nfs: { server: 10.77.0.2, path: /vault } }\nstorageClasses:\n  - { east: gold, west: fast }\n",
    )
    .unwrap()
}

/// A volume as csi-driver-nfs provisions it and Velero stores it.
pub(crate) fn csi_pv() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-6a1f",
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "nfs.csi.k8s.io",
                "volume.kubernetes.io/provisioner-deletion-secret-name": "",
                "leeward.io/original-reclaim-policy": "Delete"
            },
            "finalizers": ["kubernetes.io/pv-protection"]
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "256Mi"},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "db-data",
                "uid": "0b7e", "resourceVersion": "417"
            },
            "csi": {
                "driver": "nfs.csi.k8s.io",
                "volumeHandle": "10.77.0.1#export#pvc-6a1f##",
                "volumeAttributes": {
                    "csi.storage.k8s.io/pv/name": "pvc-6a1f",
                    "csi.storage.k8s.io/pvc/name": "db-data",
                    "csi.storage.k8s.io/pvc/namespace": "shop",
                    "server": "10.77.0.1",
                    "share": "/export",
                    "storage.kubernetes.io/csiProvisionerIdentity": "1758-nfs.csi.k8s.io",
                    "subdir": "pvc-6a1f"
                }
            },
            "mountOptions": ["nfsvers=4.1"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "gold",
            "volumeMode": "Filesystem"
        }
    })
}

/// A static in-tree volume, applied with kubectl.
pub(crate) fn in_tree_pv() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "web-disk",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{\"nfs\":{\"server\":\"10.77.0.1\"}}}"
            },
            "labels": {"tier": "web"}
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": "shop", "name": "web-disk", "uid": "77aa"},
            "nfs": {"server": "10.77.0.1", "path": "/export/web-disk"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}}
        },
        "status": {"phase": "Bound"}
    })
}

/// Any JSON, small.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(any_text(), inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Text that is often almost right.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,8}",
        "[0-9.:#/\\[\\]a-e~]{0,12}",
        prop::sample::select(vec![
            "10.77.0.1",
            "10.77.0.2",
            "/export",
            "/vault/..",
            "server",
            "nfs",
            "10.77.0.1#export#a##",
            "#",
            "/",
            "east",
            "west",
        ])
        .prop_map(str::to_owned),
    ]
}

/// Every pointer into `value`, the root left out.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (crate::json::escape(k), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(k, v)| (k.to_string(), v)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        pointers(child, &pointer, into);
        into.push(pointer);
    }
}

/// `value` with one to three of its parts replaced by any JSON.
pub(crate) fn spoiled(value: &Value) -> impl Strategy<Value = Value> + use<> {
    let mut all = Vec::new();
    pointers(value, "", &mut all);
    let value = value.clone();
    prop::collection::vec((prop::sample::select(all), any_json()), 1..4).prop_map(move |faults| {
        let mut spoiled = value.clone();
        for (pointer, json) in faults {
            if let Some(part) = spoiled.pointer_mut(&pointer) {
                *part = json;
            }
        }
        spoiled
    })
}

/// Fields that Leeward does not know, to be mixed into an object.
pub(crate) fn unknown_fields() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("x-[a-z]{1,6}", any_json(), 0..4).prop_map(|m| m.into_iter().collect())
}
