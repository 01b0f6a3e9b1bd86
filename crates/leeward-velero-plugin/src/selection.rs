//! Which objects a Backup selects, as far as the plug-in has to know it before Velero hands them over: so that all promotions
//! of a backup can begin with the first claim. Never final: a claim that Velero hands over and that was not foreseen (it
//! belongs to something selected, or a pattern was not understood) is promoted then.

use crate::view;
use serde_json::Value;

/// Velero passes over what has this label with the value `true`.
pub(crate) const EXCLUDED: &str = "velero.io/exclude-from-backup";

/// A Backup's filters.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    included: Vec<&'a str>,
    excluded: Vec<&'a str>,
    /// One of them has to match; empty for all.
    selectors: Vec<&'a Value>,
}

impl<'a> Selection<'a> {
    pub(crate) fn of(backup: &'a Value) -> Self {
        let spec = &backup["spec"];
        let texts = |list: &'a Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut selectors: Vec<_> = spec["orLabelSelectors"].as_array().into_iter().flatten().collect();
        if !spec["labelSelector"].is_null() {
            selectors.push(&spec["labelSelector"]);
        }
        Self { included: texts(&spec["includedNamespaces"]), excluded: texts(&spec["excludedNamespaces"]), selectors }
    }

    /// The namespaces by name; `None` if they can only be told by looking at all.
    pub(crate) fn named(&self) -> Option<Vec<String>> {
        let plain = |name: &&str| !name.contains(['*', '?', '[', '{']);
        let named = !self.included.is_empty() && self.included.iter().all(plain);
        named.then(|| self.included.iter().filter(|n| self.takes(n)).map(|n| (*n).to_owned()).collect())
    }

    /// Whether it takes objects of this namespace.
    pub(crate) fn takes(&self, namespace: &str) -> bool {
        let among = |list: &[&str]| list.iter().any(|pattern| matches(pattern, namespace));
        (self.included.is_empty() || among(&self.included)) && !among(&self.excluded)
    }

    /// Whether it takes some objects of a namespace and leaves others.
    pub(crate) fn by_label(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// Whether it takes this object of a namespace that it takes.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        view::label(object, EXCLUDED) != Some("true")
            && (self.selectors.is_empty() || self.selectors.iter().any(|selector| selected(selector, object)))
    }
}

/// The field by which a Backup leaves PVs out, even those that claims name; `None` if it takes them.
pub(crate) fn without_volumes(backup: &Value) -> Option<String> {
    let spec = &backup["spec"];
    if spec["includeClusterResources"] == false {
        return Some("spec.includeClusterResources: false".to_owned());
    }
    let names = ["*", "pv", "persistentvolume", "persistentvolumes"];
    ["excludedResources", "excludedClusterScopedResources"].into_iter().find_map(|field| {
        let excluded = spec[field].as_array()?.iter().filter_map(Value::as_str).find(|name| names.contains(name))?;
        Some(format!("{excluded:?} in spec.{field}"))
    })
}

/// A LabelSelector.
fn selected(selector: &Value, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    let all_equal = selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
    let holds = |expression: &Value| {
        let label = expression["key"].as_str().map_or(&Value::Null, |key| &labels[key]);
        let among = || expression["values"].as_array().is_some_and(|values| values.contains(label));
        match expression["operator"].as_str() {
            Some("In") => among(),
            Some("NotIn") => !among(),
            Some("Exists") => !label.is_null(),
            Some("DoesNotExist") => label.is_null(),
            _ => false,
        }
    };
    all_equal && selector["matchExpressions"].as_array().into_iter().flatten().all(holds)
}

/// `*` stands for any text, `?` for any character.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => (0..=name.len()).any(|i| name.is_char_boundary(i) && matches(&pattern[1..], &name[i..])),
        Some(first) => name.chars().next().is_some_and(|c| {
            (first == '?' || first == c) && matches(&pattern[first.len_utf8()..], &name[c.len_utf8()..])
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(labels: Value) -> Value {
        json!({"metadata": {"labels": labels}})
    }

    #[test]
    fn namespaces() {
        let cases = [
            (json!({}), None, true),
            (json!({"includedNamespaces": ["*"]}), None, true),
            (json!({"includedNamespaces": ["sh?p", "x"]}), None, true),
            (json!({"includedNamespaces": ["a", "shop"]}), Some(vec!["a", "shop"]), true),
            (json!({"includedNamespaces": ["a", "shop"], "excludedNamespaces": ["s*"]}), Some(vec!["a"]), false),
            (json!({"excludedNamespaces": ["shop"]}), None, false),
        ];
        for (spec, named, takes) in cases {
            let backup = json!({"spec": spec});
            let selection = Selection::of(&backup);
            assert_eq!(selection.named(), named.map(|n| n.into_iter().map(str::to_owned).collect()), "{spec}");
            assert_eq!(selection.takes("shop"), takes, "{spec}");
        }
    }

    #[test]
    fn volumes() {
        for (spec, field) in [
            (json!({}), None),
            (json!({"includeClusterResources": true, "excludedResources": ["pods"]}), None),
            (json!({"includeClusterResources": false}), Some("includeClusterResources")),
            (
                json!({"excludedResources": ["pods", "persistentvolumes"]}),
                Some("\"persistentvolumes\" in spec.excludedResources"),
            ),
            (json!({"excludedClusterScopedResources": ["*"]}), Some("excludedClusterScopedResources")),
        ] {
            let got = without_volumes(&json!({"spec": spec}));
            assert_eq!(got.is_some(), field.is_some(), "{spec}");
            assert!(got.unwrap_or_default().contains(field.unwrap_or_default()), "{spec}");
        }
    }

    #[test]
    fn labels() {
        let selects = |spec: Value, labels: Value| Selection::of(&json!({"spec": spec})).selects(&object(labels));
        assert!(selects(json!({}), Value::Null));
        assert!(!selects(json!({}), json!({EXCLUDED: "true"})));
        let one = json!({"labelSelector": {"matchLabels": {"app": "db"}}});
        assert!(selects(one.clone(), json!({"app": "db", "x": "y"})));
        assert!(!selects(one, json!({"app": "web"})));
        let or = json!({"orLabelSelectors": [{"matchLabels": {"app": "db"}}, {"matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["1", "2"]}, {"key": "old", "operator": "DoesNotExist"}
        ]}]});
        assert!(selects(or.clone(), json!({"app": "db"})));
        assert!(selects(or.clone(), json!({"tier": "2"})));
        assert!(!selects(or.clone(), json!({"tier": "2", "old": ""})));
        assert!(!selects(or, json!({"tier": "3"})));
        let not = json!({"labelSelector": {"matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["1"]}, {"key": "app", "operator": "Exists"}
        ]}});
        assert!(selects(not.clone(), json!({"app": "x"})));
        assert!(!selects(not.clone(), json!({"app": "x", "tier": "1"})));
        assert!(!selects(not, json!({})));
    }
}
