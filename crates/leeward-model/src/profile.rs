//! Driver profiles: what the parts of a volume's address are, and every place of a PersistentVolume that says them.
//!
//! A profile is data. Those in `profiles/` are compiled in; a site mapping can bring its own. Laws: all places are read,
//! and must agree; all are written together; a place whose parts did not change keeps its bytes; a PersistentVolume that
//! was written with the parts that were read from it is the same.

pub(crate) mod affinity;
mod form;
mod place;
mod pv;
mod read;
mod value;

use crate::json;
pub(crate) use affinity::Affinity;
pub(crate) use form::Form;
pub(crate) use place::Place;
pub(crate) use read::profile as read_profile;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
pub use value::{PartValue, Parts};

/// How to read and write the address of one kind of volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name, e.g. `ceph-csi-rbd`.
    pub name: String,
    /// Which volumes it is for.
    pub(crate) source: Source,
    /// Further condition: the text at a pointer.
    pub(crate) when: Option<When>,
    /// Where the shape was read.
    pub read: Vec<String>,
    /// The parts, by name.
    pub(crate) parts: BTreeMap<String, PartKind>,
    pub(crate) places: Vec<Place>,
    /// Whether secret references go through the mapping's pairs.
    pub(crate) secrets: bool,
    pub(crate) affinity: Vec<Affinity>,
    /// What must be at the other site besides the PersistentVolume, for people.
    pub notes: Vec<String>,
}

/// Which volumes a profile is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// CSI drivers of these names, or whose names end so.
    Csi { names: Vec<String>, suffix: Option<String> },
    /// `spec.<name>`.
    InTree(String),
}

/// A condition on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct When {
    pub(crate) at: String,
    pub(crate) is: Vec<String>,
    /// Whether a volume without the field is meant too.
    pub(crate) absent: bool,
}

/// One part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PartKind {
    pub(crate) maps: Maps,
    /// Whether each volume has its own.
    pub(crate) per_volume: bool,
    /// Whether it is a list: read from every element of one.
    pub(crate) list: bool,
}

/// How the values of a part are compared and mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Maps {
    /// Byte for byte.
    #[default]
    Equal,
    /// Without regard to ASCII case.
    Caseless,
    /// As the name or address of a server.
    Host,
    /// By prefix, on path borders.
    Path,
    /// The same at all sites unless a rule says otherwise.
    Keep,
}

/// What a volume is on, as its object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `spec.csi.driver`.
    Csi(String),
    /// The field of `spec` that holds the storage.
    InTree(String),
}

/// The fields of a PersistentVolume's spec that are not its storage.
pub const BESIDES_STORAGE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Csi(driver) => write!(f, "CSI driver {driver:?}"),
            Self::InTree(kind) => write!(f, "spec.{kind}"),
        }
    }
}

impl Kind {
    /// What the names of Kubernetes' own kinds begin with.
    pub(crate) const IN_TREE: &str = "kubernetes.io/";

    /// The driver's name; Kubernetes' own are called `kubernetes.io/<kind>`.
    pub(crate) fn driver(&self) -> String {
        match self {
            Self::Csi(driver) => driver.clone(),
            Self::InTree(kind) => format!("{}{kind}", Self::IN_TREE),
        }
    }

    /// The field that says it.
    pub(crate) fn field(&self) -> String {
        match self {
            Self::Csi(_) => "spec.csi".to_owned(),
            Self::InTree(kind) => format!("spec.{kind}"),
        }
    }

    /// The fields of a PersistentVolume's spec that are its storage (`PersistentVolumeSource` of core/v1).
    const SOURCES: [&str; 22] = [
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "csi",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "glusterfs",
        "hostPath",
        "iscsi",
        "local",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    ];

    /// Everything that `pv` is on; one, unless it is broken.
    pub(crate) fn all(pv: &Value) -> Vec<Self> {
        let spec = || pv.get("spec").and_then(Value::as_object).into_iter().flatten();
        let of = |(key, value): (&String, &Value)| match key.as_str() {
            "csi" => Self::Csi(value.get("driver").and_then(Value::as_str).unwrap_or_default().to_owned()),
            _ => Self::InTree(key.clone()),
        };
        let known = spec().filter(|(key, value)| Self::SOURCES.contains(&key.as_str()) && !value.is_null());
        let known: Vec<Self> = known.map(of).collect();
        if known.is_empty() {
            return spec().find(|(key, _)| !BESIDES_STORAGE.contains(&key.as_str())).map(of).into_iter().collect();
        }
        known
    }

    /// Whether the data is on a node of its site, so that no other site can have it.
    pub(crate) fn is_local(&self) -> bool {
        const DRIVERS: [&str; 10] = [
            "hostpath.csi.k8s.io",
            "kubevirt.io.hostpath-provisioner",
            "local.csi.aliyun.com",
            "local.csi.openebs.io",
            "local.csi.storage.deckhouse.io",
            "lvm.csi.metal-stack.io",
            "topolvm.cybozu.com",
            "topolvm.io",
            "zfs.csi.openebs.io",
            "hostpath.csi.kubevirt.io",
        ];
        match self {
            Self::Csi(driver) => DRIVERS.contains(&driver.as_str()),
            Self::InTree(kind) => matches!(kind.as_str(), "local" | "hostPath"),
        }
    }
}

impl Profile {
    /// Whether it is for volumes of this kind.
    pub(crate) fn knows(&self, kind: &Kind) -> bool {
        match (&self.source, kind) {
            (Source::Csi { names, suffix }, Kind::Csi(driver)) => {
                names.contains(driver) || suffix.as_ref().is_some_and(|suffix| driver.ends_with(suffix.as_str()))
            }
            (Source::InTree(name), Kind::InTree(kind)) => name == kind,
            _ => false,
        }
    }

    /// Whether the volume has the shape that this profile reads.
    fn fits(&self, pv: &Value) -> bool {
        self.when.as_ref().is_none_or(|when| match json::text(pv, &when.at) {
            Some(text) => when.is.iter().any(|is| is == text),
            None => when.absent,
        })
    }

    /// The kind of a part; how a part without declaration would be.
    pub(crate) fn kind(&self, part: &str) -> PartKind {
        self.parts.get(part).copied().unwrap_or_default()
    }
}

/// The profiles that are compiled in, by file name.
static SHIPPED: LazyLock<Vec<Arc<Profile>>> = LazyLock::new(|| {
    // That each can be read is a test; one that could not would only be missing.
    let read = FILES.iter().filter_map(|(_, text)| read::document(text).ok());
    read.map(Arc::new).collect()
});

const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// The profiles that Leeward brings.
#[must_use]
pub fn shipped() -> &'static [Arc<Profile>] {
    &SHIPPED
}

/// Of `profiles`, those of one name before those shipped.
pub(crate) fn all(own: &[Arc<Profile>]) -> impl Iterator<Item = &Arc<Profile>> {
    let not_replaced = |shipped: &&Arc<Profile>| !own.iter().any(|own| own.name == shipped.name);
    own.iter().chain(shipped().iter().filter(not_replaced))
}

/// The profile for a volume: one with a condition that holds before one without.
pub(crate) fn of<'a>(own: &'a [Arc<Profile>], kind: &Kind, pv: &Value) -> Option<&'a Arc<Profile>> {
    let mut fitting: Vec<_> = all(own).filter(|p| p.knows(kind) && p.fits(pv)).collect();
    fitting.sort_by_key(|profile| profile.when.is_none());
    fitting.first().copied()
}

#[cfg(test)]
mod tests;
