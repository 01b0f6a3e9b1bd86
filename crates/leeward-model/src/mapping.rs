//! The site mapping: what is what at the other site.
//!
//! Laws: a mapping has two sites or more and works in every direction between them: what a rule maps there, the same rule
//! maps back. Rules count on path borders. Where several rules cover a directory they agree ([`Mapping::parse`] refuses
//! the others), and the longest is the one that is named. A mapping that was parsed is free of contradictions; there is
//! no other way to make one.

mod check;
mod csv;
pub mod import;
pub mod learn;
mod lint;
mod names;
pub(crate) mod pairs;
pub(crate) mod parts;
pub(crate) mod policy;
pub(crate) mod raw;
mod read;
pub(crate) mod reader;
mod rule;
mod schema;
mod table;
mod tables;

use crate::address::{AddressError, NfsLocation, VolumeAddress};
use crate::directory::Directory;
use crate::located::Position;
use crate::name::SiteName;
use crate::profile::{Kind, Profile};
use crate::server::Server;
pub use lint::lint;
pub use names::{ClassError, NetworkError};
use pairs::Pairs;
use parts::PartsRule;
pub use policy::ReclaimPolicy;
use policy::{NodeAffinity, Skip};
use raw::RawRule;
pub use schema::{
    ClassPair, EditSpec, NfsSpec, ProfileSpec, RowSide, RowSpec, RuleSpec, SideSpec, SiteMapping, TableSpec, schema,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The document's `apiVersion`.
pub const API_VERSION: &str = "leeward.io/v1alpha1";
/// The document's `kind`.
pub const KIND: &str = "SiteMapping";

/// Documents that tables are read `from`, by the name that the mapping calls them: CSV, or a YAML list of rows.
pub type Documents = BTreeMap<String, String>;

/// A validated site mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    sites: Vec<SiteName>,
    rules: Vec<Rule>,
    storage_classes: Pairs,
    networks: Pairs,
    pub(crate) secrets: Pairs,
    pub(crate) reclaim_policy: ReclaimPolicy,
    pub(crate) node_affinity: NodeAffinity,
    skip: Vec<Skip>,
    profiles: Vec<Arc<Profile>>,
}

/// One rule: volumes at one site and their copies at others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the mapping.
    pub name: String,
    pub(crate) kind: RuleKind,
}

/// What a rule maps. The sides are in the order of the mapping's sites; a site that the rule is not about has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RuleKind {
    /// Directories of file servers. `reused`: its addresses mean other storage at other sites.
    Nfs { sides: Vec<Option<Side>>, reused: bool },
    /// What a driver profile reads.
    Parts(PartsRule),
    /// Anything.
    Raw(RawRule),
}

/// A directory of a file server, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The file server.
    pub server: Server,
    /// The directory.
    pub path: Directory,
}

impl Side {
    /// Whether `other` lies in this side's directory.
    fn covers(&self, other: &Self) -> bool {
        self.server == other.server && self.path.covers(&other.path)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nfs://{}{}", self.server.bracketed(), self.path)
    }
}

