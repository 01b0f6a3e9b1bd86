//! A volume that no rule covers: the error that says which rule comes nearest and which one is missing.

use crate::address::{NfsLocation, VolumeAddress};
use crate::json;
use crate::mapping::{Mapping, Rule, Side, side_of};
use crate::name::SiteName;
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
    pub address: NfsLocation,
    /// The site that it is at.
    pub source: SiteName,
    /// The site that it should be rewritten for.
    pub target: SiteName,
    /// The rule that comes nearest: its name and its side at `source`.
    pub nearest: Option<(String, String)>,
    /// A rule that does cover it at `target`: then the address probably belongs to that site already.
    pub at_target: Option<String>,
    /// A rule that would cover it, YAML, one line; what cannot be known stands in `<…>`.
    pub proposed: String,
}

impl Uncovered {
    pub(crate) fn new(
        pv: &Value,
        address: &VolumeAddress,
        mapping: &Mapping,
        source: &SiteName,
        target: &SiteName,
    ) -> Self {
        let claim = json::text(pv, "/spec/claimRef/name")
            .map(|name| format!("{}/{name}", json::text(pv, "/spec/claimRef/namespace").unwrap_or_default()));
        let location = address.nfs();
        let place = side_of(&location);
        let nearest = place.as_ref().and_then(|place| nearest(mapping, source, place));
        let at_target = mapping.rule_for(target, &location).map(|rule| rule.name.clone());
        Self {
            pv: json::name(pv),
            claim,
            nearest: nearest.and_then(|rule| Some((rule.name.clone(), mapping.side(rule, source)?.to_string()))),
            at_target,
            proposed: proposal(mapping, source, target, address, nearest),
            address: location,
            source: source.clone(),
            target: target.clone(),
        }
    }
}

/// The rule on the same server that has most folders in common, else the one on another server that covers the path.
fn nearest<'a>(mapping: &'a Mapping, source: &SiteName, place: &Side) -> Option<&'a Rule> {
    let near = |rule: &&Rule| {
        mapping.side(rule, source).map_or((false, 0), |side| {
            let common = side.path.common(&place.path);
            (side.server == place.server, common)
        })
    };
    mapping.rules().iter().filter(|rule| near(rule) > (false, 0)).max_by_key(near)
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

/// A YAML string that reads the same in a flow mapping.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
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
        if let Some((rule, side)) = &self.nearest {
            write!(f, "; nearest is rule {rule:?} ({side})")?;
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
