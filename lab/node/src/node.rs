//! The Node object: present, schedulable for KubeVirt, and alive.
//!
//! Three things keep a node: its Lease (controller-manager taints a node whose lease is older than 40 s and evicts its
//! Pods), its Ready condition, and KubeVirt's heartbeat (virt-controller fails the instances of a node whose heartbeat
//! is older than five minutes). All are renewed every ten seconds; what fails is tried again at the next turn.

use crate::{guest::chain, status::now};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

const RENEW: Duration = Duration::from_secs(10);
const MANAGER: &str = "lab-node";

/// Renews the node for ever.
pub(crate) async fn keep_alive(client: Client, name: String, address: String) {
    let mut turns = tokio::time::interval(RENEW);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if let Err(error) = renew(&client, &name, &address).await {
            tracing::warn!(node = name, error = chain(&error), "node not renewed, trying again");
            // At the start of a site the API server comes up a moment later.
            turns.reset_after(Duration::from_secs(1));
        }
    }
}

async fn renew(client: &Client, name: &str, address: &str) -> kube::Result<()> {
    let apply = PatchParams::apply(MANAGER).force();
    let now = now();
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "node-role.kubernetes.io/worker": "", "kubevirt.io/schedulable": "true",
            },
            "annotations": {"kubevirt.io/heartbeat": now},
        },
    });
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch(name, &apply, &Patch::Apply(&node)).await?;

    let resources = json!({
        "cpu": "16", "memory": "64Gi", "pods": "250", "ephemeral-storage": "100Gi",
        "devices.kubevirt.io/kvm": "1k", "devices.kubevirt.io/tun": "1k", "devices.kubevirt.io/vhost-net": "1k",
    });
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": now});
    let status = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {
            "capacity": resources, "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": [
                condition("Ready", "True", "KubeletReady"),
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            ],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3", "osImage": "Leeward lab",
                "containerRuntimeVersion": "none://0", "kernelVersion": "6.1", "kubeProxyVersion": "",
                "machineID": name, "systemUUID": name, "bootID": name,
            },
        },
    });
    nodes.patch_status(name, &apply, &Patch::Apply(&status)).await?;

    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": 40,
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        },
    });
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    leases.patch(name, &apply, &Patch::Apply(&lease)).await.map(|_| ())
}
