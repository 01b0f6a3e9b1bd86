//! The site mapping: what is what at the other site.
//!
//! Laws: a mapping has exactly two sites and works in both directions: what a rule maps there, the same rule maps back.
//! Rules count on path borders. Where several rules cover a directory they agree ([`Mapping::parse`] refuses the others),
//! and the longest is the one that is named. A mapping that was parsed is free of contradictions; there is no other way
//! to make one.

mod check;
mod read;
mod schema;

use crate::address::NfsLocation;
use crate::directory::Directory;
use crate::located::Position;
use crate::name::SiteName;
use crate::server::Server;
pub use schema::{ClassPair, NfsSpec, RuleSpec, SideSpec, SiteMapping, schema};
use std::fmt;

/// The document's `apiVersion`.
pub const API_VERSION: &str = "leeward.io/v1alpha1";
/// The document's `kind`.
pub const KIND: &str = "SiteMapping";

/// A validated site mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    sites: [SiteName; 2],
    rules: Vec<Rule>,
    /// Pairs of class names, in the order of `sites`.
    storage_classes: Vec<[String; 2]>,
}

/// One rule: a directory at one site and its copy at the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the mapping.
    pub name: String,
    /// In the order of the mapping's sites.
    sides: [Side; 2],
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
    /// Reads and checks a document (YAML or JSON).
    ///
    /// # Errors
    /// All faults of the document, each with its line, column and field.
    pub fn parse(text: &str) -> Result<Self, MappingErrors> {
        read::mapping(text)
    }

    /// The two sites, in the order of the document.
    #[must_use]
    pub fn sites(&self) -> &[SiteName; 2] {
        &self.sites
    }

    /// The site across; `None` if `site` is not of this mapping.
    #[must_use]
    pub fn other(&self, site: &SiteName) -> Option<&SiteName> {
        self.index(site).map(|at| &self.sites[1 - at])
    }

    /// The rules, in the order of the document.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The side of `rule` at `site`; `None` if `site` is not of this mapping.
    #[must_use]
    pub fn side<'a>(&self, rule: &'a Rule, site: &SiteName) -> Option<&'a Side> {
        self.index(site).map(|at| &rule.sides[at])
    }

    /// The longest rule that covers `location` at `site`.
    #[must_use]
    pub fn rule_for(&self, site: &SiteName, location: &NfsLocation) -> Option<&Rule> {
        let at = self.index(site)?;
        self.covering(at, &side_of(location)?)
    }

    /// Where the copy of `location` (at `source`) is; with the rule that says so. `None` if no rule covers it.
    #[must_use]
    pub fn across(&self, source: &SiteName, location: &NfsLocation) -> Option<(NfsLocation, &Rule)> {
        let from = self.index(source)?;
        let place = side_of(location)?;
        let rule = self.covering(from, &place)?;
        let copy = rule.image(Direction { from, to: 1 - from }, &place)?;
        Some((NfsLocation { server: copy.server.to_string(), directory: copy.path.to_string() }, rule))
    }

    /// The class at `target` that stands for `class` at `source`: the mapped one, else the one of the same name.
    ///
    /// # Errors
    /// [`ClassError`] if `class` has no pair of its own but its name is taken at `target` by another class's pair; the
    /// way back would then lead to that other class. Or if a site is not of this mapping.
    pub fn storage_class(&self, class: &str, source: &SiteName, target: &SiteName) -> Result<String, ClassError> {
        let unknown = |site: &SiteName| ClassError::UnknownSite { site: site.clone() };
        let from = self.index(source).ok_or_else(|| unknown(source))?;
        let to = self.index(target).ok_or_else(|| unknown(target))?;
        if from == to || class.is_empty() {
            return Ok(class.to_owned());
        }
        if let Some(pair) = self.storage_classes.iter().find(|pair| pair[from] == class) {
            return Ok(pair[to].clone());
        }
        match self.storage_classes.iter().find(|pair| pair[to] == class) {
            Some(pair) => Err(ClassError::Taken {
                class: class.to_owned(),
                source: source.clone(),
                target: target.clone(),
                by: pair[from].clone(),
            }),
            None => Ok(class.to_owned()),
        }
    }

    pub(crate) fn index(&self, site: &SiteName) -> Option<usize> {
        self.sites.iter().position(|s| s == site)
    }

    /// Of the rules that cover `place` at site `at`, the longest.
    fn covering(&self, at: usize, place: &Side) -> Option<&Rule> {
        self.rules.iter().filter(|r| r.sides[at].covers(place)).max_by_key(|r| r.sides[at].path.depth())
    }
}

impl Rule {
    /// Where this rule puts `place`; `None` if it does not cover it.
    fn image(&self, way: Direction, place: &Side) -> Option<Side> {
        let (from, to) = (&self.sides[way.from], &self.sides[way.to]);
        let rest = if from.server == place.server { place.path.below(&from.path) } else { None }?;
        Some(Side { server: to.server.clone(), path: to.path.join(rest) })
    }
}

pub(crate) fn side_of(location: &NfsLocation) -> Option<Side> {
    Some(Side { server: Server::parse(&location.server).ok()?, path: Directory::parse(&location.directory).ok()? })
}

/// A storage class cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// Its name means another class at the target.
    #[error(
        "storage class {class:?} of site {source} has no pair in storageClasses, and at site {target} that name stands for {by:?} of site {source}; add a pair for {class:?} [LW-0126]"
    )]
    Taken {
        /// The class.
        class: String,
        /// Where it is.
        // Named so that thiserror does not take it for the error's cause.
        r#source: SiteName,
        /// Where it should be.
        target: SiteName,
        /// The class whose pair has the name.
        by: String,
    },
    /// A site that the mapping does not have.
    #[error("site {site} is not in the site mapping; correct the name, or add the site to `sites` [LW-0123]")]
    UnknownSite {
        /// The site.
        site: SiteName,
    },
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
}

#[cfg(test)]
mod tests;
