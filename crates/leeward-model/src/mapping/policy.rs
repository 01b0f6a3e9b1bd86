//! What a mapping says of all volumes: node affinity, and which kinds stay out.

use super::pairs::Pairs;
use super::reader::{Reader, named};
use crate::located::Node;
use crate::name::SiteName;
use crate::profile::Kind;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Fields of a node affinity's entry that no site may be called.
pub(super) const FIELDS: [&str; 2] = ["key", "policy"];

/// What becomes of the persistent volume's reclaim policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// The volume outlives its claim.
    #[default]
    Retain,
    /// The storage is deleted with the claim.
    Delete,
    /// What it was before Leeward kept it.
    Original,
}

/// What becomes of an expression or label that no profile maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmapped {
    Drop,
    Keep,
}

/// What becomes of node affinity and topology labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NodeAffinity {
    /// For all keys without an entry; `None`: an error.
    pub(crate) others: Option<Unmapped>,
    pub(crate) keys: BTreeMap<String, KeyPolicy>,
}

/// What becomes of the values of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyPolicy {
    pub(crate) unmapped: Option<Unmapped>,
    pub(crate) values: Pairs,
}

/// Volumes that stay out instead of being refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Skip {
    Driver(String),
    InTree(String),
}

impl Skip {
    pub(crate) fn covers(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (Self::Driver(name), Kind::Csi(driver)) => name == driver,
            (Self::InTree(name), Kind::InTree(kind)) => name == kind,
            _ => false,
        }
    }
}

fn unmapped(reader: &mut Reader, node: &Node<'_>) -> Option<Unmapped> {
    match reader.text(node)? {
        "drop" => Some(Unmapped::Drop),
        "keep" => Some(Unmapped::Keep),
        text => {
            reader.value(node, text, "must be drop or keep");
            None
        }
    }
}

pub(super) fn node_affinity(reader: &mut Reader, node: &Node<'_>, sites: &[SiteName]) -> NodeAffinity {
    let mut policy = NodeAffinity::default();
    let Some(items) = node.items() else {
        policy.others = unmapped(reader, node);
        return policy;
    };
    for item in &items {
        let Some(fields) = item.fields() else {
            reader.wrong_type(item, "an object with `key`, and a value for each site or a `policy`");
            continue;
        };
        for field in &fields {
            if !FIELDS.contains(&field.key) && !sites.iter().any(|site| site.as_str() == field.key) {
                reader.unknown_site(field, sites);
            }
        }
        let Some((_, key)) =
            reader.required(item, &fields, "key", "the key of expressions and labels; `*` for all others")
        else {
            continue;
        };
        if let Some(field) = named(&fields, "policy") {
            let said = unmapped(reader, &field.value);
            match key {
                "*" => policy.others = said,
                _ => policy.keys.entry(key.to_owned()).or_default().unmapped = said,
            }
            continue;
        }
        let row: Vec<Option<String>> =
            sites.iter().map(|site| reader.optional(&fields, site.as_str()).map(str::to_owned)).collect();
        if row.iter().flatten().count() < 2 {
            reader.missing(item, "policy", "a value for each site, or a `policy` (drop, keep)");
        }
        let values = &mut policy.keys.entry(key.to_owned()).or_default().values;
        for (at, value) in row.iter().enumerate() {
            if let Some(value) = value
                && values.0.iter().any(|known| known[at].as_ref() == Some(value))
            {
                reader.value(item, value, "an earlier entry has this value, so there would be two ways for it");
            }
        }
        values.0.push(row);
    }
    policy
}

pub(super) fn skip(reader: &mut Reader, node: &Node<'_>) -> Option<Skip> {
    let fields = reader.object(node, &["driver", "inTree"])?;
    match (reader.optional(&fields, "driver"), reader.optional(&fields, "inTree")) {
        (Some(driver), None) => Some(Skip::Driver(driver.to_owned())),
        (None, Some(kind)) => Some(Skip::InTree(kind.to_owned())),
        _ => {
            reader.missing(node, "driver", "the CSI driver, or the kind (`inTree: hostPath`)");
            None
        }
    }
}
