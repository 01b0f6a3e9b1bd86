//! A stored PersistentVolume whose claim is recovered from another volume, the one that its snapshot was promoted to.
//!
//! The stored copy keeps the live volume's address and says in an annotation where the promoted one is. What lands has the
//! promoted one's storage under the live one's name, for the claim asks for it by that name; class and bond stay the claim's.

use crate::json;
use crate::keys;
use serde_json::Value;

/// Annotations that belong to a volume's storage.
pub const STORAGE_ANNOTATIONS: [&str; 3] = [
    "pv.kubernetes.io/provisioned-by",
    "volume.kubernetes.io/provisioner-deletion-secret-name",
    "volume.kubernetes.io/provisioner-deletion-secret-namespace",
];
/// Parts of the spec that belong to the claim and its bond, not to the storage.
pub const OF_THE_CLAIM: [&str; 3] = ["claimRef", "persistentVolumeReclaimPolicy", "storageClassName"];

/// Gives the stored volume `pv` the storage of the promoted volume that `stored` (the text of its annotation
/// [`keys::PROMOTED_VOLUME`]) describes; that one's name.
///
/// # Errors
/// What of `stored` cannot be read.
pub fn take_over(pv: &mut Value, stored: &str) -> Result<String, String> {
    let volume: Value = serde_json::from_str(stored).map_err(|error| error.to_string())?;
    let spec = volume.get("spec").and_then(Value::as_object).filter(|spec| !spec.is_empty());
    let mut spec = spec.ok_or("no spec")?.clone();
    let site = json::text(&volume, "/site").filter(|site| !site.is_empty()).ok_or("no site")?;
    for key in OF_THE_CLAIM {
        if let Some(value) = pv.get("spec").and_then(|spec| spec.get(key)) {
            spec.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(fields) = pv.as_object_mut() {
        fields.insert("spec".to_owned(), Value::Object(spec));
    }
    STORAGE_ANNOTATIONS.iter().for_each(|key| json::unannotate(pv, key));
    for (key, value) in volume.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        json::annotate(pv, key, value.as_str().unwrap_or_default());
    }
    if let (Some(labels), Some(new)) = (
        pv.pointer_mut("/metadata/labels").and_then(Value::as_object_mut),
        volume.get("labels").and_then(Value::as_object),
    ) {
        labels.extend(new.clone());
    }
    json::annotate(pv, keys::SITE, site);
    Ok(json::text(&volume, "/name").unwrap_or("(without a name)").to_owned())
}
