//! Parts that stand in node affinity and labels: an array's address in a key, its serial in a value.
//!
//! Law: what a driver writes there follows the parts; an expression or label that names none of them is not touched here.

use super::{Form, Parts, Profile};
use crate::json;
use serde_json::{Map, Value};

/// Where the expressions of a PersistentVolume's node affinity are.
const TERMS: &str = "/spec/nodeAffinity/required/nodeSelectorTerms";

/// A key, and what its values say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Affinity {
    pub(crate) key: Form,
    pub(crate) value: Option<Form>,
}

/// Every expression of the node affinity.
pub(crate) fn expressions(pv: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let terms = pv.pointer(TERMS).and_then(Value::as_array).into_iter().flatten();
    let lists = terms.filter_map(|term| term.get("matchExpressions")?.as_array());
    lists.flatten().filter_map(Value::as_object)
}

/// Every expression, to be changed.
pub(crate) fn expressions_mut(pv: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let terms = pv.pointer_mut(TERMS).and_then(Value::as_array_mut).into_iter().flatten();
    let lists = terms.filter_map(|term| term.get_mut("matchExpressions")?.as_array_mut());
    lists.flatten().filter_map(Value::as_object_mut)
}

/// Drops every expression that `keep` refuses, and what is then empty.
pub(crate) fn retain(pv: &mut Value, keep: impl Fn(&str) -> bool) {
    let Some(terms) = pv.pointer_mut(TERMS).and_then(Value::as_array_mut) else { return };
    for term in terms.iter_mut() {
        if let Some(list) = term.get_mut("matchExpressions").and_then(Value::as_array_mut) {
            list.retain(|e| e.get("key").and_then(Value::as_str).is_none_or(&keep));
        }
    }
    // A term without expressions matches no node; terms are alternatives, so one that no longer restricts frees them all.
    let empty = |term: &Value| {
        let none = |field| term.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty);
        none("matchExpressions") && none("matchFields")
    };
    if terms.iter().any(empty)
        && let Some(spec) = pv.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.shift_remove("nodeAffinity");
    }
}

impl Affinity {
    /// Every text of `pv` that this entry reads, with the form that it has.
    fn texts<'a>(&'a self, pv: &'a Value) -> Vec<(&'a Form, &'a str)> {
        let mut found = Vec::new();
        let mut see = |key: &'a str, values: &mut dyn Iterator<Item = &'a str>| {
            if self.key.read(key).is_some() {
                found.push((&self.key, key));
                if let Some(form) = &self.value {
                    found.extend(values.map(|value| (form, value)));
                }
            }
        };
        for expression in expressions(pv) {
            let Some(key) = expression.get("key").and_then(Value::as_str) else { continue };
            let values = expression.get("values").and_then(Value::as_array);
            see(key, &mut values.into_iter().flatten().filter_map(Value::as_str));
        }
        for (key, value) in labels(pv) {
            see(key, &mut value.as_str().into_iter());
        }
        found
    }
}

fn labels(pv: &Value) -> impl Iterator<Item = (&String, &Value)> {
    pv.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten()
}

impl Profile {
    /// All values that node affinity and labels give to `part`, each once.
    pub(super) fn affine(&self, pv: &Value, part: &str) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for (form, text) in self.affinity.iter().flat_map(|affinity| affinity.texts(pv)) {
            for (_, value) in form.read(text).into_iter().flatten().filter(|(name, _)| *name == part) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        values
    }

    /// Whether an expression or label of that key is written by [`Self::write_affinity`].
    pub(crate) fn has_affinity(&self, key: &str, values: &[&str], parts: &Parts) -> bool {
        let known = |form: &Form, text: &str| self.moved(form, text, parts, parts).is_some();
        self.affinity.iter().any(|a| {
            known(&a.key, key) && a.value.as_ref().is_none_or(|form| values.iter().all(|value| known(form, value)))
        })
    }

    /// Writes the parts into node affinity and labels, wherever the old ones stand.
    pub(super) fn write_affinity(&self, pv: &mut Value, old: &Parts, new: &Parts) {
        for affinity in &self.affinity {
            for expression in expressions_mut(pv) {
                let Some(key) = expression.get("key").and_then(Value::as_str).map(str::to_owned) else { continue };
                let Some(to) = self.moved(&affinity.key, &key, old, new) else { continue };
                expression.insert("key".to_owned(), Value::String(to));
                let values = expression.get_mut("values").and_then(Value::as_array_mut).into_iter().flatten();
                for value in values {
                    if let Some(to) =
                        affinity.value.as_ref().and_then(|form| self.moved(form, value.as_str()?, old, new))
                    {
                        *value = Value::String(to);
                    }
                }
            }
            if labels(pv).any(|(key, _)| self.moved(&affinity.key, key, old, new).is_some()) {
                let Some(labels) = json::object_at(pv, &["metadata", "labels"]) else { continue };
                let all = std::mem::take(labels).into_iter().map(|(key, value)| {
                    let Some(to) = self.moved(&affinity.key, &key, old, new) else { return (key, value) };
                    let moved = affinity.value.as_ref().and_then(|form| self.moved(form, value.as_str()?, old, new));
                    (to, moved.map_or(value, Value::String))
                });
                *labels = all.collect();
            }
        }
    }

    /// The text with its old parts replaced; `None` if it does not have the form or says other parts.
    fn moved(&self, form: &Form, text: &str, old: &Parts, new: &Parts) -> Option<String> {
        let read = form.read(text)?;
        let mut values = Vec::new();
        for (name, value) in read {
            let maps = self.kind(name).maps;
            let at = old.get(name)?.texts().iter().position(|old| maps.same(old, &value))?;
            values.push((name, new.get(name)?.texts().get(at)?.as_str()));
        }
        form.write(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)).ok()
    }
}
