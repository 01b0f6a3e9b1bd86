//! [`merge`]: writes the change of a typed view back into the raw JSON that it was read from.
//!
//! Laws: without a change the raw JSON stays as it is; what the view does not show stays; what it does show ends as the
//! changed view has it.

use serde_json::{Map, Value};

/// A list was changed so that it cannot be said which of its old elements a new one was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the list at {path:?} has lost and gained elements at once, so it cannot be told which one's other fields to keep"
)]
pub struct Ambiguous {
    path: String,
}

/// `raw` with what changed between `before` and `after`, both of which are views of it.
pub(crate) fn merge(raw: &Value, before: &Value, after: Value) -> Result<Value, Ambiguous> {
    at("", raw, before, after)
}

fn at(path: &str, raw: &Value, before: &Value, after: Value) -> Result<Value, Ambiguous> {
    if *before == after {
        return Ok(raw.clone());
    }
    match (raw, before, after) {
        (Value::Object(raw), Value::Object(before), Value::Object(after)) => {
            objects(path, raw, before, after).map(Value::Object)
        }
        (Value::Array(raw), Value::Array(before), Value::Array(after)) if raw.len() == before.len() => {
            lists(path, raw, before, after).map(Value::Array)
        }
        (_, _, after) => Ok(after),
    }
}

fn objects(
    path: &str,
    raw: &Map<String, Value>,
    before: &Map<String, Value>,
    mut after: Map<String, Value>,
) -> Result<Map<String, Value>, Ambiguous> {
    let mut merged = Map::new();
    for (key, raw) in raw {
        let value = match (before.get(key), after.remove(key)) {
            (Some(before), Some(after)) => at(&format!("{path}/{key}"), raw, before, after)?,
            // Taken away.
            (Some(_), None) => continue,
            (None, Some(after)) => after,
            // Not in view.
            (None, None) => raw.clone(),
        };
        merged.insert(key.clone(), value);
    }
    // What the view shows though it is not there, such as a default, comes in only if it was changed.
    merged.extend(after.into_iter().filter(|(key, after)| before.get(key) != Some(after)));
    Ok(merged)
}

fn lists(path: &str, raw: &[Value], before: &[Value], after: Vec<Value>) -> Result<Vec<Value>, Ambiguous> {
    let mut left: Vec<_> = (0..before.len()).collect();
    // Where each element was; those that are unchanged are found wherever they have gone.
    let mut origins: Vec<Option<usize>> = vec![None; after.len()];
    for (new, origin) in after.iter().zip(&mut origins) {
        if let Some(found) = left.iter().position(|old| before[*old] == *new) {
            *origin = Some(left.remove(found));
        }
    }
    let new: Vec<_> = (0..after.len()).filter(|place| origins[*place].is_none()).collect();
    if new == left {
        // Changed where they are.
        for place in new {
            origins[place] = Some(place);
        }
    } else if !new.is_empty() && !left.is_empty() {
        return Err(Ambiguous { path: path.to_owned() });
    }
    let merged = after.into_iter().zip(origins).enumerate().map(|(place, (after, origin))| match origin {
        Some(old) => at(&format!("{path}/{place}"), &raw[old], &before[old], after),
        None => Ok(after),
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// What a type that knows only `name` and `size` sees, with a default for the latter.
    fn view(raw: &Value) -> Value {
        match raw {
            Value::Array(list) => list.iter().map(view).collect(),
            other => json!({"name": other["name"], "size": other.get("size").cloned().unwrap_or(json!(0))}),
        }
    }

    fn changed(raw: &Value, change: impl FnOnce(&mut Value)) -> Result<Value, Ambiguous> {
        let before = view(raw);
        let mut after = before.clone();
        change(&mut after);
        let merged = merge(raw, &before, after.clone())?;
        assert_eq!(view(&merged), after, "what is in view ends as it was changed");
        Ok(merged)
    }

    fn disks() -> Value {
        json!([{"name": "a", "x": 1}, {"name": "b", "x": 2, "size": 5}, {"name": "c", "x": 3}])
    }

    #[test]
    fn nothing_changes_without_a_change() {
        assert_eq!(changed(&disks(), |_| ()).unwrap(), disks());
    }

    #[test]
    fn elements_keep_what_is_not_in_view() {
        let edit = |change: fn(&mut Vec<Value>)| changed(&disks(), |list| change(list.as_array_mut().unwrap()));
        let mut expected = disks();
        expected[1]["size"] = json!(6);
        assert_eq!(edit(|list| list[1]["size"] = json!(6)).unwrap(), expected);
        let moved = edit(|list| list.reverse()).unwrap();
        assert_eq!(moved, json!([disks()[2], disks()[1], disks()[0]]));
        let fewer = edit(|list| drop(list.remove(0))).unwrap();
        assert_eq!(fewer, json!([disks()[1], disks()[2]]));
        let more = edit(|list| list.insert(0, json!({"name": "n", "size": 1}))).unwrap();
        assert_eq!(more, json!([{"name": "n", "size": 1}, disks()[0], disks()[1], disks()[2]]));
    }

    #[test]
    fn what_would_be_a_guess_is_refused() {
        // One gone and one changed, or one gone and another come?
        let error = changed(&json!({"name": "vm", "disks": disks()}), |_| ()).map(|_| ());
        assert_eq!(error, Ok(()));
        let error = changed(&disks(), |list| {
            let list = list.as_array_mut().unwrap();
            list.remove(0);
            list[1]["name"] = json!("d");
        });
        assert_eq!(error.unwrap_err().to_string().matches("lost and gained").count(), 1);
    }

    #[test]
    fn a_default_that_was_not_there_stays_away() {
        let raw = json!({"name": "a", "other": true});
        assert_eq!(changed(&raw, |v| v["name"] = json!("b")).unwrap(), json!({"name": "b", "other": true}));
        assert_eq!(changed(&raw, |v| v["size"] = json!(0)).unwrap(), raw);
        assert_eq!(changed(&raw, |v| v["size"] = json!(7)).unwrap()["size"], 7);
        let taken = merge(&raw, &json!({"name": "a"}), json!({})).unwrap();
        assert_eq!(taken, json!({"other": true}));
    }

    /// What a type sees that knows neither `x` nor `y`, on any level.
    fn known(raw: &Value) -> Value {
        match raw {
            Value::Object(fields) => fields
                .iter()
                .filter(|(key, _)| !["x", "y"].contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), known(v)))
                .collect(),
            Value::Array(list) => list.iter().map(known).collect(),
            other => other.clone(),
        }
    }

    fn any() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), (0..3).prop_map(|n| json!(n))];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abxy]", inner, 0..4).prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_view_ends_as_changed_and_without_change_nothing_moves(raw in any(), other in any()) {
            let (before, after) = (known(&raw), known(&other));
            prop_assert_eq!(merge(&raw, &before, before.clone()).unwrap(), raw.clone());
            if let Ok(merged) = merge(&raw, &before, after.clone()) {
                prop_assert_eq!(known(&merged), after);
            }
        }

        #[test]
        fn what_is_not_in_view_stays(raw in prop::collection::btree_map("[abxy]", any(), 0..4), new in any()) {
            let raw: Value = raw.into_iter().collect();
            let before = known(&raw);
            let mut after = before.clone();
            after["a"] = known(&new);
            if let Ok(merged) = merge(&raw, &before, after) {
                for key in ["b", "x", "y"] {
                    prop_assert_eq!(merged.get(key), raw.get(key));
                }
            }
        }
    }
}
