//! [`ObjectExt`]: a Kubernetes object is raw JSON, and read and changed through views.
//!
//! An action sees objects of other versions than it was written for. Made into a type and back, an object would lose every
//! field that the type does not know, and with it perhaps somebody's disk. So it stays a [`Value`]; a typed view is a copy of
//! the part that an action cares about, and a typed change writes back only what the change has changed.

use crate::merge::{Ambiguous, merge};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an object cannot be read or changed as.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A part of it is of another form than the view.
    #[error("read {pointer:?} of {object}")]
    Read {
        /// Where, as a JSON pointer.
        pointer: String,
        /// Kind, namespace and name.
        object: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A changed view cannot be written as JSON.
    #[error("write {pointer:?} of {object}")]
    Write {
        /// Where, as a JSON pointer.
        pointer: String,
        /// Kind, namespace and name.
        object: String,
        /// What has no JSON.
        #[source]
        source: serde_json::Error,
    },
    /// There is nothing to change.
    #[error("{object} has no {pointer:?} to change")]
    Absent {
        /// Where, as a JSON pointer.
        pointer: String,
        /// Kind, namespace and name.
        object: String,
    },
    /// A list was changed so that its elements cannot be told apart; change the raw JSON instead.
    #[error("change {pointer:?} of {object}")]
    Ambiguous {
        /// Where, as a JSON pointer.
        pointer: String,
        /// Kind, namespace and name.
        object: String,
        /// Which list.
        #[source]
        source: Ambiguous,
    },
}

/// Views on a Kubernetes object.
///
/// Texts that are not there read as empty or `None`; nothing here panics on an object of an odd form.
pub trait ObjectExt {
    /// `kind`.
    fn kind(&self) -> &str;
    /// `apiVersion`.
    fn api_version(&self) -> &str;
    /// `metadata.name`.
    fn name(&self) -> &str;
    /// `metadata.namespace`; empty for a cluster-scoped object.
    fn namespace(&self) -> &str;
    /// Kind, namespace and name, as an error should tell an object: `PersistentVolumeClaim shop/db`.
    fn title(&self) -> String;
    /// The text at a JSON pointer (RFC 6901), e.g. `/spec/volumeName`. Empty is none.
    fn text(&self, pointer: &str) -> Option<&str>;
    /// A label.
    fn label(&self, key: &str) -> Option<&str>;
    /// An annotation.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// Sets a label. Nothing happens to what is no object.
    fn set_label(&mut self, key: &str, value: &str);
    /// Sets an annotation. Nothing happens to what is no object.
    fn set_annotation(&mut self, key: &str, value: &str);
    /// Takes a label away; returns what it was.
    fn remove_label(&mut self, key: &str) -> Option<String>;
    /// Takes an annotation away; returns what it was.
    fn remove_annotation(&mut self, key: &str) -> Option<String>;

    /// The part at a JSON pointer as a type; the whole object if the pointer is empty. What is not there is read as null,
    /// which is `None` to an `Option`. The type may borrow from the object.
    ///
    /// # Errors
    /// [`ViewError::Read`] if it is of another form.
    fn view<'a, T: Deserialize<'a>>(&'a self, pointer: &str) -> Result<T, ViewError>;

    /// Changes the part at a JSON pointer through a type, and returns what `change` returns.
    ///
    /// Fields that the type does not know stay as they are, in elements of lists too: an element belongs to the one it was
    /// equal to, or at whose place it is.
    ///
    /// # Errors
    /// [`ViewError`] if the part is not there, does not fit the type, or cannot be written back without a guess. The object
    /// is then unchanged.
    fn edit<T, R>(&mut self, pointer: &str, change: impl FnOnce(&mut T) -> R) -> Result<R, ViewError>
    where
        T: Serialize + DeserializeOwned;
}

impl ObjectExt for Value {
    fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    fn api_version(&self) -> &str {
        self.text("/apiVersion").unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.text("/metadata/namespace").unwrap_or_default()
    }

    fn title(&self) -> String {
        let or = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
        let (kind, name) = (or(self.kind(), "object"), or(self.name(), "(without a name)"));
        match self.namespace() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        }
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    fn set_label(&mut self, key: &str, value: &str) {
        set(self, "labels", key, value);
    }

    fn set_annotation(&mut self, key: &str, value: &str) {
        set(self, "annotations", key, value);
    }

    fn remove_label(&mut self, key: &str) -> Option<String> {
        remove(self, "labels", key)
    }

    fn remove_annotation(&mut self, key: &str) -> Option<String> {
        remove(self, "annotations", key)
    }

    fn view<'a, T: Deserialize<'a>>(&'a self, pointer: &str) -> Result<T, ViewError> {
        T::deserialize(self.pointer(pointer).unwrap_or(&Value::Null)).map_err(|source| ViewError::Read {
            pointer: pointer.to_owned(),
            object: self.title(),
            source,
        })
    }

