//! What every volume gets that lands at another site, besides its address.
//!
//! Laws: it binds to the claim of that name whatever its uid; nothing on it waits for a controller that is not there; what
//! names a node, a zone or a secret of the old site is mapped, or dropped because the mapping says so, or an error; what was
//! dropped on the way there returns on the way back, from the trace.

use crate::address::VolumeAddress;
use crate::json;
use crate::keys;
use crate::mapping::policy::{KeyPolicy, NodeAffinity, ReclaimPolicy, Unmapped};
use crate::mapping::{ClassError, Direction, Mapping};
use crate::name::SiteName;
use crate::profile::{Kind, Parts, Profile, affinity};
use crate::rewrite::{RewriteError, Trace};
use serde_json::{Map, Value};

/// Written by `kubectl apply`: a copy of the whole object, with the old address.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The storage class before the field existed; still honoured by Kubernetes.
const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// external-provisioner names here the secret that it deletes the volume with.
const DELETION_SECRET: &str = "volume.kubernetes.io/provisioner-deletion-secret";
/// Labels by which the scheduler's VolumeZone plug-in binds a volume's pods to a zone.
const TOPOLOGY: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// A volume on its way.
pub(crate) struct Landing<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) way: Direction,
    pub(crate) source: &'a SiteName,
    pub(crate) target: &'a SiteName,
    pub(crate) before: &'a VolumeAddress,
    pub(crate) after: &'a VolumeAddress,
    /// The profile of the address at the target.
    pub(crate) profile: Option<&'a Profile>,
}

/// What came back from the trace.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Returned {
    affinity: bool,
    labels: bool,
}

/// Puts back the node affinity and labels that the rewriting before changed, if the volume now goes where it came from.
pub(crate) fn take_back(pv: &mut Value, source: &SiteName, target: &SiteName) -> Returned {
    let mut returned = Returned::default();
    let trace = json::annotation(pv, keys::REWRITE_TRACE).and_then(|text| serde_json::from_str::<Trace>(text).ok());
    let Some(trace) = trace.filter(|trace| trace.from == *target && trace.to == *source) else { return returned };
    for change in &trace.changes {
        let affinity = change.pointer.starts_with("/spec/nodeAffinity");
        if !affinity && !change.pointer.starts_with("/metadata/labels/") {
            continue;
        }
        // Whoever changed it since meant it.
        if pv.pointer(&change.pointer) == change.after.as_ref() && json::put(pv, &change.pointer, change.before.clone())
        {
            returned.affinity |= affinity;
            returned.labels |= !affinity;
        }
    }
    returned
}

