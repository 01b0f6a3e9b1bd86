//! What is missing at a site for a backup to be restored there, and its machines to start.
//!
//! Pure: the contents of a backup and what was seen at the site come in, findings go out. Volumes and networks are asked of
//! the functions that rewrite them at the restore, so what is found here is what would fail there.
//!
//! Laws: what comes with the backup is not missing; every finding names an object and what to do about it; names out of the
//! backup are never trusted: nothing in a finding can move a terminal's cursor; it never panics, whatever the backup holds.

mod apis;
mod gates;
mod machines;
mod volumes;

use crate::belongings::{CLAIMS, NETWORKS, Named, TEMPLATE_RESOURCES, belongings, templates};
use crate::json;
use crate::keys;
use crate::mapping::Mapping;
use crate::name::SiteName;
use crate::{claim, network};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// PersistentVolumes.
pub const VOLUMES: &str = "persistentvolumes";
/// StorageClasses.
pub const CLASSES: &str = "storageclasses.storage.k8s.io";
/// VirtualMachines.
pub const MACHINES: &str = "virtualmachines.kubevirt.io";
/// CustomResourceDefinitions.
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Restored nowhere by Velero itself (its restore controller names them), so it does not matter whether they are served.
const NEVER_RESTORED: [&str; 9] = [
    "nodes",
    "events",
    "events.events.k8s.io",
    "backups.velero.io",
    "restores.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "backuprepositories.velero.io",
    "resticrepositories.velero.io",
];
/// Kinds that Leeward's plug-in leaves out of every restore: they name the other site's snapshots, or are orders that would
/// be carried out twice.
pub const LEFT_OUT: [&str; 5] = [
    "virtualmachinesnapshots.snapshot.kubevirt.io",
    "virtualmachinesnapshotcontents.snapshot.kubevirt.io",
    "virtualmachinerestores.snapshot.kubevirt.io",
    "virtualmachineexports.export.kubevirt.io",
    "virtualmachineinstancemigrations.kubevirt.io",
];

/// The objects in a backup.
pub trait Contents {
    /// The resources of which there are objects, plural with group, each once.
    fn resources(&self) -> Vec<&str>;
    /// How many objects of a resource there are.
    fn count(&self, resource: &str) -> usize;
    /// The objects of a resource.
    fn objects<'a>(&'a self, resource: &'a str) -> Box<dyn Iterator<Item = Value> + 'a>;
    /// One object.
    fn object(&self, resource: &str, namespace: Option<&str>, name: &str) -> Option<Value>;
}

/// What has to be looked up at a site before [`findings`] can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Resources of which every object counts. The site need not know them.
    pub lists: BTreeSet<&'static str>,
    /// Single objects.
    pub objects: BTreeSet<Named>,
    /// The API versions (`group/version`) whose resources are asked for.
    pub versions: BTreeSet<String>,
}

/// What was seen at a site.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// Of what is [`Wanted`], the objects that are there.
    pub objects: BTreeSet<Named>,
    /// Every API version that is served; with the plural names of its resources for those that were wanted.
    pub versions: BTreeMap<String, BTreeSet<String>>,
    /// The `KubeVirt` object.
    pub kubevirt: Option<Value>,
}

/// What is to be checked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The backup's name.
    pub backup: &'a str,
    /// Its objects.
    pub contents: &'a dyn Contents,
    /// The site mapping.
    pub mapping: &'a Mapping,
    /// The site that objects are of which do not say it themselves.
    pub origin: Option<&'a SiteName>,
    /// The site it would be restored at.
    pub target: &'a SiteName,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something would not be restored, or a machine would not start.
    Error,
    /// Everything would start, and yet it should be known.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Self::Error { "error" } else { "warning" })
    }
}

/// One thing that is missing or in the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, e.g. `VirtualMachine shop/db`.
    pub object: String,
    /// The error's code, `LW-nnnn`.
    pub code: String,
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

impl Finding {
    fn new(severity: Severity, code: &str, object: &str, what: &str, next: &str) -> Self {
        let [object, what, next] = [object, what, next].map(printable);
        Self { severity, object, code: code.to_owned(), what, next }
    }

    fn error(code: &str, object: &str, what: &str, next: &str) -> Self {
        Self::new(Severity::Error, code, object, what, next)
    }

