//! Finds the rule that covers a volume, and writes the address that it gives.
//!
//! Laws: every rule is asked, and those that cover the volume agree, so their order does not matter; what a rule gives
//! leads back, by the same mapping, to exactly where it came from.

use super::RewriteError;
use crate::address::{AddressError, VolumeAddress};
use crate::json;
use crate::mapping::parts::{Outcome, PartsSide, describe};
use crate::mapping::raw::{Edited, RawRule};
use crate::mapping::{Direction, Mapping, RuleKind};
use crate::name::SiteName;
use crate::profile::{Parts, Profile};
use crate::uncovered::{Nearest, Uncovered};
use serde_json::Value;

/// A volume with its new address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Covered {
    pub(crate) rule: String,
    pub(crate) after: VolumeAddress,
    pub(crate) pv: Value,
}

/// Everything about one volume that asking rules needs.
struct Question<'a> {
    pv: &'a Value,
    before: &'a VolumeAddress,
    mapping: &'a Mapping,
    way: Direction,
    source: &'a SiteName,
    target: &'a SiteName,
}

/// The volume at the other site's address.
pub(super) fn cover(
    pv: &Value,
    before: &VolumeAddress,
    mapping: &Mapping,
    way: Direction,
    source: &SiteName,
    target: &SiteName,
) -> Result<Covered, RewriteError> {
    let question = Question { pv, before, mapping, way, source, target };
    let mut nearest: Option<Nearest> = None;
    let mut covered: Option<Covered> = question.nfs()?;
    let mut one_way = None;
    for rule in mapping.rules() {
        let found = match &rule.kind {
            RuleKind::Nfs { .. } => continue,
            RuleKind::Raw(raw) => match raw.across(way.from, way.to, pv) {
                Edited::Changed(new) => Some(question.edited(&rule.name, raw, new)?),
                Edited::Nothing => {
                    return Err(RewriteError::Unchanged {
                        pv: json::name(pv),
                        address: before.to_string(),
                        rule: rule.name.clone(),
                        site: source.clone(),
                    });
                }
                Edited::NoWay => {
                    one_way = Some(rule.name.clone());
                    None
                }
                Edited::Misses(why) => {
                    Nearest::consider(&mut nearest, &rule.name, rule.describe(way.from), (0, why));
                    None
                }
                Edited::Other => None,
            },
            RuleKind::Parts(parts) => {
                let VolumeAddress::Driver { profile, driver, parts: old } = before else { continue };
                match parts.across(way.from, way.to, driver, profile, old) {
                    Outcome::Moves(new) => {
                        let (Some(here), Some(there)) = (&parts.sides[way.from], &parts.sides[way.to]) else {
                            continue;
                        };
                        Some(question.moved(&rule.name, (here, old), (there, &new))?)
                    }
                    Outcome::Misses { matched, why } => {
                        Nearest::consider(&mut nearest, &rule.name, rule.describe(way.from), (matched + 1, why));
                        None
                    }
                    Outcome::Other => None,
                }
            }
        };
        let Some(found) = found else { continue };
        match &covered {
            Some(first) if first.after != found.after || first.pv != found.pv => {
                return Err(question.disagree(first, &found));
            }
            Some(_) => {}
            None => covered = Some(found),
        }
    }
    match (covered, one_way) {
        (Some(covered), _) => Ok(covered),
        (None, Some(rule)) => {
            Err(RewriteError::OneWay { pv: json::name(pv), address: before.to_string(), rule, site: source.clone() })
        }
        (None, None) => {
            Err(RewriteError::Uncovered(Box::new(Uncovered::new(pv, before, mapping, way, source, target, nearest))))
        }
    }
}

