//! A volume that no rule covers: the error that says which rule comes nearest and which one is missing.

use crate::address::VolumeAddress;
use crate::json;
use crate::mapping::parts::Outcome;
use crate::mapping::{Direction, Mapping, Rule, RuleKind, Side, side_of};
use crate::name::SiteName;
use crate::profile::{self, Kind, Maps, PartValue, Parts};
use serde_json::Value;
use std::fmt;

/// No rule of the site mapping covers a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// The PersistentVolume.
    pub pv: String,
    /// Its claim, `namespace/name`, if it has one.
    pub claim: Option<String>,
    /// Where its data is.
    pub address: String,
    /// The site that it is at.
    pub source: SiteName,
    /// The site that it should be rewritten for.
    pub target: SiteName,
    /// The rule that comes nearest: its name and its side at `source`.
    pub nearest: Option<Nearest>,
    /// A rule that does cover it at `target`: then the address probably belongs to that site already.
    pub at_target: Option<String>,
    /// A rule that would cover it, YAML, one line; what cannot be known stands in `<…>`.
    pub proposed: String,
}

/// The rule that comes nearest to covering a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// Its name.
    pub rule: String,
    /// Its side at the volume's site.
    pub side: String,
    /// Why it does not cover it; empty if the side says it.
    pub why: String,
    /// How much of it matches.
    near: usize,
}

impl Nearest {
    /// Keeps the nearer one; the first of equals.
    pub(crate) fn consider(nearest: &mut Option<Self>, rule: &str, side: Option<String>, (near, why): (usize, String)) {
        if nearest.as_ref().is_none_or(|known| near > known.near) {
            *nearest = Some(Self { rule: rule.to_owned(), side: side.unwrap_or_default(), why, near });
        }
    }
}

/// The claim of a volume, `namespace/name`.
pub(crate) fn claim(pv: &Value) -> Option<String> {
    json::text(pv, "/spec/claimRef/name")
        .map(|name| format!("{}/{name}", json::text(pv, "/spec/claimRef/namespace").unwrap_or_default()))
}

impl Uncovered {
    pub(crate) fn new(
        pv: &Value,
        address: &VolumeAddress,
        mapping: &Mapping,
        way: Direction,
        source: &SiteName,
        target: &SiteName,
        nearest: Option<Nearest>,
    ) -> Self {
        let location = address.nfs();
        let place = location.as_ref().and_then(side_of);
        let nfs = place.as_ref().and_then(|place| nearest_directory(mapping, source, target, place));
        let (at_target, proposed) = match (&location, address) {
            (Some(location), _) => {
                let covers = mapping.rule_for(target, location).map(|rule| rule.name.clone());
                (covers, proposal(mapping, source, target, address, nfs))
            }
            (None, VolumeAddress::Driver { profile, driver, parts }) => {
                let covers = |rule: &&Rule| matches!(&rule.kind, RuleKind::Parts(known) if matches!(known.across(way.to, way.from, driver, profile, parts), Outcome::Moves(_)));
                let covers = mapping.rules().iter().find(covers).map(|rule| rule.name.clone());
                (covers, parts_proposal(mapping, source, target, (profile, driver), parts))
            }
            _ => (None, format!("{{name: …, {source}: {{raw: […]}}, {target}: {{raw: […]}}}}")),
        };
        let nfs = nfs.and_then(|rule| {
            let side = mapping.side(rule, source)?.to_string();
            Some(Nearest { rule: rule.name.clone(), side, why: String::new(), near: 0 })
        });
        Self {
            pv: json::name(pv),
            claim: claim(pv),
            nearest: nfs.or(nearest),
            at_target,
            proposed,
            address: address.to_string(),
            source: source.clone(),
            target: target.clone(),
        }
    }
}

/// The rule on the same server that has most folders in common, else the one on another server that covers the path.
fn nearest_directory<'a>(mapping: &'a Mapping, source: &SiteName, target: &SiteName, place: &Side) -> Option<&'a Rule> {
    let near = |rule: &&Rule| {
        mapping.side(rule, source).map_or((false, 0), |side| {
            let common = side.path.common(&place.path);
            (side.server == place.server, common)
        })
    };
    let leads = |rule: &&Rule| mapping.side(rule, target).is_some();
    mapping.rules().iter().filter(leads).filter(|rule| near(rule) > (false, 0)).max_by_key(near)
}

