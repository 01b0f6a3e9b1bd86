//! The kinds of objects that do not travel.
//!
//! Left out is what exists only while something runs (the other site makes its own), and what would start or provision
//! something by itself at a site that is standby. Everything else travels, also what Leeward does not know.
//!
//! - `DataVolume`s: one restored where its claim is missing makes CDI provision and import a *new* disk. A VM that names a
//!   `DataVolume` is content with the claim alone, and from a template KubeVirt makes it again, adopting the claim.
//! - VM pools and VMI replica sets would start machines at a standby site; halting reaches only `VirtualMachine`s.
//! - `ControllerRevision`s **stay in**. A VM with an instance type names its revision (`spec.instancetype.revisionName`) and
//!   cannot start without it. KubeVirt's own `revision-start-vm-<uid>-<generation>` come along, as Velero leaves out kinds,
//!   not names; they carry the old VM's uid, are matched by none at the other site, and are some hundred bytes each.
//! - `PodDisruptionBudget`s: KubeVirt keeps one per running VM; without their owner they would stay for ever.
//! - Copied `ClusterServiceVersion`s: the Operator Lifecycle Manager puts them into each namespace of each cluster itself.

/// Namespaced kinds that are left out of backups and restores.
pub const NAMESPACED: &[&str] = &[
    "pods",
    "replicasets.apps",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "poddisruptionbudgets.policy",
    "volumesnapshots.snapshot.storage.k8s.io",
    "volumegroupsnapshots.groupsnapshot.storage.k8s.io",
    "virtualmachineinstances.kubevirt.io",
    "virtualmachineinstancemigrations.kubevirt.io",
    "virtualmachineinstancereplicasets.kubevirt.io",
    "virtualmachinepools.pool.kubevirt.io",
    "virtualmachinesnapshots.snapshot.kubevirt.io",
    "virtualmachinesnapshotcontents.snapshot.kubevirt.io",
    "virtualmachinerestores.snapshot.kubevirt.io",
    "virtualmachineexports.export.kubevirt.io",
    "virtualmachineclones.clone.kubevirt.io",
    "virtualmachinebackups.backup.kubevirt.io",
    "virtualmachinebackuptrackers.backup.kubevirt.io",
    "datavolumes.cdi.kubevirt.io",
    "volumeimportsources.cdi.kubevirt.io",
    "volumeclonesources.cdi.kubevirt.io",
    "volumeuploadsources.cdi.kubevirt.io",
    "clusterserviceversions.operators.coreos.com",
];

/// Cluster-scoped kinds that are left out of backups and restores. Others come only if a plug-in asks for one, as Velero's
/// own does for the PV of a claim.
pub const CLUSTER_SCOPED: &[&str] = &[
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumesnapshotclasses.snapshot.storage.k8s.io",
    "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io",
    "volumegroupsnapshotclasses.groupsnapshot.storage.k8s.io",
];

/// Namespaced kinds that are backed up and left out of restores: their controllers would start containers at a site that
/// is standby, beside those at the active one. Leeward moves virtual machines; whoever wants these, too, restores them
/// from the same backup.
pub const STARTS_CONTAINERS: &[&str] = &[
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicationcontrollers",
    "deploymentconfigs.apps.openshift.io",
    "jobs.batch",
    "cronjobs.batch",
];

/// What Velero never restores; it adds them itself, and a `Restore` that names them reads as what it does.
pub const NEVER_RESTORED: &[&str] = &[
    "nodes",
    "backups.velero.io",
    "restores.velero.io",
    "resticrepositories.velero.io",
    "backuprepositories.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_a_virtual_machine_is_made_of_travels_and_nothing_is_listed_twice() {
        let all: Vec<&str> = [NAMESPACED, CLUSTER_SCOPED, STARTS_CONTAINERS, NEVER_RESTORED].concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for travels in [
            "virtualmachines.kubevirt.io",
            "persistentvolumes",
            "persistentvolumeclaims",
            "controllerrevisions.apps",
            "secrets",
            "configmaps",
            "namespaces",
        ] {
            assert!(!all.contains(&travels), "{travels}");
        }
    }
}
