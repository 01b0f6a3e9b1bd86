//! Proposes a mapping from the volumes of two sites that hold the same data: pairs of volumes of one name or one claim.
//!
//! Law: the proposed mapping takes every pair that it was learned from there and back ([`learn`] tries it and notes those
//! where it does not).

use super::Mapping;
use super::import::Proposal;
use super::schema::{ClassPair, NfsSpec, RowSide, RowSpec, RuleSpec, SideSpec, SiteMapping, TableSpec};
use crate::address::{NfsLocation, VolumeAddress};
use crate::json;
use crate::name::SiteName;
use crate::profile::{self, Kind, Maps, Parts};
use crate::rewrite::rewrite;
use crate::uncovered::claim;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Nothing could be learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of {here} volumes of site {source_site} has a counterpart among {there} of site {target}, by its name or its claim; nothing can be learned from them [LW-0146]"
)]
pub struct NothingToLearn {
    /// How many volumes one site has.
    pub here: usize,
    /// How many the other has.
    pub there: usize,
    /// One site.
    pub source_site: SiteName,
    /// The other.
    pub target: SiteName,
}

/// Volumes of one kind, and the parts that all of them share at either site.
type GroupKey = (String, String, String, Parts, Parts);
/// The parts of one volume at either site.
type Pair = (Parts, Parts);

/// Proposes a mapping between two sites from their volumes.
///
/// # Errors
/// [`NothingToLearn`] if no volume of one site has a counterpart at the other.
pub fn learn(east: &[Value], west: &[Value], sites: &[SiteName; 2]) -> Result<Proposal, NothingToLearn> {
    let mut notes = Vec::new();
    let pairs = pairs(east, west);
    if pairs.is_empty() {
        let [source_site, target] = sites.clone();
        return Err(NothingToLearn { here: east.len(), there: west.len(), source_site, target });
    }
    let mut directories: BTreeSet<(NfsLocation, NfsLocation)> = BTreeSet::new();
    let mut groups: BTreeMap<GroupKey, Vec<Pair>> = BTreeMap::new();
    let mut classes: BTreeSet<(String, String)> = BTreeSet::new();
    for (here, there) in &pairs {
        let class = |pv: &Value| json::text(pv, "/spec/storageClassName").filter(|c| !c.is_empty()).map(str::to_owned);
        classes.extend(class(here).zip(class(there)));
        match (VolumeAddress::from_pv(here), VolumeAddress::from_pv(there)) {
            (Err(why), _) => notes.push(format!("left out: {why}")),
            (_, Err(why)) => notes.push(format!("left out: {why}")),
            (Ok(one), Ok(other)) => match (one.nfs().zip(other.nfs()), one, other) {
                (Some((one, other)), ..) => drop(directories.insert(stripped(one, other))),
                (
                    None,
                    VolumeAddress::Driver { profile, driver, parts },
                    VolumeAddress::Driver { profile: theirs, driver: there, parts: others },
                ) if profile == theirs => {
                    let (shared, own) = split(&profile, &parts);
                    let (shared_there, own_there) = split(&profile, &others);
                    groups.entry((profile, driver, there, shared, shared_there)).or_default().push((own, own_there));
                }
                _ => {
                    notes.push(format!("left out: {} is on different kinds of storage at the sites", json::name(here)))
                }
            },
        }
    }
    let mut mapping = SiteMapping::new(sites.to_vec());
    for (at, (one, other)) in directories.into_iter().enumerate() {
        let side = |of: NfsLocation| SideSpec {
            nfs: Some(NfsSpec { server: of.server, path: of.directory }),
            ..SideSpec::default()
        };
        mapping.rules.push(RuleSpec {
            name: format!("nfs-{}", at + 1),
            sides: [(sites[0].clone(), side(one)), (sites[1].clone(), side(other))].into(),
            ..RuleSpec::default()
        });
    }
    for (at, ((profile, driver, there, shared, others), volumes)) in groups.into_iter().enumerate() {
        mapping.rules.push(parts_rule(
            format!("{profile}-{}", at + 1),
            sites,
            (&driver, &shared),
            (&there, &others),
            &profile,
            &volumes,
        ));
    }
    for (one, other) in classes.into_iter().filter(|(one, other)| one != other) {
        mapping.storage_classes.push(ClassPair([(sites[0].clone(), one), (sites[1].clone(), other)].into()));
    }
    match Mapping::parse(&mapping.yaml()) {
        Err(errors) => notes.push(format!("this mapping is not usable as it is: {errors}")),
        Ok(learned) => {
            for (here, there) in &pairs {
                let (Ok(wanted), Ok(_)) = (VolumeAddress::from_pv(there), VolumeAddress::from_pv(here)) else {
                    continue;
                };
                match rewrite(here, &learned, &sites[0], &sites[1]) {
                    Ok(got) if got.after == wanted => {}
                    Ok(got) => notes.push(format!("{} would be {}, but is {wanted}", json::name(here), got.after)),
                    Err(why) => notes.push(why.to_string()),
                }
            }
        }
    }
    Ok(Proposal::new(&mapping, notes))
}

