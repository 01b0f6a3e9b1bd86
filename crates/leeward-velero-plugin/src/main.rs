//! Leeward's Velero plug-in: makes backups restorable at the other site, and restores point at the copies there.
//!
//! | action | kind | on |
//! |---|---|---|
//! | `leeward.io/keep-volume` | backup | PVs, PVCs |
//! | `leeward.io/promote-snapshot` | backup | PVCs |
//! | `leeward.io/refuse-volume-data` | backup | pods |
//! | `leeward.io/keep-machine` | backup | VirtualMachines |
//! | `leeward.io/rewrite-volume` | restore | PVs |
//! | `leeward.io/land-claim` | restore | PVCs |
//! | `leeward.io/halt-vm` | restore | VirtualMachines |
//! | `leeward.io/adopt-disk` | restore | DataVolumes |
//! | `leeward.io/report-only` | restore | everything else; it restores nothing in test mode |
//! | `leeward.io/leave-out` | restore | VirtualMachineSnapshots and the like |
//! | `leeward.io/retire` | deletion of a backup | PVCs, namespaces |
//!
//! What each decides is a pure function of the item, the site's configuration and what exists; `cluster` makes the calls.

mod adopt;
mod alias;
mod cluster;
mod fate;
mod followed;
mod foreseen;
mod group_api;
mod halt_vm;
mod keep_volume;
mod land_claim;
mod machine;
mod metadata_only;
mod naming;
#[cfg(test)]
mod played;
mod policy;
mod present;
mod promote;
mod promote_snapshot;
mod promoter;
mod quantity;
mod recover_from;
mod report_only;
mod retire;
mod rewrite_volume;
#[cfg(test)]
mod rights;
mod selection;
mod settings;
mod site;
mod storage_class;
mod surroundings;
mod take;
mod take_group;
mod view;

use adopt::{AdoptDisk, LeaveOut};
use cluster::{CLAIMS, Cluster, VOLUMES};
use fate::Fates;
use halt_vm::HaltVm;
use keep_volume::KeepVolume;
use land_claim::LandClaim;
use machine::KeepMachine;
use metadata_only::{MetadataOnly, RefuseVolumeData};
use present::Present;
use promote_snapshot::PromoteSnapshot;
use promoter::Promoter;
use report_only::ReportOnly;
use retire::Retire;
use rewrite_volume::RewriteVolume;
use std::process::ExitCode;
use std::sync::Arc;
use surroundings::Surroundings;
use velero_plugin::{Arguments, Server};

/// Objects stay raw JSON, so most of a call is small allocations, which musl's own allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // One crypto provider for the whole process, chosen before anything could choose another.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("a TLS crypto provider was installed before main");
        return ExitCode::FAILURE;
    }
    let cluster = Arc::new(Cluster::new(&Arguments::of_process()));
    let promoter = Arc::new(Promoter::new(Arc::clone(&cluster)));
    let metadata_only = Arc::new(MetadataOnly::new(Arc::clone(&cluster)));
    let keep_volume = KeepVolume {
        cluster: Arc::clone(&cluster),
        promoter: Arc::clone(&promoter),
        metadata_only: Arc::clone(&metadata_only),
    };
    let fates = Arc::new(Fates::default());
    let volumes = Arc::new(Present::new(&VOLUMES));
    let rewrite_volume =
        RewriteVolume { cluster: Arc::clone(&cluster), fates: Arc::clone(&fates), volumes: Arc::clone(&volumes) };
    let land_claim = LandClaim { cluster: Arc::clone(&cluster), fates, volumes, claims: Present::new(&CLAIMS) };
    let surroundings = Arc::new(Surroundings::new(Arc::clone(&cluster)));
    let halt_vm = HaltVm { cluster: Arc::clone(&cluster), surroundings: Arc::clone(&surroundings) };
    // No action blocks; the longest look is at a table of 10,000 rows, once, for some 30 ms.
    Server::new()
        .on_one_thread()
        .backup_item_action("leeward.io/keep-volume", keep_volume)
        .backup_item_action("leeward.io/promote-snapshot", PromoteSnapshot(promoter))
        .backup_item_action("leeward.io/refuse-volume-data", RefuseVolumeData(metadata_only))
        .backup_item_action("leeward.io/keep-machine", KeepMachine(Arc::clone(&cluster)))
        .restore_item_action("leeward.io/rewrite-volume", rewrite_volume)
        .restore_item_action("leeward.io/land-claim", land_claim)
        .restore_item_action("leeward.io/halt-vm", halt_vm)
        .restore_item_action("leeward.io/adopt-disk", AdoptDisk)
        .restore_item_action("leeward.io/leave-out", LeaveOut)
        .restore_item_action("leeward.io/report-only", ReportOnly(surroundings))
        .delete_item_action("leeward.io/retire", Retire::new(cluster))
        .serve()
        .await
}
