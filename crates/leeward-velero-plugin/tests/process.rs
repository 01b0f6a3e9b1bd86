//! The real binary, started as Velero starts it, far from any cluster.

use serde_json::json;
use velero_plugin::harness::{self, Host, HostError};

const BINARY: &str = env!("CARGO_BIN_EXE_leeward-velero-plugin");

fn refused<T: std::fmt::Debug>(result: Result<T, HostError>) -> String {
    match result {
        Err(HostError::Refused(refused)) => refused.message,
        other => panic!("expected an error status, got {other:?}"),
    }
}

#[tokio::test]
async fn serves_its_actions_without_a_cluster() {
    let host = Host::start(BINARY, &["--kubeconfig=/nowhere", "--features=EnableCSI", "--unknown", "x"]).await.unwrap();
    let mut listed: Vec<_> = host.list().await.unwrap().into_iter().map(|l| format!("{} {}", l.kind, l.name)).collect();
    listed.sort();
    assert_eq!(
        listed,
        [
            "BackupItemActionV2 leeward.io/keep-machine",
            "BackupItemActionV2 leeward.io/keep-volume",
            "BackupItemActionV2 leeward.io/promote-snapshot",
            "BackupItemActionV2 leeward.io/refuse-volume-data",
            "DeleteItemAction leeward.io/retire",
            "RestoreItemActionV2 leeward.io/adopt-disk",
            "RestoreItemActionV2 leeward.io/halt-vm",
            "RestoreItemActionV2 leeward.io/land-claim",
            "RestoreItemActionV2 leeward.io/leave-out",
            "RestoreItemActionV2 leeward.io/report-only",
            "RestoreItemActionV2 leeward.io/rewrite-volume",
        ]
    );
    for (name, resources) in [
        ("leeward.io/keep-volume", vec!["persistentvolumes", "persistentvolumeclaims"]),
        ("leeward.io/promote-snapshot", vec!["persistentvolumeclaims"]),
        ("leeward.io/refuse-volume-data", vec!["pods"]),
        ("leeward.io/keep-machine", vec!["virtualmachines.kubevirt.io"]),
    ] {
        assert_eq!(host.backup_applies_to(name).await.unwrap().included_resources, resources);
    }
    for (name, resource) in [
        ("leeward.io/rewrite-volume", "persistentvolumes"),
        ("leeward.io/land-claim", "persistentvolumeclaims"),
        ("leeward.io/halt-vm", "virtualmachines.kubevirt.io"),
    ] {
        assert_eq!(host.restore_applies_to(name).await.unwrap().included_resources, [resource]);
    }
    let vm = json!({"kind": "VirtualMachine", "metadata": {"name": "db"}, "spec": {"runStrategy": "Always"}});
    let answer = host.execute_restore("leeward.io/halt-vm", &vm, &vm, &json!({})).await.unwrap();
    assert_eq!(answer.item["spec"]["runStrategy"], "Halted");
    let (status, _) = host.shutdown().await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_an_error_of_the_item() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    // Port 1 on loopback: refused at once.
    let config = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
                  contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: hush-hush}}]\n";
    std::fs::write(&kubeconfig, config).unwrap();
    let pv = json!({"kind": "PersistentVolume", "metadata": {"name": "pv1"}, "spec": {}});
    for (path, code) in [("/nowhere/kubeconfig", "LW-0605"), (kubeconfig.to_str().unwrap(), "LW-0606")] {
        let mut command = harness::command(BINARY.as_ref(), ["--kubeconfig", path]);
        command.env_remove("KUBECONFIG");
        let host = Host::start_command(command).await.unwrap();
        let text = refused(host.execute_backup("leeward.io/keep-volume", &pv, &json!({})).await);
        assert!(text.contains(code), "{text}");
        assert!(!text.contains("hush-hush") && !host.log().join("\n").contains("hush-hush"), "a token leaked: {text}");
    }
}
