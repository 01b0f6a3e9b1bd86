//! Which object: the way in which an action names further items.

use crate::proto::generated as wire;

/// Names one object in the cluster or in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ItemId {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name in lower case, e.g. `persistentvolumeclaims`.
    pub resource: String,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl ItemId {
    /// An object of any group, e.g. `ItemId::new("kubevirt.io", "virtualmachines", "shop", "db")`.
    #[must_use]
    pub fn new(
        group: impl Into<String>,
        resource: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { group: group.into(), resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }

    /// An object of the core group.
    #[must_use]
    pub fn core(resource: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new("", resource, namespace, name)
    }
}

impl From<ItemId> for wire::ResourceIdentifier {
    fn from(i: ItemId) -> Self {
        Self { group: i.group, resource: i.resource, namespace: i.namespace, name: i.name }
    }
}

impl From<wire::ResourceIdentifier> for ItemId {
    fn from(i: wire::ResourceIdentifier) -> Self {
        Self { group: i.group, resource: i.resource, namespace: i.namespace, name: i.name }
    }
}
