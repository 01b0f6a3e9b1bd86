//! A raw rule: edits of any field by regular expression, for what no profile reads.
//!
//! Laws: each side's edits are applied in their order when a volume leaves that site; a rule covers a volume if all its
//! edits apply (those that are `optional` may not, but one must); the way back is never computed, it is the other side's
//! edits, and [`crate::rewrite`] checks for each volume that they lead back.

use super::Fault;
use super::reader::{Reader, named};
use crate::goregex::{GoRegex, Template};
use crate::located::Node;
use serde_json::Value;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawRule {
    /// By site: what is done to a volume that leaves it; empty where there is no way.
    pub(crate) sides: Vec<Option<Vec<Edit>>>,
}

/// One edit of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// JSON pointer.
    pub(crate) at: String,
    pub(crate) find: GoRegex,
    pub(crate) replace: Template,
    pub(crate) optional: bool,
}

/// What a raw rule says of a volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edited {
    /// It is not between these sites.
    Other,
    /// It does not cover the volume.
    Misses(String),
    /// It covers it and leaves it as it is.
    Nothing,
    /// It has no edits for this way.
    NoWay,
    Changed(Value),
}

impl RawRule {
    pub(crate) fn across(&self, from: usize, to: usize, pv: &Value) -> Edited {
        let (Some(edits), Some(_)) = (&self.sides[from], &self.sides[to]) else { return Edited::Other };
        if edits.is_empty() {
            return Edited::NoWay;
        }
        let mut new = pv.clone();
        let mut applied = 0;
        for edit in edits {
            let field = new.pointer_mut(&edit.at);
            let said = match &field {
                None => Err(format!("{} is not there", edit.at)),
                Some(Value::String(text)) if edit.find.is_match(text) => Ok(edit.find.replace_all(text, &edit.replace)),
                Some(Value::String(text)) => {
                    Err(format!("{} is {text:?}, which does not match {}", edit.at, edit.find))
                }
                Some(_) => Err(format!("{} is no text", edit.at)),
            };
            match (said, field) {
                (Ok(text), Some(field)) => {
                    *field = Value::String(text);
                    applied += 1;
                }
                (Err(_), _) if edit.optional => {}
                (Err(why), _) => return Edited::Misses(why),
                (Ok(_), None) => {}
            }
        }
        match applied {
            0 => Edited::Misses("none of its edits matches".to_owned()),
            _ if new == *pv => Edited::Nothing,
            _ => Edited::Changed(new),
        }
    }
}

/// Reads one edit; `None` only after a fault was noted.
pub(super) fn edit(reader: &mut Reader, node: &Node<'_>) -> Option<Edit> {
    let fields = reader.object(node, &["at", "find", "replace", "optional"])?;
    let (at_node, at) =
        reader.required(node, &fields, "at", "the JSON pointer of a field, e.g. /spec/csi/volumeHandle")?;
    let (find_node, find) = reader.required(node, &fields, "find", "a regular expression")?;
    let (replace_node, replace) = reader.required(node, &fields, "replace", "what stands there instead")?;
    let optional = named(&fields, "optional").is_some() && reader.flag(&fields, "optional");
    if !at.starts_with("/spec/") && !at.starts_with("/metadata/annotations/") && !at.starts_with("/metadata/labels/") {
        reader.value(&at_node, at, "it must begin with /spec/, /metadata/annotations/ or /metadata/labels/");
        return None;
    }
    let find = match GoRegex::new(find) {
        Ok(find) => find,
        Err(why) => {
            reader.note(find_node.position, &find_node.path, Fault::Pattern { pattern: find.to_owned(), why });
            return None;
        }
    };
    let replace = Template::new(replace);
    if let Some(unknown) = find.unknown_groups(&replace).first() {
        let why = format!(
            "${{{unknown}}} names no group of the pattern and would be empty; for a number before letters write e.g. ${{1}}x"
        );
        reader.note(replace_node.position, &replace_node.path, Fault::Pattern { pattern: replace.to_string(), why });
        return None;
    }
    Some(Edit { at: at.to_owned(), find, replace, optional })
}
