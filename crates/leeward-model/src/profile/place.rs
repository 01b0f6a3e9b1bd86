//! One place of a PersistentVolume that says parts: a JSON pointer with `*` for every element, and the forms of its text.

use super::Form;
use crate::json;
use serde_json::Value;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The steps of the pointer, unescaped.
    steps: Vec<String>,
    /// Tried in order.
    pub(crate) forms: Vec<Form>,
    /// Whether the driver mounts from here.
    pub(crate) mounts: bool,
    pub(crate) optional: bool,
    /// Whether the last step may be spelled in any case.
    pub(crate) any_case: bool,
    /// Whether a text of another form is simply not this place.
    pub(crate) if_matches: bool,
}

impl Place {
    /// # Errors
    /// What is wrong with the pointer.
    pub(crate) fn new(at: &str, forms: Vec<Form>) -> Result<Self, &'static str> {
        let steps = at.strip_prefix('/').ok_or("a JSON pointer starts with '/'")?;
        let steps: Vec<String> = steps.split('/').map(json::unescape).collect();
        if !matches!(steps.first().map(String::as_str), Some("spec" | "metadata")) || steps.len() < 2 {
            return Err("an address is in /spec/… or /metadata/…");
        }
        Ok(Self { steps, forms, mounts: false, optional: false, any_case: false, if_matches: false })
    }

    /// Whether its parts have one value for each element of a list.
    pub(crate) fn is_list(&self) -> bool {
        !self.if_matches && self.steps.iter().any(|step| step == "*")
    }

    /// The pointers of `pv` that are this place.
    pub(crate) fn pointers(&self, pv: &Value) -> Vec<String> {
        let mut found = vec![(String::new(), pv)];
        for (at, step) in self.steps.iter().enumerate() {
            let any_case = self.any_case && at + 1 == self.steps.len();
            found = found.into_iter().flat_map(|(pointer, value)| children(&pointer, value, step, any_case)).collect();
        }
        found.into_iter().filter(|(_, value)| !value.is_null()).map(|(pointer, _)| pointer).collect()
    }

    /// Its JSON pointer, stars included.
    pub(crate) fn pointer(&self) -> String {
        self.steps.iter().map(|step| format!("/{}", json::escape(step))).collect()
    }

    /// As people write it: `spec.csi.volumeHandle`.
    pub(crate) fn title(&self) -> String {
        self.steps.join(".")
    }

    /// The parts that a text says, with the form that it has; `None` if it has none of the forms.
    pub(crate) fn read<'a>(&'a self, text: &str) -> Option<(&'a Form, Vec<(&'a str, String)>)> {
        self.forms.iter().find_map(|form| Some((form, form.read(text)?)))
    }
}

fn children<'a>(pointer: &str, value: &'a Value, step: &str, any_case: bool) -> Vec<(String, &'a Value)> {
    let below = |key: &str| format!("{pointer}/{}", json::escape(key));
    match value {
        Value::Object(fields) => {
            let is = |key: &str| step == "*" || key == step || (any_case && key.eq_ignore_ascii_case(step));
            fields.iter().filter(|(key, _)| is(key)).map(|(key, value)| (below(key), value)).collect()
        }
        Value::Array(items) => {
            let is = |at: usize| step == "*" || step.parse() == Ok(at);
            items.iter().enumerate().filter(|(at, _)| is(*at)).map(|(at, v)| (below(&at.to_string()), v)).collect()
        }
        _ => Vec::new(),
    }
}

/// The text of a field; a number's is its digits.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// `text` as the type that stands there; `None` if it would have to be a number and is none.
pub(super) fn like(old: &Value, text: String) -> Option<Value> {
    match old {
        Value::Number(_) => text.parse::<i64>().ok().map(Value::from),
        _ => Some(Value::String(text)),
    }
}
