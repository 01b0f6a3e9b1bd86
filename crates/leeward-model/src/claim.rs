//! A PersistentVolumeClaim: what Leeward reads from it, and how it lands at the other site.
//!
//! Law: a claim lands bound. It names its volume, and nothing in it could make Kubernetes provision or populate another.

use crate::json;
use crate::keys;
use crate::mapping::{ClassError, Mapping};
use crate::name::SiteName;
use serde_json::Value;

/// A claim cannot land.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It names no volume, so Kubernetes would make a new, empty one.
    #[error(
        "PersistentVolumeClaim {claim} was not bound when it was backed up, so it names no volume; restoring it would make an empty disk: bind it and back up again, or take it out of the protection group [LW-0140]"
    )]
    Unbound {
        /// `namespace/name`.
        claim: String,
    },
    /// Its storage class cannot be mapped.
    #[error("PersistentVolumeClaim {claim} cannot be given a storage class at site {target} [LW-0141]")]
    Class {
        /// `namespace/name`.
        claim: String,
        /// The site it is for.
        target: SiteName,
        /// Why.
        #[source]
        source: Box<ClassError>,
    },
}

/// The volume that a claim is bound to.
#[must_use]
pub fn volume(pvc: &Value) -> Option<&str> {
    json::text(pvc, "/spec/volumeName").filter(|name| !name.is_empty())
}

/// `namespace/name`, for messages.
#[must_use]
pub fn title(pvc: &Value) -> String {
    format!("{}/{}", json::text(pvc, "/metadata/namespace").unwrap_or_default(), json::name(pvc))
}

/// The claim as it is created at `target`: bound to its volume, its storage class mapped.
///
/// Data sources are removed: the data is there already, and a source that does not exist at the target keeps a claim
/// Pending for ever. The site that its class belongs to is the one in its annotation [`keys::SITE`], else `source`.
///
/// # Errors
/// [`ClaimError`] if it names no volume or its class cannot be mapped.
pub fn landed(pvc: &Value, mapping: &Mapping, source: &SiteName, target: &SiteName) -> Result<Value, ClaimError> {
    if volume(pvc).is_none() {
        return Err(ClaimError::Unbound { claim: title(pvc) });
    }
    let annotated = json::annotation(pvc, keys::SITE).and_then(|site| SiteName::parse(site).ok());
    let from = annotated.as_ref().unwrap_or(source);
    let mut new = pvc.clone();
    if let Some(spec) = json::object_at(&mut new, &["spec"]) {
        for field in ["dataSource", "dataSourceRef", "selector"] {
            spec.shift_remove(field);
        }
    }
    crate::landing::classes(&mut new, mapping, from, target).map_err(|source| ClaimError::Class {
        claim: title(pvc),
        target: target.clone(),
        source: Box::new(source),
    })?;
    json::unannotate(&mut new, crate::landing::LAST_APPLIED);
    if annotated.is_some() {
        json::annotate(&mut new, keys::SITE, target.as_str());
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{any_json, nas, site, spoiled};
    use proptest::prelude::*;
    use serde_json::json;

    fn pvc() -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "namespace": "shop", "name": "db-data",
                "annotations": {
                    "pv.kubernetes.io/bind-completed": "yes",
                    "volume.beta.kubernetes.io/storage-class": "gold",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}"
                }
            },
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "dataSource": {"kind": "VolumeSnapshot", "name": "s"},
                "dataSourceRef": {"kind": "VolumeSnapshot", "name": "s"},
                "selector": {"matchLabels": {"a": "b"}},
                "storageClassName": "gold", "volumeMode": "Filesystem", "volumeName": "pvc-6a1f", "x-unknown": [1]
            },
            "status": {"phase": "Bound"}
        })
    }

    #[test]
    fn lands_bound_and_from_no_source() {
        let landed = landed(&pvc(), &nas(), &site("east"), &site("west")).unwrap();
        let mut expected = pvc();
        expected["spec"] = json!({
            "accessModes": ["ReadWriteMany"], "storageClassName": "fast", "volumeMode": "Filesystem",
            "volumeName": "pvc-6a1f", "x-unknown": [1]
        });
        expected["metadata"]["annotations"] =
            json!({"pv.kubernetes.io/bind-completed": "yes", "volume.beta.kubernetes.io/storage-class": "fast"});
        assert_eq!(landed.to_string(), expected.to_string());
    }

    #[test]
    fn an_unbound_claim_is_an_error_that_names_it() {
        for unbound in [Value::Null, "".into()] {
            let mut pvc = pvc();
            pvc["spec"]["volumeName"] = unbound;
            let fault = landed(&pvc, &nas(), &site("east"), &site("west")).unwrap_err().to_string();
            assert!(fault.contains("shop/db-data") && fault.ends_with("[LW-0140]"), "{fault}");
        }
    }

    #[test]
    fn a_class_without_a_way_back_is_an_error() {
        let fault = landed(&pvc(), &nas(), &site("west"), &site("east")).unwrap_err().to_string();
        assert!(fault.contains("shop/db-data") && fault.ends_with("[LW-0141]"), "{fault}");
    }

    #[test]
    fn the_annotation_says_which_site_its_class_is_of() {
        let mut at_west = pvc();
        at_west["metadata"]["annotations"][keys::SITE] = "west".into();
        at_west["metadata"]["annotations"].as_object_mut().unwrap().remove("volume.beta.kubernetes.io/storage-class");
        at_west["spec"]["storageClassName"] = "fast".into();
        let home = landed(&at_west, &nas(), &site("east"), &site("east")).unwrap();
        assert_eq!(home["spec"]["storageClassName"], "gold");
        assert_eq!(home["metadata"]["annotations"][keys::SITE], "east");
    }

    proptest! {
        #[test]
        fn never_panics(pvc in prop_oneof![any_json(), spoiled(&pvc())]) {
            if let Ok(landed) = landed(&pvc, &nas(), &site("east"), &site("west")) {
                prop_assert_eq!(volume(&landed), volume(&pvc));
                prop_assert!(landed["spec"].get("dataSource").is_none() && landed["spec"].get("dataSourceRef").is_none());
            }
        }
    }
}