    fn warning(code: &str, object: &str, what: &str, next: &str) -> Self {
        Self::new(Severity::Warning, code, object, what, next)
    }

    /// What the restore would fail with. The first code of the chain is the finding's.
    fn of(error: &dyn std::error::Error, object: &str, next: &str) -> Self {
        let (mut text, mut code) = (String::new(), None);
        let mut at = Some(error);
        while let Some(error) = at {
            let mut one = error.to_string();
            if let Some((start, end)) =
                one.rfind(" [LW-").and_then(|start| Some((start, start + one.get(start..)?.find(']')?)))
            {
                code.get_or_insert_with(|| one[start + 2..end].to_owned());
                one.replace_range(start..=end, "");
            }
            if !text.contains(&one) {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(&one);
            }
            at = error.source();
        }
        Self::error(&code.unwrap_or_default(), object, &text, next)
    }
}

/// Without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The sites that objects of the backup say they are of.
#[must_use]
pub fn origins(contents: &dyn Contents) -> BTreeSet<String> {
    let all = [VOLUMES, CLAIMS, MACHINES].into_iter().flat_map(|resource| contents.objects(resource));
    all.filter_map(|object| json::annotation(&object, keys::SITE).map(str::to_owned)).collect()
}

/// What has to be known of the site.
#[must_use]
pub fn wanted(question: &Question<'_>) -> Wanted {
    let contents = question.contents;
    let mut wanted = Wanted { lists: [CLASSES, NETWORKS].into(), ..Wanted::default() };
    wanted.lists.extend(TEMPLATE_RESOURCES);
    for resource in contents.resources() {
        wanted.versions.extend(apis::version(contents, resource));
    }
    for pvc in contents.objects(CLAIMS) {
        wanted.objects.extend(claim::volume(&pvc).map(|pv| Named::cluster_wide(VOLUMES, pv)));
    }
    for vm in contents.objects(MACHINES) {
        let named = belongings(&vm).into_iter().filter(|belonging| !belonging.optional);
        wanted.objects.extend(named.map(|belonging| belonging.object));
        wanted.objects.extend(templates(&vm).into_iter().filter_map(|template| template.revision));
    }
    wanted.objects.retain(|object| !question.has(object));
    wanted
}

/// What is missing; errors first, then by object.
#[must_use]
pub fn findings(question: &Question<'_>, present: &Present) -> Vec<Finding> {
    let mut found = Vec::new();
    apis::check(question, present, &mut found);
    let left_out = volumes::check(question, present, &mut found);
    machines::check(question, present, &left_out, &mut found);
    found.sort();
    found.dedup();
    found
}

impl Question<'_> {
    /// Whether the object comes with the backup.
    fn has(&self, object: &Named) -> bool {
        self.contents.object(object.resource, object.namespace.as_deref(), &object.name).is_some()
    }

    /// The site that `object` is of.
    fn site_of(&self, object: &Value) -> Option<SiteName> {
        let said = json::annotation(object, keys::SITE).and_then(|site| SiteName::parse(site).ok());
        said.or_else(|| self.origin.cloned())
    }

    /// The machine's networks as they are called at the target, each `namespace/name` with whether the
    /// backup's network of that name is another one.
    fn networks(&self, vm: &Value) -> Result<Vec<(String, bool)>, network::NetworksError> {
        let names = network::names(vm)?;
        let Some(origin) = self.site_of(vm).filter(|_| self.mapping.maps_networks()) else {
            return Ok(names.into_iter().map(|name| (name, false)).collect());
        };
        let landed = network::landed(vm, self.mapping, &origin, self.target, Some(self.backup))?;
        // What the backup calls so is another network, unless the mapping leaves that name as it is.
        let other = |name: &str| self.mapping.network(name, &origin, self.target).as_deref() != Ok(name);
        let there = network::names(&landed.vm)?;
        Ok(there.into_iter().map(|name| (name.clone(), other(&name))).collect())
    }
}

fn unknown_origin(object: &str) -> Finding {
    Finding::error(
        "LW-0188",
        object,
        "it does not say which site it is of, for the backup was made without Leeward's plug-in",
        "say it: `leeward check backup NAME --from SITE`; the Restore needs it, too, as its annotation leeward.io/site",
    )
}

#[cfg(test)]
mod tests;
