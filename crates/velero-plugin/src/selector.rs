//! Which items an action wants to see.

use crate::proto::generated as wire;

/// Which items an action wants to see. The default selects every item of every backup or restore, which is costly: name
/// the resources.
///
/// Velero asks once per backup or restore. A namespaced selector passes over cluster-scoped items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Namespaces to look at; empty for all.
    pub included_namespaces: Vec<String>,
    /// Namespaces to leave out.
    pub excluded_namespaces: Vec<String>,
    /// Resources to look at, e.g. `persistentvolumes`, `virtualmachines.kubevirt.io`; empty for all. A resource that the
    /// cluster does not know matches nothing.
    pub included_resources: Vec<String>,
    /// Resources to leave out.
    pub excluded_resources: Vec<String>,
    /// A label selector such as `app=shop,tier!=cache`; empty for all.
    pub labels: String,
}

impl Selector {
    /// All items of these resources.
    #[must_use]
    pub fn resources<R: Into<String>>(resources: impl IntoIterator<Item = R>) -> Self {
        Self { included_resources: resources.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Only items whose labels match.
    #[must_use]
    pub fn labelled(mut self, selector: impl Into<String>) -> Self {
        self.labels = selector.into();
        self
    }
}

impl From<Selector> for wire::ResourceSelector {
    fn from(s: Selector) -> Self {
        Self {
            included_namespaces: s.included_namespaces,
            excluded_namespaces: s.excluded_namespaces,
            included_resources: s.included_resources,
            excluded_resources: s.excluded_resources,
            selector: s.labels,
        }
    }
}

impl From<wire::ResourceSelector> for Selector {
    fn from(s: wire::ResourceSelector) -> Self {
        Self {
            included_namespaces: s.included_namespaces,
            excluded_namespaces: s.excluded_namespaces,
            included_resources: s.included_resources,
            excluded_resources: s.excluded_resources,
            labels: s.selector,
        }
    }
}
