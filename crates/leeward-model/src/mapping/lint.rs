//! What a valid mapping says that its author may not have meant.

use super::{Mapping, ReclaimPolicy, RuleKind, policy::Unmapped};
use std::collections::BTreeSet;

/// Remarks on a mapping, each a sentence. Faults are errors of [`Mapping::parse`]; these are not.
#[must_use]
pub fn lint(mapping: &Mapping) -> Vec<String> {
    let mut remarks = Vec::new();
    match mapping.reclaim_policy {
        ReclaimPolicy::Delete => remarks.push(
            "reclaimPolicy Delete: deleting a restored claim deletes the copy's storage, also in a test".to_owned(),
        ),
        ReclaimPolicy::Original => remarks.push(
            "reclaimPolicy Original: where it was Delete, deleting a restored claim deletes the copy's storage"
                .to_owned(),
        ),
        ReclaimPolicy::Retain => {}
    }
    if mapping.node_affinity.others == Some(Unmapped::Keep) {
        remarks.push(
            "nodeAffinity keep: a volume bound to nodes of one site keeps its machine from starting at another"
                .to_owned(),
        );
    }
    let mut profiles = BTreeSet::new();
    for rule in &mapping.rules {
        let name = &rule.name;
        match &rule.kind {
            RuleKind::Nfs { reused, .. } => {
                if *reused {
                    remarks.push(format!(
                        "rule {name:?} reuses its addresses: only the annotation leeward.io/site says of a volume which site it is at"
                    ));
                }
            }
            RuleKind::Parts(parts) => {
                for side in parts.sides.iter().flatten() {
                    if profiles.insert(side.profile.name.clone()) {
                        remarks.extend(
                            side.profile
                                .notes
                                .iter()
                                .map(|note| format!("rule {name:?} ({}): {note}", side.profile.name)),
                        );
                    }
                }
                let mut sides = parts.sides.iter().flatten().map(|side| (&side.driver, &side.parts));
                let first = sides.next();
                if sides.all(|side| Some(side) == first) && parts.tables.is_empty() && parts.swap.is_empty() {
                    remarks.push(format!(
                        "rule {name:?} keeps every part, so its volumes keep their addresses: right only if the copy has the same ones"
                    ));
                }
                for table in &parts.tables {
                    if table.len() == 0 {
                        remarks.push(format!("rule {name:?} has an empty table, so it covers no volume"));
                    } else if table.unchanged() > 0 {
                        remarks.push(format!(
                            "rule {name:?}: {} of {} rows say the same at all sites; is that meant?",
                            table.unchanged(),
                            table.len()
                        ));
                    }
                }
            }
            RuleKind::Raw(raw) => {
                if raw.sides.iter().flatten().any(Vec::is_empty) {
                    remarks.push(format!("rule {name:?} is one-way: a volume that it moved cannot go back"));
                }
                for edit in raw.sides.iter().flatten().flatten() {
                    let pattern = edit.find.to_string();
                    if !pattern.contains(['^', '$']) {
                        remarks.push(format!("rule {name:?}: {pattern:?} is found anywhere in {}, also inside a longer name; anchor it with ^ or $", edit.at));
                    }
                    if loose_dot(&pattern) {
                        remarks.push(format!(
                            "rule {name:?}: a dot in {pattern:?} is any character; for an address write \\."
                        ));
                    }
                }
            }
        }
    }
    remarks
}

/// A dot between digits that is not escaped.
fn loose_dot(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    bytes.windows(3).any(|w| w[0].is_ascii_digit() && w[1] == b'.' && w[2].is_ascii_digit())
}
