//! The one rewriting function: a PersistentVolume of one site becomes that of its copy at the other.
//!
//! Laws (each has a property test):
//! - all parts of the address change at once, and nothing that was not understood changes;
//! - `rewrite(rewrite(pv, east, west), west, east)` is `pv` again, but for what landing always sets (`Retain`, a claim
//!   reference without uid), Leeward's own annotations, and slashes that mean nothing (`/a//b`);
//! - rewriting twice is the same as once: an annotation says at which site a volume's address is;
//! - a volume that no rule covers is an error, never a volume that goes on naming its old site;
//! - it never panics, whatever JSON it is given.

use crate::address::{AddressError, NfsLocation, VolumeAddress};
use crate::directory::Directory;
use crate::json;
use crate::keys;
use crate::landing::{self, Landing};
use crate::leftover;
use crate::mapping::{ClassError, Direction, Mapping, listed};
use crate::name::SiteName;
use crate::profile::{self, Kind};
use crate::uncovered::Uncovered;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod cover;

/// A rewritten PersistentVolume.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The volume, ready to be created at the target.
    pub pv: Value,
    /// Where its data was.
    pub before: VolumeAddress,
    /// Where its copy is.
    pub after: VolumeAddress,
    /// What was changed, and why.
    pub trace: Trace,
}

/// What a rewriting changed. Without changes if the volume already was at the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The rule that was applied; `None` if none was needed.
    pub rule: Option<String>,
    /// The site that the volume came from.
    pub from: SiteName,
    /// The site that it is for.
    pub to: SiteName,
    /// The backup that the volume was restored from, where the caller said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Every field that changed, except Leeward's own annotations and `kubectl apply`'s copy of the object.
    pub changes: Vec<Change>,
}

/// One changed field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where (RFC 6901), e.g. `/spec/nfs/server`.
    pub pointer: String,
    /// Its value before; `None` if it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value after; `None` if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A PersistentVolume cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// Its address cannot be read.
    #[error(transparent)]
    Address(Box<AddressError>),
    /// No rule covers it.
    #[error(transparent)]
    Uncovered(#[from] Box<Uncovered>),
    /// Its storage class cannot be mapped.
    #[error("PersistentVolume {pv:?} cannot be given a storage class at site {target} [LW-0133]")]
    Class {
        /// The PersistentVolume.
        pv: String,
        /// The site it is for.
        target: SiteName,
        /// Why.
        #[source]
        source: Box<ClassError>,
    },
    /// A site that the mapping does not have.
    #[error(
        "PersistentVolume {pv:?}: {what} is {site:?}, which is not in the site mapping ({}); correct the mapping's `sites` or the name [LW-0131]",
        listed(.sites).replace('"', "")
    )]
    UnknownSite {
        /// The PersistentVolume.
        pv: String,
        /// Where the name stands.
        what: &'static str,
        /// The name.
        site: String,
        /// The sites of the mapping.
        sites: Vec<SiteName>,
    },
    /// A field besides the address that names the old storage.
    #[error(
        "PersistentVolume {pv:?}: {pointer} still names {server}, storage of site {site}; Leeward does not know the field and would leave it so: remove it from the volume, or add it to the places of a driver profile [LW-0132]"
    )]
    Leftover {
        /// The PersistentVolume.
        pv: String,
        /// The field.
        pointer: String,
        /// The old server, or another part of the old address.
        server: String,
        /// The old site.
        site: SiteName,
    },
    /// The way back would not lead to where it came from.
    #[error(
        "PersistentVolume {pv:?} at {before} would become {after}, from where no way leads back: rule {rule:?} {why} [LW-0134]"
    )]
    NoWayBack {
        /// The PersistentVolume.
        pv: String,
        /// Where it is.
        before: String,
        /// Where it would be.
        after: String,
        /// The rule.
        rule: String,
        /// Why, and what to do.
        why: Box<str>,
    },
    /// Two rules cover it and do not agree.
    #[error(
        "PersistentVolume {pv:?} at {address} of site {site} would be {} by rule {:?} and {} by rule {:?}; make them agree, or keep only one [LW-0135]",
        .ways[0].1, .ways[0].0, .ways[1].1, .ways[1].0
    )]
    Disagree {
        /// The PersistentVolume.
        pv: String,
        /// Where it is.
        address: String,
        /// The site that it is at.
        site: SiteName,
        /// The rules, and where each leads.
        ways: Box<[(String, String); 2]>,
    },
    /// Its data is on a node.
    #[error(
        "PersistentVolume {pv:?}{claim} is on {kind}, which keeps its data on a node of site {site}; it cannot be at another site: move it to shared storage, or add {proposed} to the mapping's `skip` [LW-0136]"
    )]
    Local {
        /// The PersistentVolume.
        pv: String,
        /// ` (claim namespace/name)`, or nothing.
        claim: String,
        /// What it is on.
        kind: String,
        /// The site that it is at.
        site: SiteName,
        /// The entry for `skip`.
        proposed: Box<str>,
    },
    /// The mapping says that such volumes stay out.
    #[error(
        "PersistentVolume {pv:?} is on {kind}, which the site mapping skips; it stays at its site: take its claim out of the protection group, or take {kind} out of `skip` [LW-0137]"
    )]
    Skipped {
        /// The PersistentVolume.
        pv: String,
        /// What it is on.
        kind: String,
    },
    /// Node affinity or a label names nodes of the old site.
    #[error(
        "PersistentVolume {pv:?} is bound to nodes with {key} {values} of site {site}, and nothing says what that is at site {target}; add {{key: {key:?}, {site}: …, {target}: …}} to the mapping's `nodeAffinity`, or say `nodeAffinity: drop` (or keep) [LW-0138]"
    )]
    Affinity {
        /// The PersistentVolume.
        pv: String,
        /// The key.
        key: String,
        /// Its values.
        values: Box<str>,
        /// The site that it is at.
        site: SiteName,
        /// The site that it is for.
        target: SiteName,
    },
    /// A secret that it names cannot be mapped.
    #[error(
        "PersistentVolume {pv:?} uses secret {secret} of site {site}, which has no pair in `secrets`, and at site {target} that name stands for {by} of site {site}; add a pair for {secret} [LW-0139]"
    )]
    Secret {
        /// The PersistentVolume.
        pv: String,
        /// The secret, `namespace/name`.
        secret: String,
        /// The site that it is at.
        site: SiteName,
        /// The site that it is for.
        target: SiteName,
        /// Whose name it is there.
        by: Box<str>,
    },
    /// A new part cannot be written where it belongs.
    #[error(
        "PersistentVolume {pv:?}: what rule {rule:?} says cannot be written: {field}: {value}: {reason}; correct the rule [LW-0142]"
    )]
    Unwritable {
        /// The PersistentVolume.
        pv: String,
        /// The rule.
        rule: String,
        /// The field.
        field: String,
        /// The value.
        value: String,
        /// Why.
        reason: Box<str>,
    },
    /// A raw rule matches and changes nothing.
    #[error(
        "PersistentVolume {pv:?} at {address}: raw rule {rule:?} matches and changes nothing, so the volume would go on naming site {site}; correct its `replace`, or cover the volume by a typed rule with `keep` [LW-0143]"
    )]
    Unchanged {
        /// The PersistentVolume.
        pv: String,
        /// Where it is.
        address: String,
        /// The rule.
        rule: String,
        /// The site that it is at.
        site: SiteName,
    },
    /// A raw rule has no edits for this way.
    #[error(
        "PersistentVolume {pv:?} at {address}: rule {rule:?} is one-way and has no edits for a volume that leaves site {site}; write them under its side {site} [LW-0144]"
    )]
    OneWay {
        /// The PersistentVolume.
        pv: String,
        /// Where it is.
        address: String,
        /// The rule.
        rule: String,
        /// The site that it is at.
        site: SiteName,
    },
}