/// A way through the mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direction {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Mapping {
    /// Reads and checks a document (YAML or JSON) whose tables are all in it.
    ///
    /// # Errors
    /// All faults of the document, each with its line, column and field.
    pub fn parse(text: &str) -> Result<Self, MappingErrors> {
        Self::parse_with(text, &Documents::new())
    }

    /// Reads and checks a document, and the tables that it takes `from` other documents.
    ///
    /// # Errors
    /// All faults of the document, each with its line, column and field; those of a table with the table's line.
    pub fn parse_with(text: &str, documents: &Documents) -> Result<Self, MappingErrors> {
        read::mapping(text, documents)
    }

    /// The names of the documents that [`Self::parse_with`] needs for this text; as far as it can be read.
    #[must_use]
    pub fn documents(text: &str) -> Vec<String> {
        read::documents(text)
    }

    /// The sites, in the order of the document; two at least.
    #[must_use]
    pub fn sites(&self) -> &[SiteName] {
        &self.sites
    }

    /// Whether `site` is of this mapping.
    #[must_use]
    pub fn has(&self, site: &SiteName) -> bool {
        self.index(site).is_some()
    }

    /// The site across, in a mapping of two; `None` if `site` is not of this mapping or there are several others.
    #[must_use]
    pub fn other(&self, site: &SiteName) -> Option<&SiteName> {
        let at = self.index(site)?;
        if self.sites.len() == 2 { self.sites.get(1 - at) } else { None }
    }

    /// The rules, in the order of the document.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The directory of an NFS rule at `site`; `None` for other rules, or if the rule is not about `site`.
    #[must_use]
    pub fn side<'a>(&self, rule: &'a Rule, site: &SiteName) -> Option<&'a Side> {
        rule.side(self.index(site)?)
    }

    /// The longest NFS rule that covers `location` at `site`.
    #[must_use]
    pub fn rule_for(&self, site: &SiteName, location: &NfsLocation) -> Option<&Rule> {
        let at = self.index(site)?;
        self.covering(at, None, &side_of(location)?)
    }

    /// Where the copy of `location` (at `source`) is at `target`; with the rule that says so. `None` if no rule covers it.
    #[must_use]
    pub fn across(&self, source: &SiteName, target: &SiteName, location: &NfsLocation) -> Option<(NfsLocation, &Rule)> {
        let way = Direction { from: self.index(source)?, to: self.index(target)? };
        let place = side_of(location)?;
        let rule = self.covering(way.from, Some(way.to), &place)?;
        let copy = rule.image(way, &place)?;
        Some((NfsLocation { server: copy.server.to_string(), directory: copy.path.to_string() }, rule))
    }

    /// The address of a volume, read with this mapping's own profiles before the shipped ones. Where none reads it but a
    /// raw rule covers it, the address is opaque.
    ///
    /// # Errors
    /// [`AddressError`] if its storage is of an unknown kind, a part is missing or malformed, or two parts disagree.
    pub fn address_of(&self, pv: &Value) -> Result<VolumeAddress, AddressError> {
        VolumeAddress::read(pv, &self.profiles).or_else(|error| {
            let sites = 0..self.sites.len();
            let raw = self.rules.iter().filter_map(|rule| match &rule.kind {
                RuleKind::Raw(raw) => Some(raw),
                _ => None,
            });
            let covers = |raw: &RawRule| {
                let ways = sites.clone().flat_map(|from| sites.clone().map(move |to| (from, to)));
                ways.filter(|(from, to)| from != to).any(|(from, to)| {
                    matches!(
                        raw.across(from, to, pv),
                        raw::Edited::Changed(_) | raw::Edited::Nothing | raw::Edited::NoWay
                    )
                })
            };
            let mut raw = raw;
            if raw.any(covers) { VolumeAddress::opaque(pv).ok_or(error) } else { Err(error) }
        })
    }

    /// What the volume is on, if the mapping says that such volumes stay out (`skip`).
    #[must_use]
    pub fn skips(&self, pv: &Value) -> Option<String> {
        let kinds = Kind::all(pv);
        let skipped = kinds.iter().find(|kind| self.skip.iter().any(|skip| skip.covers(kind)))?;
        Some(skipped.to_string())
    }

    /// The profiles that the mapping brings itself.
    pub(crate) fn profiles(&self) -> &[Arc<Profile>] {
        &self.profiles
    }

    pub(crate) fn index(&self, site: &SiteName) -> Option<usize> {
        self.sites.iter().position(|s| s == site)
    }

    /// Of the NFS rules that cover `place` at site `at` and have a side at `to`, the longest.
    fn covering(&self, at: usize, to: Option<usize>, place: &Side) -> Option<&Rule> {
        let leads = |rule: &&Rule| to.is_none_or(|to| rule.side(to).is_some());
        let covers = |rule: &&Rule| rule.side(at).is_some_and(|side| side.covers(place));
        self.rules.iter().filter(leads).filter(covers).max_by_key(|r| r.side(at).map(|side| side.path.depth()))
    }
}

