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
use crate::leftover;
use crate::mapping::{ClassError, Mapping};
use crate::name::SiteName;
use crate::server::Server;
use crate::uncovered::Uncovered;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Written by `kubectl apply`: a copy of the whole object, with the old address.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The storage class before the field existed; still honoured by Kubernetes.
const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

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
        "PersistentVolume {pv:?}: {what} is {site:?}, which is not in the site mapping ({} and {}); correct the mapping's `sites` or the name [LW-0131]",
        .sites[0], .sites[1]
    )]
    UnknownSite {
        /// The PersistentVolume.
        pv: String,
        /// Where the name stands.
        what: &'static str,
        /// The name.
        site: String,
        /// The sites of the mapping.
        sites: Box<[SiteName; 2]>,
    },
    /// A field besides the address that names the old file server.
    #[error(
        "PersistentVolume {pv:?}: {pointer} still names {server}, the file server of site {site}; Leeward does not know the field and would leave it so: remove it from the volume [LW-0132]"
    )]
    Leftover {
        /// The PersistentVolume.
        pv: String,
        /// The field.
        pointer: String,
        /// The old file server.
        server: String,
        /// The old site.
        site: SiteName,
    },
    /// The way back would not lead to where it came from.
    #[error(
        "PersistentVolume {pv:?} at {before} would become {after}, from where no way leads back: rule {rule:?} has too few folders at site {target} for the volume's subdirectory; let its path end at the share [LW-0134]"
    )]
    NoWayBack {
        /// The PersistentVolume.
        pv: String,
        /// Where it is.
        before: Box<NfsLocation>,
        /// Where it would be.
        after: Box<NfsLocation>,
        /// The rule.
        rule: String,
        /// The site it is for.
        target: SiteName,
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
    let name = json::name(pv);
    let from = direction(pv, &name, mapping, source, target)?;
    let before = VolumeAddress::from_pv(pv)?;
    if from == *target {
        let trace = Trace { rule: None, from: from.clone(), to: target.clone(), changes: Vec::new() };
        return Ok(Rewritten { pv: pv.clone(), before: before.clone(), after: before, trace });
    }

    let location = before.nfs();
    let (copy, rule) = mapping
        .across(&from, &location)
        .ok_or_else(|| Box::new(Uncovered::new(pv, &before, mapping, &from, target)))?;
    // That a mapping leads back was checked when it was read; how a volume is split into share and subdirectory is known
    // only here.
    let after = before.moved_to(&copy).ok_or_else(|| RewriteError::NoWayBack {
        pv: name.clone(),
        before: Box::new(location.clone()),
        after: Box::new(copy.clone()),
        rule: rule.name.clone(),
        target: target.clone(),
    })?;

    let mut new = pv.clone();
    after.write_to(&mut new);
    land(&mut new);
    classes(&mut new, mapping, &from, target).map_err(|source| RewriteError::Class {
        pv: name.clone(),
        target: target.clone(),
        source: Box::new(source),
    })?;
    if copy.server != location.server
        && let Ok(server) = Server::parse(&location.server)
        && let Some(pointer) = leftover::find(&new, &server)
    {
        return Err(RewriteError::Leftover { pv: name, pointer, server: location.server, site: from });
    }

    let trace =
        Trace { rule: Some(rule.name.clone()), from, to: target.clone(), changes: crate::change::between(pv, &new) };
    json::annotate(&mut new, keys::SITE, target.as_str());
    json::annotate(&mut new, keys::REWRITE_TRACE, serde_json::to_string(&trace).unwrap_or_default());
    Ok(Rewritten { pv: new, before, after, trace })
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
        sites: Box::new(mapping.sites().clone()),
    };
    if mapping.other(target).is_none() {
        return Err(unknown("the target", target.as_str()));
    }
    if let Some(annotated) = json::annotation(pv, keys::SITE) {
        let known = mapping.sites().iter().find(|s| s.as_str() == annotated).cloned();
        return known.ok_or_else(|| unknown("its annotation leeward.io/site", annotated));
    }
    if mapping.other(source).is_none() {
        return Err(unknown("the source", source.as_str()));
    }
    Ok(source.clone())
}

/// What every volume gets that lands at another site: it is never deleted with its claim, it binds to the claim of that
/// name whatever its uid, and no copy of the old object goes along.
fn land(pv: &mut Value) {
    if let Some(spec) = json::object_at(pv, &["spec"]) {
        let old = spec.insert("persistentVolumeReclaimPolicy".to_owned(), "Retain".into());
        let old = old.as_ref().and_then(Value::as_str).filter(|old| *old != "Retain").map(str::to_owned);
        if let Some(claim) = spec.get_mut("claimRef").and_then(Value::as_object_mut) {
            claim.shift_remove("uid");
            claim.shift_remove("resourceVersion");
        }
        if let Some(old) = old
            && json::annotation(pv, keys::ORIGINAL_RECLAIM_POLICY).is_none()
        {
            json::annotate(pv, keys::ORIGINAL_RECLAIM_POLICY, old);
        }
    }
    json::unannotate(pv, LAST_APPLIED);
}

/// Maps the storage class, in the field and in the annotation that came before it.
pub(crate) fn classes(
    object: &mut Value,
    mapping: &Mapping,
    source: &SiteName,
    target: &SiteName,
) -> Result<(), ClassError> {
    for pointer in
        ["/spec/storageClassName".to_owned(), format!("/metadata/annotations/{}", json::escape(BETA_STORAGE_CLASS))]
    {
        if let Some(field) = object.pointer_mut(&pointer)
            && let Some(class) = field.as_str()
        {
            *field = mapping.storage_class(class, source, target)?.into();
        }
    }
    Ok(())
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
        })
    }
}

#[cfg(test)]
mod tests;
