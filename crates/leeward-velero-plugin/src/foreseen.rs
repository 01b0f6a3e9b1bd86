//! The claims that a backup will come to, as far as that can be told when its first claim comes.

use crate::cluster::{CLAIMS, Cluster, ClusterError, MACHINES, NAMESPACES};
use crate::selection::Selection;
use crate::view;
use leeward_model::vm;
use serde_json::Value;
use std::collections::HashSet;

/// The namespaces that the backup takes.
pub(crate) async fn namespaces(cluster: &Cluster, selection: &Selection<'_>) -> Result<Vec<String>, ClusterError> {
    if let Some(named) = selection.named() {
        return Ok(named);
    }
    let all = cluster.list(&NAMESPACES, None, "").await?;
    Ok(all.iter().map(view::name).filter(|name| selection.takes(name)).map(str::to_owned).collect())
}

/// The claims of `namespace` that the backup takes: those it selects, and the disks of the VMs that it selects.
pub(crate) async fn claims(
    cluster: &Cluster,
    selection: &Selection<'_>,
    namespace: &str,
) -> Result<Vec<Value>, ClusterError> {
    let mut claims = cluster.list(&CLAIMS, Some(namespace), "").await?;
    let mut of_machines = HashSet::new();
    if selection.by_label() && !claims.is_empty() {
        for machine in cluster.list_if_known(&MACHINES, Some(namespace), "").await? {
            if selection.selects(&machine) {
                of_machines.extend(vm::claims(&machine));
            }
        }
    }
    claims.retain(|claim| selection.selects(claim) || of_machines.contains(view::name(claim)));
    Ok(claims)
}