    fn edit<T, R>(&mut self, pointer: &str, change: impl FnOnce(&mut T) -> R) -> Result<R, ViewError>
    where
        T: Serialize + DeserializeOwned,
    {
        let at = || (pointer.to_owned(), self.title());
        let Some(part) = self.pointer(pointer) else {
            let (pointer, object) = at();
            return Err(ViewError::Absent { pointer, object });
        };
        let written = |view: &T| {
            serde_json::to_value(view).map_err(|source| {
                let (pointer, object) = at();
                ViewError::Write { pointer, object, source }
            })
        };
        let mut view: T = self.view(pointer)?;
        let before = written(&view)?;
        let result = change(&mut view);
        let after = written(&view)?;
        let merged = merge(part, &before, after).map_err(|source| {
            let (pointer, object) = at();
            ViewError::Ambiguous { pointer, object, source }
        })?;
        if let Some(part) = self.pointer_mut(pointer) {
            *part = merged;
        }
        Ok(result)
    }
}

fn set(object: &mut Value, map: &str, key: &str, value: &str) {
    let mut at = object;
    for step in ["metadata", map] {
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(step).or_insert(Value::Null);
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    if let Some(map) = at.as_object_mut() {
        map.insert(key.to_owned(), value.into());
    }
}

fn remove(object: &mut Value, map: &str, key: &str) -> Option<String> {
    let map = object.get_mut("metadata")?.get_mut(map)?.as_object_mut()?;
    // In order, for serde_json may be built to keep one.
    let kept = map.get(key)?.as_str().map(str::to_owned);
    map.retain(|other, _| other != key);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim() -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "db", "namespace": "shop", "labels": {"app": "shop"}, "annotations": null},
            "spec": {"volumeName": "pv1", "accessModes": ["ReadWriteOnce"], "new-field": {"deep": [1, null]}},
        })
    }

    #[test]
    fn reads_what_is_there_and_survives_what_is_odd() {
        let claim = claim();
        assert_eq!((claim.kind(), claim.api_version()), ("PersistentVolumeClaim", "v1"));
        assert_eq!((claim.title().as_str(), claim.label("app")), ("PersistentVolumeClaim shop/db", Some("shop")));
        assert_eq!((claim.text("/spec/volumeName"), claim.annotation("a")), (Some("pv1"), None));
        for odd in [json!(null), json!([]), json!("x"), json!({"metadata": 7}), json!({"metadata": {"labels": []}})] {
            let mut odd = odd;
            odd.set_label("a", "b");
            odd.set_annotation("a", "b");
            assert_eq!(odd.remove_label("x"), None);
            assert_eq!((odd.name(), &*odd.title()), ("", "object (without a name)"));
        }
    }

    #[test]
    fn labels_and_annotations_come_and_go() {
        let mut claim = claim();
        claim.set_annotation("example.io/a~/b", "1");
        assert_eq!(claim.annotation("example.io/a~/b"), Some("1"));
        assert_eq!(claim.remove_annotation("example.io/a~/b").as_deref(), Some("1"));
        assert_eq!(claim.remove_label("app").as_deref(), Some("shop"));
        assert_eq!(claim["metadata"]["labels"], json!({}));
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        volume_name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        storage_class_name: Option<String>,
        #[serde(default)]
        access_modes: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Borrowed<'a> {
        #[serde(rename = "volumeName")]
        volume: &'a str,
    }

    #[test]
    fn a_view_may_borrow_and_names_what_does_not_fit() {
        let claim = claim();
        assert_eq!(claim.view::<Borrowed<'_>>("/spec").unwrap().volume, "pv1");
        assert_eq!(claim.view::<Option<Spec>>("/status").unwrap().map(|s| s.volume_name), None);
        let error = claim.view::<Spec>("/spec/volumeName").err().unwrap();
        assert_eq!(error.to_string(), r#"read "/spec/volumeName" of PersistentVolumeClaim shop/db"#);
    }

    #[test]
    fn a_typed_change_loses_nothing() {
        let mut claim = claim();
        let was = claim.edit("/spec", |spec: &mut Spec| {
            spec.storage_class_name = Some("gold".to_owned());
            spec.volume_name.take()
        });
        assert_eq!(was.unwrap().as_deref(), Some("pv1"));
        let expected = json!({
            "volumeName": null, "accessModes": ["ReadWriteOnce"], "new-field": {"deep": [1, null]}, "storageClassName": "gold"
        });
        assert_eq!(claim["spec"], expected);
        let error = claim.edit("/status", |_: &mut Spec| ()).unwrap_err();
        assert!(matches!(error, ViewError::Absent { .. }), "{error}");
    }
}
