//! Small tools for payload objects, which stay raw JSON so that fields nobody here knows survive.

use serde_json::{Map, Value};

/// The text at `pointer`, if there is one.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// `metadata.name`, for messages.
pub(crate) fn name(object: &Value) -> String {
    text(object, "/metadata/name").unwrap_or("(without a name)").to_owned()
}

/// The annotation `key`.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// The object at `path`, made where it is missing; `None` if `root` or a step of the way is of another type.
pub(crate) fn object_at<'a>(root: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut at = root;
    for step in path {
        let entry = at.as_object_mut()?.entry(*step).or_insert(Value::Null);
        if entry.is_null() {
            *entry = Value::Object(Map::new());
        }
        at = entry;
    }
    at.as_object_mut()
}

/// Writes the annotation `key`.
pub(crate) fn annotate(object: &mut Value, key: &str, value: impl Into<String>) {
    if let Some(annotations) = object_at(object, &["metadata", "annotations"]) {
        annotations.insert(key.to_owned(), Value::String(value.into()));
    }
}

/// Removes the annotation `key`, keeping the order of the others.
pub(crate) fn unannotate(object: &mut Value, key: &str) {
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(key);
    }
}

/// One step of a JSON pointer, escaped (RFC 6901).
pub(crate) fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// The reverse of [`escape`].
pub(crate) fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// A pointer as people write it: `spec.csi.volumeHandle`.
pub(crate) fn title(pointer: &str) -> String {
    pointer.trim_start_matches('/').split('/').map(unescape).collect::<Vec<_>>().join(".")
}

/// Sets the field at `pointer`, or removes it; `false` if there is no object to hold it.
pub(crate) fn put(object: &mut Value, pointer: &str, value: Option<Value>) -> bool {
    if let (Some(field), Some(value)) = (object.pointer_mut(pointer), &value) {
        *field = value.clone();
        return true;
    }
    let Some((parent, key)) = pointer.rsplit_once('/') else { return false };
    let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return false };
    match value {
        Some(value) => drop(fields.insert(unescape(key), value)),
        None => drop(fields.shift_remove(&unescape(key))),
    }
    true
}