impl Landing<'_> {
    /// Completes `pv`, whose address is written already.
    pub(crate) fn land(&self, pv: &mut Value, returned: Returned) -> Result<(), RewriteError> {
        let name = json::name(pv);
        let policy = self.reclaim(pv);
        self.finalizers(pv, &policy);
        if let (Some(old), Some(new)) = (driver(self.before), driver(self.after))
            && json::annotation(pv, PROVISIONED_BY) == Some(old)
        {
            json::annotate(pv, PROVISIONED_BY, new);
        }
        json::unannotate(pv, LAST_APPLIED);
        classes(pv, self.mapping, self.source, self.target).map_err(|source| RewriteError::Class {
            pv: name,
            target: self.target.clone(),
            source: Box::new(source),
        })?;
        self.secrets(pv)?;
        if !returned.affinity {
            self.affinity(pv)?;
        }
        if !returned.labels {
            self.labels(pv)?;
        }
        Ok(())
    }

    /// Sets the reclaim policy and frees the claim reference; the policy that the volume has now.
    fn reclaim(&self, pv: &mut Value) -> String {
        let original = json::annotation(pv, keys::ORIGINAL_RECLAIM_POLICY).map(str::to_owned);
        let Some(spec) = json::object_at(pv, &["spec"]) else { return String::new() };
        if let Some(claim) = spec.get_mut("claimRef").and_then(Value::as_object_mut) {
            claim.shift_remove("uid");
            claim.shift_remove("resourceVersion");
        }
        let field = "persistentVolumeReclaimPolicy";
        let old = spec.get(field).and_then(Value::as_str).map(str::to_owned);
        let new = match self.mapping.reclaim_policy {
            ReclaimPolicy::Retain => "Retain".to_owned(),
            ReclaimPolicy::Delete => "Delete".to_owned(),
            ReclaimPolicy::Original => original.clone().or_else(|| old.clone()).unwrap_or_else(|| "Retain".to_owned()),
        };
        spec.insert(field.to_owned(), Value::String(new.clone()));
        if let Some(old) = old.filter(|old| *old != new)
            && original.is_none()
        {
            json::annotate(pv, keys::ORIGINAL_RECLAIM_POLICY, old);
        }
        new
    }

    /// Drops the finalizers whose controller would not come: the attacher's (it adds its own when it attaches), and those
    /// that delete storage, unless the volume is to be deleted and its provisioner is the one of this site.
    fn finalizers(&self, pv: &mut Value, policy: &str) {
        let provisioned = json::annotation(pv, PROVISIONED_BY);
        let deletes = policy == "Delete" && provisioned.is_some() && provisioned == driver(self.before);
        let stays = |finalizer: &str| match finalizer {
            "external-provisioner.volume.kubernetes.io/finalizer" | "kubernetes.io/pv-controller" => deletes,
            other => !other.starts_with("external-attacher/"),
        };
        if let Some(list) = pv.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
            list.retain(|finalizer| finalizer.as_str().is_none_or(stays));
        }
    }

    fn secret(&self, pv: &str, secret: &str) -> Result<String, RewriteError> {
        self.mapping.secrets.across(secret, self.way.from, self.way.to).map_err(|taken| RewriteError::Secret {
            pv: pv.to_owned(),
            secret: secret.to_owned(),
            site: self.source.clone(),
            target: self.target.clone(),
            by: taken.by.into(),
        })
    }

    /// Maps the secrets that the volume names.
    fn secrets(&self, pv: &mut Value) -> Result<(), RewriteError> {
        if self.profile.is_some_and(|profile| !profile.secrets) {
            return Ok(());
        }
        let name = json::name(pv);
        let claim = json::text(pv, "/spec/claimRef/namespace").unwrap_or_default().to_owned();
        let Some(source) = Kind::all(pv).first().map(Kind::field) else { return Ok(()) };
        let source = source.trim_start_matches("spec.");
        let fields = pv.get_mut("spec").and_then(|spec| spec.get_mut(source)).and_then(Value::as_object_mut);
        let references =
            fields.into_iter().flatten().filter(|(key, _)| key.to_ascii_lowercase().ends_with("secretref"));
        for reference in references.filter_map(|(_, value)| value.as_object_mut()) {
            let text = |key: &str| reference.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            let Some(secret) = text("name") else { continue };
            // Kubernetes looks for a secret without namespace beside the claim.
            let old = format!("{}/{secret}", text("namespace").unwrap_or(&claim));
            let new = self.secret(&name, &old)?;
            if let Some((namespace, secret)) = new.split_once('/')
                && new != old
            {
                if reference.contains_key("namespace") || namespace != claim {
                    reference.insert("namespace".to_owned(), namespace.into());
                }
                reference.insert("name".to_owned(), secret.into());
            }
        }
        let keys = [format!("{DELETION_SECRET}-namespace"), format!("{DELETION_SECRET}-name")];
        let said = keys.each_ref().map(|key| json::annotation(pv, key).filter(|text| !text.is_empty()));
        if let [Some(namespace), Some(secret)] = said {
            let old = format!("{namespace}/{secret}");
            let new = self.secret(&name, &old)?;
            if let Some((namespace, secret)) = new.split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned()))
                && new != old
            {
                json::annotate(pv, &keys[0], namespace);
                json::annotate(pv, &keys[1], secret);
            }
        }
        Ok(())
    }

    /// What becomes of one key and its values: the values, or `None` to drop them.
    fn values(&self, pv: &str, key: &str, values: &[&str]) -> Result<Option<Vec<String>>, RewriteError> {
        let policy: &NodeAffinity = &self.mapping.node_affinity;
        let own = policy.keys.get(key);
        let mapped = |own: &KeyPolicy| {
            let all = values.iter().map(|v| own.values.mapped(v, self.way.from, self.way.to).map(str::to_owned));
            all.collect::<Option<Vec<_>>>()
        };
        if let Some(values) = own.and_then(mapped) {
            return Ok(Some(values));
        }
        match own.and_then(|own| own.unmapped).or(policy.others) {
            Some(Unmapped::Drop) => Ok(None),
            Some(Unmapped::Keep) => Ok(Some(values.iter().map(|v| (*v).to_owned()).collect())),
            None if values.is_empty() => Ok(Some(Vec::new())),
            None => Err(RewriteError::Affinity {
                pv: pv.to_owned(),
                key: key.to_owned(),
                values: values.join(", ").into(),
                site: self.source.clone(),
                target: self.target.clone(),
            }),
        }
    }

    fn parts(&self) -> Option<(&Profile, &Parts)> {
        match (self.profile, self.after) {
            (Some(profile), VolumeAddress::Driver { parts, .. }) => Some((profile, parts)),
            _ => None,
        }
    }

    /// Node affinity that no profile wrote.
    fn affinity(&self, pv: &mut Value) -> Result<(), RewriteError> {
        let name = json::name(pv);
        let mut dropped: Vec<String> = Vec::new();
        for expression in affinity::expressions_mut(pv) {
            let Some((key, old)) = key_and_values(expression) else { continue };
            let old: Vec<&str> = old.iter().map(String::as_str).collect();
            if self.parts().is_some_and(|(profile, parts)| profile.has_affinity(&key, &old, parts)) {
                continue;
            }
            match self.values(&name, &key, &old)? {
                None => dropped.push(key),
                Some(new) if new == old => {}
                Some(new) => drop(expression.insert("values".to_owned(), new.into())),
            }
        }
        if !dropped.is_empty() {
            affinity::retain(pv, |key| !dropped.iter().any(|dropped| dropped == key));
        }
        Ok(())
    }

    /// Topology labels that no profile wrote.
    fn labels(&self, pv: &mut Value) -> Result<(), RewriteError> {
        let name = json::name(pv);
        let Some(labels) = pv.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) else { return Ok(()) };
        let ours = |key: &String| TOPOLOGY.contains(&key.as_str()) || self.mapping.node_affinity.keys.contains_key(key);
        let keys: Vec<String> = labels.keys().filter(|key| ours(key)).cloned().collect();
        for key in keys {
            let Some(old) = labels.get(&key).and_then(Value::as_str).map(str::to_owned) else { continue };
            if self.parts().is_some_and(|(profile, parts)| profile.has_affinity(&key, &[&old], parts)) {
                continue;
            }
            match self.values(&name, &key, &[&old])?.as_deref() {
                None => drop(labels.shift_remove(&key)),
                Some([new, ..]) => drop(labels.insert(key, Value::String(new.clone()))),
                Some([]) => {}
            }
        }
        Ok(())
    }
}

fn key_and_values(expression: &Map<String, Value>) -> Option<(String, Vec<String>)> {
    let key = expression.get("key")?.as_str()?.to_owned();
    let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
    Some((key, values.filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// The name of a CSI driver.
fn driver(address: &VolumeAddress) -> Option<&str> {
    match address {
        VolumeAddress::InTreeNfs { .. } => None,
        VolumeAddress::CsiNfs { .. } => Some(crate::address::CSI_NFS_DRIVER),
        VolumeAddress::Driver { driver, .. } | VolumeAddress::Opaque { driver, .. } => Some(driver),
    }
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