impl Rule {
    /// The directory at the site of that index.
    pub(crate) fn side(&self, at: usize) -> Option<&Side> {
        match &self.kind {
            RuleKind::Nfs { sides, .. } => sides.get(at)?.as_ref(),
            _ => None,
        }
    }

    /// Where this rule puts `place`; `None` if it does not cover it.
    fn image(&self, way: Direction, place: &Side) -> Option<Side> {
        let (from, to) = (self.side(way.from)?, self.side(way.to)?);
        let rest = if from.server == place.server { place.path.below(&from.path) } else { None }?;
        Some(Side { server: to.server.clone(), path: to.path.join(rest) })
    }

    /// Its side at the site of that index, for messages.
    pub(crate) fn describe(&self, at: usize) -> Option<String> {
        match &self.kind {
            RuleKind::Nfs { .. } => self.side(at).map(Side::to_string),
            RuleKind::Parts(parts) => parts.describe(at),
            RuleKind::Raw(_) => Some("raw".to_owned()),
        }
    }
}

pub(crate) fn side_of(location: &NfsLocation) -> Option<Side> {
    Some(Side { server: Server::parse(&location.server).ok()?, path: Directory::parse(&location.directory).ok()? })
}

/// `"east" and "west"`.
pub(crate) fn listed(sites: &[SiteName]) -> String {
    let quoted: Vec<_> = sites.iter().map(|site| format!("{:?}", site.as_str())).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// All faults of a site mapping, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingErrors(pub Vec<MappingError>);

impl std::error::Error for MappingErrors {}

impl fmt::Display for MappingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "site mapping: {one}"),
            all => {
                write!(f, "site mapping has {} faults:", all.len())?;
                all.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

/// One fault of a site mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}, {}: {fault}", if .field.is_empty() { "document" } else { .field })]
pub struct MappingError {
    /// Where in the text.
    pub position: Position,
    /// The field, e.g. `rules[0].east.nfs.path`; empty for the whole document.
    pub field: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong in a site mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither YAML nor JSON.
    #[error("{0} [LW-0120]")]
    Syntax(String),
    /// A field that does not exist.
    #[error("there is no field of this name here; known are {known} [LW-0121]")]
    UnknownField {
        /// The fields that exist.
        known: String,
    },
    /// A field that must be there.
    #[error("missing; {what} [LW-0121]")]
    Missing {
        /// What belongs there.
        what: String,
    },
    /// A value of another type.
    #[error("is {found}, must be {expected} [LW-0121]")]
    Type {
        /// What was found.
        found: String,
        /// What must be there.
        expected: String,
    },
    /// A value that cannot be.
    #[error("{value:?}: {reason} [LW-0122]")]
    Value {
        /// The value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A site that is not in `sites`.
    #[error("{site:?} is not one of the sites {sites}; correct the name, or add the site to `sites` [LW-0123]")]
    UnknownSite {
        /// The site.
        site: String,
        /// Those that are.
        sites: String,
    },
    /// Two rules that contradict each other.
    #[error("{0} [LW-0124]")]
    Collision(String),
    /// A rule whose two sides are one place.
    #[error("{0} [LW-0125]")]
    NoCopy(String),
    /// A rule that would not lead back.
    #[error("{0} [LW-0127]")]
    OneWay(String),
    /// A table that cannot be used.
    #[error("{0} [LW-0128]")]
    Table(String),
    /// A driver that no profile reads.
    #[error("{0} [LW-0129]")]
    Profile(String),
    /// A regular expression or replacement that is not Go's, or has no equal here.
    #[error("{pattern:?}: {why} [LW-0118]")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        why: String,
    },
}

#[cfg(test)]
mod tests;
