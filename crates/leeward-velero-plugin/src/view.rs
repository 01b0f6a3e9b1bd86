//! What the actions read from raw objects. The objects themselves are never turned into types, which would lose fields.

use leeward_model::name::SiteName;
use serde_json::{Map, Value};

/// The text at `pointer` (RFC 6901), if there is one.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or("(without a name)")
}

/// `metadata.namespace`; empty if there is none.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace").unwrap_or_default()
}

/// The annotation `key`.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str().filter(|t| !t.is_empty())
}

/// The label `key`.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str().filter(|t| !t.is_empty())
}

/// Writes the annotation `key`; nothing happens to what is no object.
pub(crate) fn annotate(object: &mut Value, key: &str, value: &str) {
    let mut at = object;
    for step in ["metadata", "annotations"] {
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry(step).or_insert(Value::Null);
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    if let Some(annotations) = at.as_object_mut() {
        annotations.insert(key.to_owned(), value.into());
    }
}

/// Removes the annotation `key`, keeping the order of the others.
pub(crate) fn unannotate(object: &mut Value, key: &str) {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(key);
    }
}

/// The claim that a PV belongs to: (namespace, name).
pub(crate) fn claim_of(pv: &Value) -> Option<(&str, &str)> {
    Some((text(pv, "/spec/claimRef/namespace")?, text(pv, "/spec/claimRef/name")?))
}

/// Where an object of `namespace` in the backup goes to in this restore.
pub(crate) fn target_namespace<'a>(namespace: &'a str, restore: &'a Value) -> &'a str {
    restore["spec"]["namespaceMapping"][namespace].as_str().filter(|t| !t.is_empty()).unwrap_or(namespace)
}

/// An object does not say which site it is from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{object} does not say which site it belongs to, so it cannot be told where its copy is: the backup was made without \
     Leeward's plug-in; back up again with it, or annotate the Restore with {key}: <name of the site the backup is from> \
     [LW-0607]",
    key = leeward_model::keys::SITE
)]
pub(crate) struct UnknownOrigin {
    object: String,
}

/// The site that `item` is from: its own annotation says so, or the Restore's. Never guessed.
pub(crate) fn origin(
    item: &Value,
    object: impl FnOnce() -> String,
    restore: &Value,
) -> Result<SiteName, UnknownOrigin> {
    annotation(item, leeward_model::keys::SITE)
        .or_else(|| annotation(restore, leeward_model::keys::SITE))
        .and_then(|site| SiteName::parse(site).ok())
        .ok_or_else(|| UnknownOrigin { object: object() })
}
