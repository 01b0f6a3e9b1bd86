//! Contradictions between rules, and rules that are no copy.

use super::rule::ReadRule;
use super::{Direction, Fault, MappingError, RuleKind, Side};
use crate::name::SiteName;

/// Notes every pair of rules that cannot both hold.
///
/// For each way between two sites: where one rule's directory lies in another's, both must put it at the same place; else
/// the result would depend on which rule is asked, or two volumes would become one. Across the sites: no directory is
/// original and copy at once, unless a rule says that its addresses are reused. Rules for profiles: two that are about the
/// same volumes must be one.
pub(super) fn rules(sites: &[SiteName], rules: &[ReadRule], errors: &mut Vec<MappingError>) {
    for (at, one) in rules.iter().enumerate() {
        overlap(sites, one, one, errors);
        for other in &rules[at + 1..] {
            let mut ways = (0..sites.len()).flat_map(|from| (0..sites.len()).map(move |to| Direction { from, to }));
            // One fault for a pair is enough: the way back fails where the way there does.
            if !ways.any(|way| {
                way.from != way.to
                    && (disagree(sites, one, other, way, errors) || twice(sites, one, other, way, errors))
            }) {
                overlap(sites, one, other, errors);
                overlap(sites, other, one, errors);
            }
        }
    }
}

fn disagree(
    sites: &[SiteName],
    one: &ReadRule,
    other: &ReadRule,
    way: Direction,
    errors: &mut Vec<MappingError>,
) -> bool {
    let (Some(first), Some(second)) = (one.rule.side(way.from), other.rule.side(way.from)) else { return false };
    if one.rule.side(way.to).is_none() {
        return false;
    }
    let (inner, outer) = if first.covers(second) {
        (other, one)
    } else if second.covers(first) {
        (one, other)
    } else {
        return false;
    };
    let (Some(place), Some(here)) = (inner.rule.side(way.from), inner.rule.side(way.to)) else { return false };
    if outer.rule.image(way, place).as_ref() == Some(here) {
        return false;
    }
    let there = outer.rule.image(way, place).as_ref().map(Side::to_string).unwrap_or_default();
    let at = |rule: &ReadRule| rule.sides[way.from].clone().unwrap_or((rule.at, String::new()));
    let (position, field) = at(other);
    errors.push(MappingError {
        position,
        field,
        fault: Fault::Collision(format!(
            "{place} of site {} would be {here} of site {} by rule {:?} but {there} by rule {:?} ({}); make them agree, or keep only one",
            sites[way.from],
            sites[way.to],
            inner.rule.name,
            outer.rule.name,
            at(one).0,
        )),
    });
    true
}

/// Notes if two rules are about exactly the same volumes of a profile but do not say the same of them.
fn twice(sites: &[SiteName], one: &ReadRule, other: &ReadRule, way: Direction, errors: &mut Vec<MappingError>) -> bool {
    let (RuleKind::Parts(first), RuleKind::Parts(second)) = (&one.rule.kind, &other.rule.kind) else { return false };
    let (Some(a), Some(b)) = (&first.sides[way.from], &second.sides[way.from]) else { return false };
    let (Some(there), Some(here)) = (&first.sides[way.to], &second.sides[way.to]) else { return false };
    // Tables may share volumes out between rules.
    let same = a.driver == b.driver && a.profile.name == b.profile.name && a.parts == b.parts;
    if !same || there == here || !first.tables.is_empty() || !second.tables.is_empty() {
        return false;
    }
    let (position, field) = other.sides[way.from].clone().unwrap_or((other.at, String::new()));
    errors.push(MappingError {
        position,
        field,
        fault: Fault::Collision(format!(
            "rule {:?} ({}) is about the same volumes of site {} and puts them elsewhere at site {}; keep only one",
            one.rule.name, one.at, sites[way.from], sites[way.to],
        )),
    });
    true
}

/// Notes if one site's side of `one` and a later site's side of `other` share a directory.
fn overlap(sites: &[SiteName], one: &ReadRule, other: &ReadRule, errors: &mut Vec<MappingError>) {
    let reused = |rule: &ReadRule| matches!(rule.rule.kind, RuleKind::Nfs { reused: true, .. });
    if reused(one) || reused(other) {
        return;
    }
    for (from, to) in (0..sites.len()).flat_map(|from| (from + 1..sites.len()).map(move |to| (from, to))) {
        let (Some(first), Some(second)) = (one.rule.side(from), other.rule.side(to)) else { continue };
        if !first.covers(second) && !second.covers(first) {
            continue;
        }
        let (position, field) = other.sides[to].clone().unwrap_or((other.at, String::new()));
        errors.push(MappingError {
            position,
            field,
            fault: Fault::NoCopy(format!(
                "{second} of site {} (rule {:?}) and {first} of site {} (rule {:?}) overlap, so a volume and its copy would be one; give each site a directory of its own, or say `addressReused: true` if the address is other storage at each site",
                sites[to], other.rule.name, sites[from], one.rule.name,
            )),
        });
    }
}
