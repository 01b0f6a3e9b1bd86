//! A rule for volumes that a driver profile reads: what each part is at the other site.
//!
//! Laws: every part is looked up in the volume as it was, so halves can change places; a rule covers a volume only if it
//! says something of every part; what it says works in both directions ([`super::read`] refuses the rest).

use super::table::Table;
use crate::directory::Directory;
use crate::profile::{Maps, PartValue, Parts, Profile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsRule {
    /// By site; `None` where the rule has no side.
    pub(crate) sides: Vec<Option<PartsSide>>,
    /// Parts that are the same at both sites.
    pub(crate) keep: BTreeSet<String>,
    /// Parts that change places, both ways.
    pub(crate) swap: BTreeMap<String, String>,
    pub(crate) tables: Vec<Table>,
}

/// The volumes of one site that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsSide {
    /// The CSI driver's name, or `kubernetes.io/<kind>`.
    pub(crate) driver: String,
    pub(crate) profile: Arc<Profile>,
    pub(crate) parts: Parts,
}

/// What a rule says of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is about other volumes.
    Other,
    /// It is about this driver's volumes, but not about this one: so many parts match, and why not.
    Misses { matched: usize, why: String },
    /// The parts across, spelled as they are written.
    Moves(Parts),
}

impl PartsRule {
    /// The parts at `to` of a volume with `parts` at `from`.
    pub(crate) fn across(&self, from: usize, to: usize, driver: &str, profile: &str, parts: &Parts) -> Outcome {
        let (Some(here), Some(there)) = (&self.sides[from], &self.sides[to]) else { return Outcome::Other };
        if here.driver != driver || here.profile.name != profile {
            return Outcome::Other;
        }
        let mut new = Parts::new();
        let mut matched = 0;
        for (name, value) in parts {
            let kind = here.profile.kind(name);
            let (target, value) = if let (Some(mine), Some(theirs)) = (here.parts.get(name), there.parts.get(name)) {
                match fixed(kind.maps, mine, theirs, value) {
                    Some(value) => (name, value),
                    None => return Outcome::Misses { matched, why: format!("{name} is {value}, not {mine}") },
                }
            } else if self.keep.contains(name) {
                (name, value.clone())
            } else if let Some(other) = self.swap.get(name) {
                (other, value.clone())
            } else if self.tables.iter().any(|table| table.parts.contains(name)) {
                continue;
            } else if kind.maps == Maps::Keep {
                (name, value.clone())
            } else {
                let why =
                    format!("it says nothing of {name} ({value}); say it in both sides' parts, keep, swap or a table");
                return Outcome::Misses { matched, why };
            };
            matched += 1;
            new.insert(target.clone(), value);
        }
        for table in &self.tables {
            match table.across(from, to, parts) {
                Ok(found) => new.extend(found),
                Err(why) => return Outcome::Misses { matched, why },
            }
        }
        Outcome::Moves(new)
    }

    /// The side at `site`, for messages.
    pub(crate) fn describe(&self, site: usize) -> Option<String> {
        let side = self.sides[site].as_ref()?;
        Some(describe(&side.driver, &side.parts))
    }
}

/// `rbd.csi.ceph.com(cluster rook, pool 3)`.
pub(crate) fn describe(driver: &str, parts: &Parts) -> String {
    let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("{driver}({})", parts.join(", "))
}

/// A part that the rule's sides say; `None` if the volume's is another.
fn fixed(maps: Maps, mine: &PartValue, theirs: &PartValue, value: &PartValue) -> Option<PartValue> {
    let (mine, theirs) = (mine.texts(), theirs.texts());
    if mine.len() == theirs.len() {
        return value.map(|text| {
            let way = |(mine, theirs): (&String, &String)| match maps {
                Maps::Path => below(text, mine, theirs),
                _ => maps.same(text, mine).then(|| (usize::MAX, theirs.clone())),
            };
            let ways = mine.iter().zip(theirs).filter_map(way);
            ways.max_by_key(|(depth, _)| *depth).map(|(_, text)| text)
        });
    }
    // A list whose lengths differ stands for the whole.
    let texts = value.texts();
    let whole = texts.len() == mine.len() && texts.iter().zip(mine).all(|(a, b)| maps.same(a, b));
    whole.then(|| PartValue::Many(theirs.to_vec()))
}

/// `text` moved from below `from` to below `to`, with the depth of the match.
fn below(text: &str, from: &str, to: &str) -> Option<(usize, String)> {
    let parse = |text: &str| Directory::below_root(text).ok();
    let (place, from, target) = (parse(text)?, parse(from)?, parse(to)?);
    let moved = target.join(place.below(&from)?);
    let text = if to.starts_with('/') { moved.to_string() } else { moved.relative().to_owned() };
    Some((from.depth(), text))
}