impl From<AddressError> for RewriteError {
    fn from(error: AddressError) -> Self {
        Self::Address(Box::new(error))
    }
}

/// Rewrites a PersistentVolume for `target`.
///
/// The site that its address belongs to is the one in its annotation [`keys::SITE`], else `source`. If that is `target`
/// already, the volume is returned as it is.
///
/// # Errors
/// [`RewriteError`], naming the volume and what to do.
pub fn rewrite(pv: &Value, mapping: &Mapping, source: &SiteName, target: &SiteName) -> Result<Rewritten, RewriteError> {
    rewrite_from(pv, mapping, source, target, None)
}

/// As [`rewrite`], with the name of the backup for the trace.
///
/// # Errors
/// [`RewriteError`], naming the volume and what to do.
pub fn rewrite_from(
    pv: &Value,
    mapping: &Mapping,
    source: &SiteName,
    target: &SiteName,
    backup: Option<&str>,
) -> Result<Rewritten, RewriteError> {
    let name = json::name(pv);
    let from = direction(pv, &name, mapping, source, target)?;
    if let Some(kind) = mapping.skips(pv) {
        return Err(RewriteError::Skipped { pv: name, kind });
    }
    let backup = backup.map(str::to_owned);
    let way = mapping.index(&from).zip(mapping.index(target));
    let before = match mapping.address_of(pv) {
        Err(AddressError::Unsupported { .. }) if local(pv).is_some() => return Err(refuse_local(pv, &from)),
        other => other?,
    };
    let Some((from_index, to_index)) = way.filter(|(from, to)| from != to) else {
        let trace = Trace { rule: None, from, to: target.clone(), backup, changes: Vec::new() };
        return Ok(Rewritten { pv: pv.clone(), before: before.clone(), after: before, trace });
    };
    let way = Direction { from: from_index, to: to_index };

    let mut start = pv.clone();
    let returned = landing::take_back(&mut start, &from, target);
    let covered = cover::cover(&start, &before, mapping, way, &from, target)?;
    let (mut new, after) = (covered.pv, covered.after);
    let profile = match &after {
        VolumeAddress::Driver { profile, .. } => profile::all(mapping.profiles()).find(|p| p.name == *profile),
        _ => None,
    };
    let landing = Landing {
        mapping,
        way,
        source: &from,
        target,
        before: &before,
        after: &after,
        profile: profile.map(AsRef::as_ref),
    };
    landing.land(&mut new, returned)?;
    if let Some((pointer, server)) = leftover::of(&new, &before, &after, profile.map(AsRef::as_ref)) {
        return Err(RewriteError::Leftover { pv: name, pointer, server, site: from });
    }

    // What cannot be read where it lands could never come home. An identifier that happens to be the new server is one case.
    mapping.address_of(&new)?;

    // Annotations come one by one, also where there were none: more of them are written below, so that the whole of them is
    // never again what the trace says.
    let mut base = pv.clone();
    json::annotate(&mut base, keys::SITE, from.as_str());
    json::annotate(&mut new, keys::SITE, target.as_str());
    let changes = crate::change::between(&base, &new);
    if json::annotation(&new, keys::SITE) != Some(target.as_str()) {
        return Err(AddressError::Invalid {
            pv: name,
            field: "metadata.annotations".to_owned(),
            value: json::text(pv, "/metadata/annotations").or(json::text(pv, "/metadata")).unwrap_or("…").to_owned(),
            reason: "nothing can be written there to say which site the address is of".to_owned(),
        }
        .into());
    }
    let trace = Trace { rule: Some(covered.rule), from, to: target.clone(), backup, changes };
    json::annotate(&mut new, keys::REWRITE_TRACE, serde_json::to_string(&trace).unwrap_or_default());
    Ok(Rewritten { pv: new, before, after, trace })
}

