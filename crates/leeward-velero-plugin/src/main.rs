//! Leeward's Velero plug-in: makes backups restorable at the other site, and restores point at the copies there.
//!
//! | action | kind | on |
//! |---|---|---|
//! | `leeward.io/keep-volume` | backup | PVs, PVCs |
//! | `leeward.io/promote-snapshot` | backup | PVCs |
//! | `leeward.io/rewrite-volume` | restore | PVs |
//! | `leeward.io/land-claim` | restore | PVCs |
//! | `leeward.io/halt-vm` | restore | VirtualMachines |
//!
//! What each decides is a pure function of the item, the site's configuration and what exists; `cluster` makes the calls.

mod cluster;
mod halt_vm;
mod keep_volume;
mod land_claim;
#[cfg(test)]
mod played;
mod promote;
mod promote_snapshot;
mod quantity;
mod rewrite_volume;
mod site;
mod view;

use cluster::Cluster;
use halt_vm::HaltVm;
use keep_volume::KeepVolume;
use land_claim::LandClaim;
use promote_snapshot::PromoteSnapshot;
use rewrite_volume::RewriteVolume;
use std::process::ExitCode;
use std::sync::Arc;
use velero_plugin::{Arguments, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // One crypto provider for the whole process, chosen before anything could choose another.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("a TLS crypto provider was installed before main");
        return ExitCode::FAILURE;
    }
    let cluster = Arc::new(Cluster::new(&Arguments::of_process()));
    Server::new()
        .backup_item_action("leeward.io/keep-volume", KeepVolume(Arc::clone(&cluster)))
        .backup_item_action("leeward.io/promote-snapshot", PromoteSnapshot::new(Arc::clone(&cluster)))
        .restore_item_action("leeward.io/rewrite-volume", RewriteVolume(Arc::clone(&cluster)))
        .restore_item_action("leeward.io/land-claim", LandClaim(cluster))
        .restore_item_action("leeward.io/halt-vm", HaltVm)
        .serve()
        .await
}