/// Volumes of one name, else of one claim.
fn pairs<'a>(east: &'a [Value], west: &'a [Value]) -> Vec<(&'a Value, &'a Value)> {
    let by_name: BTreeMap<String, &Value> = west.iter().map(|pv| (json::name(pv), pv)).collect();
    let by_claim: BTreeMap<String, &Value> = west.iter().filter_map(|pv| Some((claim(pv)?, pv))).collect();
    let counterpart = |pv: &Value| by_name.get(&json::name(pv)).or_else(|| by_claim.get(&claim(pv)?)).copied();
    east.iter().filter_map(|pv| Some((pv, counterpart(pv)?))).collect()
}

/// Both directories without the folders at their ends that are the same.
fn stripped(mut one: NfsLocation, mut other: NfsLocation) -> (NfsLocation, NfsLocation) {
    while let (Some((head, a)), Some((there, b))) = (one.directory.rsplit_once('/'), other.directory.rsplit_once('/'))
        && a == b
        && !head.is_empty()
        && !there.is_empty()
    {
        let (head, there) = (head.to_owned(), there.to_owned());
        (one.directory, other.directory) = (head, there);
    }
    (one, other)
}

/// The parts that volumes share, and each volume's own.
fn split(profile: &str, parts: &Parts) -> (Parts, Parts) {
    let known = profile::shipped().iter().find(|known| known.name == profile);
    let own = |part: &str| known.is_some_and(|known| known.kind(part).per_volume);
    let keeps = |part: &str| known.is_some_and(|known| known.kind(part).maps == Maps::Keep);
    let of = |pick: &dyn Fn(&str) -> bool| {
        parts.iter().filter(|(name, _)| pick(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    (of(&|part| !own(part) && !keeps(part)), of(&own))
}

fn parts_rule(
    name: String,
    sites: &[SiteName; 2],
    (driver, shared): (&str, &Parts),
    (there, others): (&str, &Parts),
    profile: &str,
    volumes: &[Pair],
) -> RuleSpec {
    let side = |driver: &str, parts: &Parts| {
        let in_tree = driver.strip_prefix(Kind::IN_TREE).map(str::to_owned);
        let csi = if in_tree.is_none() { Some(driver.to_owned()) } else { None };
        SideSpec {
            driver: csi,
            in_tree,
            profile: Some(profile.to_owned()),
            parts: parts.clone(),
            ..SideSpec::default()
        }
    };
    let own: BTreeSet<&String> = volumes.iter().flat_map(|(here, there)| here.keys().chain(there.keys())).collect();
    let mut rule = RuleSpec {
        name,
        sides: [(sites[0].clone(), side(driver, shared)), (sites[1].clone(), side(there, others))].into(),
        ..RuleSpec::default()
    };
    for part in own {
        if volumes.iter().all(|(here, there)| here.get(part) == there.get(part)) {
            rule.keep.push(part.clone());
            continue;
        }
        let texts = |(here, there): &Pair| {
            let (here, there) = (here.get(part)?.texts().to_vec(), there.get(part)?.texts().to_vec());
            Some(here.into_iter().zip(there).collect::<Vec<_>>())
        };
        let rows: BTreeSet<(String, String)> = volumes.iter().filter_map(texts).flatten().collect();
        let row = |(here, there): (String, String)| {
            RowSpec([(sites[0].clone(), RowSide::One(here)), (sites[1].clone(), RowSide::One(there))].into())
        };
        let rows = rows.into_iter().map(row).collect();
        rule.table.push(TableSpec { parts: vec![part.clone()], rows, ..TableSpec::default() });
    }
    rule
}

#[cfg(test)]
mod tests;