impl Question<'_> {
    fn no_way_back(&self, rule: &str, after: impl ToString, why: impl Into<String>) -> RewriteError {
        RewriteError::NoWayBack {
            pv: json::name(self.pv),
            before: self.before.to_string(),
            after: after.to_string(),
            rule: rule.to_owned(),
            why: why.into().into(),
        }
    }

    fn disagree(&self, first: &Covered, second: &Covered) -> RewriteError {
        RewriteError::Disagree {
            pv: json::name(self.pv),
            address: self.before.to_string(),
            site: self.source.clone(),
            ways: Box::new([first, second].map(|way| (way.rule.clone(), way.after.to_string()))),
        }
    }

    /// By the longest NFS rule.
    fn nfs(&self) -> Result<Option<Covered>, RewriteError> {
        let Some(location) = self.before.nfs() else { return Ok(None) };
        let Some((copy, rule)) = self.mapping.across(self.source, self.target, &location) else { return Ok(None) };
        // That a mapping leads back was checked when it was read; how a volume is split into share and subdirectory is
        // known only here.
        let after = self.before.moved_to(&copy).ok_or_else(|| {
            let why = format!(
                "has too few folders at site {} for the volume's subdirectory; let its path end at the share",
                self.target
            );
            self.no_way_back(&rule.name, &copy, why)
        })?;
        let mut pv = self.pv.clone();
        after.write_to(&mut pv);
        Ok(Some(Covered { rule: rule.name.clone(), after, pv }))
    }

    /// By a rule for profiles.
    fn moved(
        &self,
        rule: &str,
        (here, old): (&PartsSide, &Parts),
        (there, new): (&PartsSide, &Parts),
    ) -> Result<Covered, RewriteError> {
        let unwritable = |error: AddressError| match error {
            AddressError::Invalid { pv, field, value, reason } => {
                RewriteError::Unwritable { pv, rule: rule.to_owned(), field, value, reason: reason.into() }
            }
            other => other.into(),
        };
        let mut pv = self.pv.clone();
        if here.profile.name == there.profile.name {
            here.profile.write(&mut pv, old, new).map_err(unwritable)?;
        } else {
            here.profile.replace(&mut pv, &there.profile, new).map_err(unwritable)?;
        }
        if here.driver != there.driver
            && let Some(csi) = json::object_at(&mut pv, &["spec", "csi"])
        {
            csi.insert("driver".to_owned(), Value::String(there.driver.clone()));
        }
        // What is written is what will be read, or it would not be the address of anything.
        let parts = there.profile.read(&pv)?;
        let canonical = canonical(&there.profile, new);
        let after = VolumeAddress::Driver { profile: there.profile.name.clone(), driver: there.driver.clone(), parts };
        let VolumeAddress::Driver { parts, .. } = &after else { return Err(self.no_way_back(rule, &after, "")) };
        if *parts != canonical {
            let wanted = describe(&there.driver, &canonical);
            return Err(self.no_way_back(rule, &after, format!("means {wanted}; correct the profile's places")));
        }
        let mut returns = 0;
        for other in self.mapping.rules() {
            let RuleKind::Parts(back) = &other.kind else { continue };
            let way = (self.way.to, self.way.from);
            let Outcome::Moves(home) = back.across(way.0, way.1, &there.driver, &there.profile.name, parts) else {
                continue;
            };
            let Some(side) = &back.sides[way.1] else { continue };
            let home = canonical_of(side, &home);
            if side.driver != here.driver || home != *old {
                let there = describe(&side.driver, &home);
                let why =
                    format!("is not alone: by rule {:?} it would come home as {there}; keep only one", other.name);
                return Err(self.no_way_back(rule, &after, why));
            }
            returns += 1;
        }
        if returns == 0 {
            return Err(self.no_way_back(rule, &after, "does not cover what it gives; say every part in it"));
        }
        Ok(Covered { rule: rule.to_owned(), after, pv })
    }

    /// By a raw rule.
    fn edited(&self, rule: &str, raw: &RawRule, new: Value) -> Result<Covered, RewriteError> {
        // Where there is no way back, nothing covers what it became.
        let after = self.mapping.address_of(&new).or_else(|error| VolumeAddress::opaque(&new).ok_or(error))?;
        match raw.across(self.way.to, self.way.from, &new) {
            Edited::Changed(home) if home == *self.pv => {}
            Edited::NoWay => {}
            Edited::Changed(_) | Edited::Nothing => {
                let why = format!("has edits at site {} that make something else of it; correct them", self.target);
                return Err(self.no_way_back(rule, &after, why));
            }
            Edited::Misses(why) => {
                let why = format!("does not cover it at site {}: {why}; correct the edits there", self.target);
                return Err(self.no_way_back(rule, &after, why));
            }
            Edited::Other => {}
        }
        Ok(Covered { rule: rule.to_owned(), after, pv: new })
    }
}

fn canonical(profile: &Profile, parts: &Parts) -> Parts {
    parts.iter().map(|(name, value)| (name.clone(), value.canonical(profile.kind(name).maps))).collect()
}

fn canonical_of(side: &PartsSide, parts: &Parts) -> Parts {
    canonical(&side.profile, parts)
}
