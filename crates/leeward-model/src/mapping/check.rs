//! Contradictions between rules, and rules that are no copy.

use super::read::ReadRule;
use super::{Direction, Fault, MappingError, Side};
use crate::name::SiteName;

/// Notes every pair of rules that cannot both hold.
///
/// For each site: where one rule's directory lies in another's, both must put it at the same place; else the result would
/// depend on which rule is asked, or two volumes would become one. Across the sites: no directory is original and copy at
/// once.
pub(super) fn rules(sites: &[SiteName; 2], rules: &[ReadRule], errors: &mut Vec<MappingError>) {
    for (at, one) in rules.iter().enumerate() {
        overlap(sites, one, one, errors);
        for other in &rules[at + 1..] {
            for site in 0..2 {
                // One fault for a pair is enough: the way back fails where the way there does.
                if disagree(sites, one, other, site, errors) {
                    break;
                }
            }
            overlap(sites, one, other, errors);
            overlap(sites, other, one, errors);
        }
    }
}

fn disagree(
    sites: &[SiteName; 2],
    one: &ReadRule,
    other: &ReadRule,
    site: usize,
    errors: &mut Vec<MappingError>,
) -> bool {
    let way = Direction { from: site, to: 1 - site };
    let (inner, outer) = if one.rule.sides[site].covers(&other.rule.sides[site]) {
        (other, one)
    } else if other.rule.sides[site].covers(&one.rule.sides[site]) {
        (one, other)
    } else {
        return false;
    };
    let place = &inner.rule.sides[site];
    let here = &inner.rule.sides[way.to];
    if outer.rule.image(way, place).as_ref() == Some(here) {
        return false;
    }
    let there = outer.rule.image(way, place).as_ref().map(Side::to_string).unwrap_or_default();
    let (position, field) = &other.sides[site];
    errors.push(MappingError {
        position: *position,
        field: field.clone(),
        fault: Fault::Collision(format!(
            "{place} of site {} would be {here} of site {} by rule {:?} but {there} by rule {:?} ({}); make them agree, or keep only one",
            sites[way.from],
            sites[way.to],
            inner.rule.name,
            outer.rule.name,
            if std::ptr::eq(inner, one) { &inner.sides[site] } else { &outer.sides[site] }.0,
        )),
    });
    true
}

/// Notes if the first site's side of `one` and the second site's side of `other` share a directory.
fn overlap(sites: &[SiteName; 2], one: &ReadRule, other: &ReadRule, errors: &mut Vec<MappingError>) {
    let (first, second) = (&one.rule.sides[0], &other.rule.sides[1]);
    if !first.covers(second) && !second.covers(first) {
        return;
    }
    let (position, field) = &other.sides[1];
    errors.push(MappingError {
        position: *position,
        field: field.clone(),
        fault: Fault::NoCopy(format!(
            "{second} of site {} (rule {:?}) and {first} of site {} (rule {:?}) overlap, so a volume and its copy would be one; give each site a directory of its own",
            sites[1], other.rule.name, sites[0], one.rule.name,
        )),
    });
}
