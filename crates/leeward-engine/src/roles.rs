//! Keeps a standby site a standby: what the witness says is made true wherever it is not (N1).
//!
//! Until an operator runs at each site, every command that changes anything does this first, at every site that answers:
//! a site that comes back after a failover finds its VMs stopped and its volumes read-only before anything else
//! touches them. The VMs are stopped before the fence goes up, because a guest whose disk refuses writes can no longer
//! shut down; whatever they write in between is theirs alone and given up with the rest.

use crate::{
    error::EngineError,
    observe,
    progress::{Listener, Told},
    site::Site,
    state::State,
    vms,
};
use leeward_model::{
    group::GroupSpec,
    name::{GroupName, SiteName},
    plan::observed::ObjectRef,
    run::RunKind,
};
use leeward_storage::StorageAdapter;
use std::collections::BTreeMap;

/// A site that was not what the witness says, and was put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRight {
    /// The site.
    pub site: SiteName,
    /// VMs that ran there.
    pub stopped: Vec<ObjectRef>,
}

/// Stops and fences the group wherever it runs without being active.
///
/// # Errors
/// A VM that does not stop, a fence that cannot be proven, records that cannot be read.
pub async fn enforce(
    (name, group): (&GroupName, &GroupSpec),
    sites: &BTreeMap<SiteName, Site>,
    storage: &dyn StorageAdapter,
    state: &State,
    listener: &dyn Listener,
) -> Result<Vec<PutRight>, EngineError> {
    let Some(witness) = state.witness(name).await? else { return Ok(Vec::new()) };
    let mut put_right = Vec::new();
    for site in sites.values().filter(|site| site.name != witness.active) {
        if site.probe().await.is_err() {
            continue;
        }
        let seen = observe::vms(group, site).await?;
        let stopped: Vec<ObjectRef> = seen.iter().filter(|vm| vm.running).map(|vm| vm.vm.clone()).collect();
        // A VM that is not running may still be about to: its strategy decides.
        let own: Vec<ObjectRef> = seen.into_iter().map(|vm| vm.vm).collect();
        if !stopped.is_empty() {
            let names = stopped.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            listener.hear(Told::Note(&format!(
                "{}: {names} run there, but {} is active since epoch {}: stopping them",
                site.name, witness.active, witness.epoch
            )));
        }
        vms::stop(site, &own).await?;
        // Its VMs may have been stopped by an earlier attempt that did not come to the fence, or have died by themselves.
        let lost = witness.kind == RunKind::Failover && !storage.is_fenced(&site.name).await?;
        if !stopped.is_empty() || lost {
            let proof = storage.fence(&site.name).await?;
            listener.hear(Told::Note(&format!("{}: stopped and fenced ({})", site.name, proof.refused_by)));
            put_right.push(PutRight { site: site.name.clone(), stopped });
        }
    }
    Ok(put_right)
}