fn proposal(
    mapping: &Mapping,
    source: &SiteName,
    target: &SiteName,
    address: &VolumeAddress,
    nearest: Option<&Rule>,
) -> String {
    // The whole share for a CSI volume, whose neighbours are then covered too; for an in-tree volume its own directory:
    // where the export ends cannot be seen.
    let (server, path) = match address {
        VolumeAddress::InTreeNfs { server, path } => (server, path),
        VolumeAddress::CsiNfs { server, share, .. } => (server, share),
        VolumeAddress::Driver { .. } | VolumeAddress::Opaque { .. } => return String::new(),
    };
    let known = nearest.and_then(|rule| Some((mapping.side(rule, source)?, mapping.side(rule, target)?)));
    let there = known
        .filter(|(here, _)| here.server.as_str() == server)
        .map_or_else(|| format!("<file server of {target}>"), |(_, there)| there.server.to_string());
    let name = path.trim_matches('/').replace('/', "-");
    format!(
        "{{name: {}, {source}: {{nfs: {{server: {}, path: {}}}}}, {target}: {{nfs: {{server: {}, path: {}}}}}}}",
        quoted(if name.is_empty() { "root" } else { &name }),
        quoted(server),
        quoted(path),
        quoted(&there),
        quoted(&format!("<directory of its copy at {target}>")),
    )
}

/// A rule for what a profile read: parts that volumes share at both sides, the volume's own in a table.
fn parts_proposal(
    mapping: &Mapping,
    source: &SiteName,
    target: &SiteName,
    (name, driver): (&str, &str),
    parts: &Parts,
) -> String {
    let profile = profile::all(mapping.profiles()).find(|profile| profile.name == name);
    let kind = |part: &str| profile.map(|profile| profile.kind(part)).unwrap_or_default();
    let shared: Vec<_> = parts.iter().filter(|(n, _)| !kind(n).per_volume && kind(n).maps != Maps::Keep).collect();
    let own: Vec<_> = parts.iter().filter(|(n, _)| kind(n).per_volume).collect();
    let value = |value: &PartValue| match value {
        PartValue::One(text) => quoted(text),
        PartValue::Many(texts) => format!("[{}]", texts.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", ")),
    };
    let here: Vec<_> = shared.iter().map(|(name, v)| format!("{name}: {}", value(v))).collect();
    let there: Vec<_> =
        shared.iter().map(|(name, _)| format!("{name}: {}", quoted(&format!("<{name} at {target}>")))).collect();
    let matcher = match driver.strip_prefix(Kind::IN_TREE) {
        Some(kind) => format!("inTree: {kind}"),
        None => format!("driver: {}", quoted(driver)),
    };
    let tables: Vec<_> = own
        .iter()
        .map(|(name, v)| {
            let rows = v.texts().iter().map(|text| {
                format!(
                    "{{{source}: {}, {target}: {}}}",
                    quoted(text),
                    quoted(&format!("<{name} of its copy at {target}>"))
                )
            });
            let rows = rows.collect::<Vec<_>>().join(", ");
            format!("{{parts: [{name}], rows: [{rows}]}}")
        })
        .collect();
    let table = if tables.is_empty() { String::new() } else { format!(", table: [{}]", tables.join(", ")) };
    format!(
        "{{name: {}, {source}: {{{matcher}, parts: {{{}}}}}, {target}: {{{matcher}, parts: {{{}}}}}{table}}}",
        quoted(name),
        here.join(", "),
        there.join(", ")
    )
}

/// A YAML string that reads the same in a flow mapping.
pub(crate) fn quoted(text: &str) -> String {
    // YAML 1.1 reads these as something else than text.
    const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    let plain = !text.is_empty()
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if plain { text.to_owned() } else { format!("{text:?}") }
}

impl std::error::Error for Uncovered {}

impl fmt::Display for Uncovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersistentVolume {:?}", self.pv)?;
        match &self.claim {
            Some(claim) => write!(f, " (claim {claim})")?,
            None => f.write_str(" (no claim)")?,
        }
        write!(f, " is at {}, which no rule of the site mapping covers for site {}", self.address, self.source)?;
        if let Some(Nearest { rule, side, why, .. }) = &self.nearest {
            write!(f, "; nearest is rule {rule:?} ({side})")?;
            if !why.is_empty() {
                write!(f, ": {why}")?;
            }
        }
        if let Some(rule) = &self.at_target {
            write!(
                f,
                "; rule {rule:?} covers it at site {}: is it there already, and its annotation {} wrong?",
                self.target,
                crate::keys::SITE
            )?;
        }
        write!(f, "; add a rule: {} [LW-0130]", self.proposed)
    }
}