impl Trace {
    /// The volume as it was before this rewriting, from the volume as it is now: enough to go back without any mapping.
    /// `None` if a field was changed since.
    #[must_use]
    pub fn undo(&self, pv: &Value) -> Option<Value> {
        let mut old = pv.clone();
        for change in self.changes.iter().rev() {
            if old.pointer(&change.pointer) != change.after.as_ref()
                || !json::put(&mut old, &change.pointer, change.before.clone())
            {
                return None;
            }
        }
        json::annotate(&mut old, keys::SITE, self.from.as_str());
        json::unannotate(&mut old, keys::REWRITE_TRACE);
        Some(old)
    }
}

/// What keeps the volume's data on a node, if something does.
fn local(pv: &Value) -> Option<Kind> {
    Kind::all(pv).into_iter().find(Kind::is_local)
}

fn refuse_local(pv: &Value, site: &SiteName) -> RewriteError {
    let kind = local(pv);
    let proposed = match &kind {
        Some(Kind::Csi(driver)) => format!("{{driver: {driver}}}"),
        Some(Kind::InTree(kind)) => format!("{{inTree: {kind}}}"),
        None => String::new(),
    };
    let claim = crate::uncovered::claim(pv).map(|claim| format!(" (claim {claim})"));
    RewriteError::Local {
        pv: json::name(pv),
        claim: claim.unwrap_or_default(),
        kind: kind.map(|kind| kind.to_string()).unwrap_or_default(),
        site: site.clone(),
        proposed: proposed.into(),
    }
}

/// The site that the volume's address belongs to.
fn direction(
    pv: &Value,
    name: &str,
    mapping: &Mapping,
    source: &SiteName,
    target: &SiteName,
) -> Result<SiteName, RewriteError> {
    let unknown = |what, site: &str| RewriteError::UnknownSite {
        pv: name.to_owned(),
        what,
        site: site.to_owned(),
        sites: mapping.sites().to_vec(),
    };
    if !mapping.has(target) {
        return Err(unknown("the target", target.as_str()));
    }
    if let Some(annotated) = json::annotation(pv, keys::SITE) {
        let known = mapping.sites().iter().find(|s| s.as_str() == annotated).cloned();
        return known.ok_or_else(|| unknown("its annotation leeward.io/site", annotated));
    }
    if !mapping.has(source) {
        return Err(unknown("the source", source.as_str()));
    }
    Ok(source.clone())
}

impl VolumeAddress {
    /// The address of the same volume in another directory. A CSI volume's subdirectory keeps its number of folders, so
    /// that the way back leads to the same split; `None` if the directory has fewer.
    pub(crate) fn moved_to(&self, to: &NfsLocation) -> Option<Self> {
        let directory = Directory::parse(&to.directory).ok()?;
        Some(match self {
            Self::InTreeNfs { .. } => {
                Self::InTreeNfs { server: to.server.clone(), path: directory.as_str().to_owned() }
            }
            Self::CsiNfs { subdir, uuid, on_delete, .. } => {
                let folders = subdir.split('/').filter(|p| !p.is_empty()).count();
                let (share, subdir) = directory.split_off(folders)?;
                Self::CsiNfs {
                    server: to.server.clone(),
                    share: share.as_str().to_owned(),
                    subdir,
                    uuid: uuid.clone(),
                    on_delete: on_delete.clone(),
                }
            }
            Self::Driver { .. } | Self::Opaque { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests;
