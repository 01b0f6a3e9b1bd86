//! The difference of two objects as a list of changed fields.

use crate::json;
use crate::keys;
use crate::rewrite::Change;
use serde_json::Value;

/// Every field in which `new` differs from `old`, in the order of `old`; lists count as one value. Leeward's own
/// annotations and `kubectl apply`'s copy of the object (which repeats the whole of it) are left out.
pub(crate) fn between(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(old, new, String::new(), &mut changes);
    let left_out = [
        keys::ORIGINAL_RECLAIM_POLICY,
        keys::SITE,
        keys::REWRITE_TRACE,
        "kubectl.kubernetes.io/last-applied-configuration",
    ]
    .map(|key| format!("/metadata/annotations/{}", json::escape(key)));
    changes.retain(|change| !left_out.contains(&change.pointer));
    changes
}

fn walk(old: &Value, new: &Value, at: String, changes: &mut Vec<Change>) {
    let (Some(was), Some(is)) = (old.as_object(), new.as_object()) else {
        if old != new {
            changes.push(Change { pointer: at, before: Some(old.clone()), after: Some(new.clone()) });
        }
        return;
    };
    let below = |key: &str| format!("{at}/{}", json::escape(key));
    for (key, before) in was {
        match is.get(key) {
            Some(after) => walk(before, after, below(key), changes),
            None => changes.push(Change { pointer: below(key), before: Some(before.clone()), after: None }),
        }
    }
    for (key, after) in is.iter().filter(|(key, _)| !was.contains_key(*key)) {
        changes.push(Change { pointer: below(key), before: None, after: Some(after.clone()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_every_changed_field_once() {
        let old = json!({"a": 1, "b": {"c/d": "x", "same": 0}, "gone": [1], "list": [1, 2]});
        let new = json!({"a": 1, "b": {"c/d": "y", "same": 0}, "list": [1], "added": null});
        let changes = between(&old, &new);
        let pointers: Vec<&str> = changes.iter().map(|c| c.pointer.as_str()).collect();
        assert_eq!(pointers, ["/b/c~1d", "/gone", "/list", "/added"]);
        assert_eq!(changes[1].after, None);
        assert_eq!(changes[3].before, None);
    }
}
