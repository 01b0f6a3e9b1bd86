//! What a machine needs around it at this site to start: its networks, and its instance type and preference.
//!
//! Networks and instance types are listed once for a restore, so that a thousand machines cost as many calls as one; what a
//! list does not have is asked for by name before a machine is refused. Velero restores both, and the ControllerRevisions,
//! before machines. In test mode nothing is restored, so what would have been is remembered instead.

use crate::cluster::{
    CLUSTER_PREFERENCES, CLUSTER_TYPES, Cluster, ClusterError, NETWORKS, PREFERENCES, REVISIONS, Resource, TYPES,
};
use crate::view;
use leeward_model::belongings::{self, Named, TEMPLATE_RESOURCES, templates};
use leeward_model::network::{self, NetworksError};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// What is looked for: as the model calls it, how it is asked for, and whether there are so few that all are listed.
const LOOKED_FOR: [(&str, &Resource, bool); 6] = [
    (belongings::NETWORKS, &NETWORKS, true),
    (TEMPLATE_RESOURCES[0], &TYPES, true),
    (TEMPLATE_RESOURCES[1], &CLUSTER_TYPES, true),
    (TEMPLATE_RESOURCES[2], &PREFERENCES, true),
    (TEMPLATE_RESOURCES[3], &CLUSTER_PREFERENCES, true),
    // Every StatefulSet has some.
    (belongings::REVISIONS, &REVISIONS, false),
];

/// A machine could not start here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MissingError {
    #[error(
        "VirtualMachine {vm} is not restored, for its network {network} is not at this site; make the \
         NetworkAttachmentDefinition, or map the network in the site mapping's `networks`, then restore again [LW-0650]"
    )]
    Network { vm: String, network: String },
    #[error(
        "VirtualMachine {vm} is not restored, for its {what} {name} is not at this site; make it there, then restore again \
         [LW-0651]"
    )]
    Template { vm: String, what: &'static str, name: String },
    #[error(
        "VirtualMachine {vm} is not restored, for the ControllerRevision {name} of its {what} is neither at this site nor in \
         this restore; restore controllerrevisions.apps as well, from a backup that has them [LW-0651]"
    )]
    Revision { vm: String, what: &'static str, name: String },
    #[error(transparent)]
    Networks(#[from] NetworksError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// See the module.
pub(crate) struct Surroundings {
    cluster: Arc<Cluster>,
    lists: [OnceCell<HashSet<Named>>; LOOKED_FOR.len()],
    /// What test mode would have restored.
    foreseen: Mutex<HashSet<Named>>,
}

impl Surroundings {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, lists: Default::default(), foreseen: Mutex::default() }
    }

    /// Remembers that `item` would be restored.
    pub(crate) fn foresee(&self, item: &Value, restore: &Value) {
        let (version, kind) = (view::text(item, "/apiVersion"), view::text(item, "/kind"));
        // A backup may be of another version than this site serves.
        let group = |version: &str| version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
        let is = |of: &Resource| kind == Some(of.kind()) && version.map(group) == Some(group(&of.api_version()));
        if let Some((resource, ..)) = LOOKED_FOR.iter().find(|(_, resource, _)| is(resource)) {
            let namespace = view::target_namespace(view::namespace(item), restore);
            self.foreseen().insert(named(resource, namespace, view::name(item)));
        }
    }

    fn foreseen(&self) -> MutexGuard<'_, HashSet<Named>> {
        // Whoever panicked had inserted or not; the set is whole either way.
        self.foreseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses the machine `vm`, which lands in `namespace`, if something that it needs is not here.
    pub(crate) async fn check(&self, vm: &Value, namespace: &str) -> Result<(), MissingError> {
        let title = || format!("{}/{}", view::namespace(vm), view::name(vm));
        // Where it lands is where it looks for what it names without a namespace.
        let mut there = vm.clone();
        if let Some(metadata) = there.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        for network in network::names(&there)? {
            let Some((namespace, name)) = network.split_once('/') else { continue };
            if !self.has(&Named::of(belongings::NETWORKS, namespace, name)).await? {
                return Err(MissingError::Network { vm: title(), network });
            }
        }
        for template in templates(&there) {
            let what = template.what;
            if let Some(revision) = &template.revision {
                if !self.has(revision).await? {
                    return Err(MissingError::Revision { vm: title(), what, name: revision.title() });
                }
            } else if let Some(object) = &template.object
                && !self.has(object).await?
            {
                return Err(MissingError::Template { vm: title(), what, name: object.title() });
            }
        }
        Ok(())
    }

    async fn has(&self, object: &Named) -> Result<bool, ClusterError> {
        if self.foreseen().contains(object) {
            return Ok(true);
        }
        let found = LOOKED_FOR.iter().zip(&self.lists).find(|((resource, ..), _)| *resource == object.resource);
        let Some(((name, resource, few), list)) = found else { return Ok(true) };
        if *few && list.get_or_try_init(|| self.list(name, resource)).await?.contains(object) {
            return Ok(true);
        }
        Ok(self.cluster.get(resource, object.namespace.as_deref(), &object.name).await?.is_some())
    }

    async fn list(&self, name: &'static str, resource: &Resource) -> Result<HashSet<Named>, ClusterError> {
        let all = self.cluster.list_if_known(resource, None, "").await?;
        Ok(all.iter().map(|object| named(name, view::namespace(object), view::name(object))).collect())
    }
}

fn named(resource: &'static str, namespace: &str, name: &str) -> Named {
    let namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
    Named { resource, namespace, name: name.to_owned() }
}
