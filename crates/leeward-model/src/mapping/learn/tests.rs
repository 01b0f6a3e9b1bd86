use super::*;
use crate::testing::{csi_pv, site};
use serde_json::json;

fn sites() -> [SiteName; 2] {
    [site("east"), site("west")]
}

fn nfs(name: &str, server: &str, path: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nfs": {"server": server, "path": path}, "storageClassName": server}})
}

fn rbd(name: &str, cluster: &str, pool: u64, image: &str) -> Value {
    let handle = format!("0001-{:04x}-{cluster}-{pool:016x}-{image}", cluster.len());
    json!({
        "metadata": {"name": name},
        "spec": {"csi": {"driver": "rbd.csi.ceph.com", "volumeHandle": handle, "volumeAttributes": {"clusterID": cluster}}}
    })
}

#[test]
fn directories_and_parts_are_learned_and_lead_there_and_back() {
    let east = [
        nfs("a", "10.0.0.1", "/export/x/a"),
        nfs("b", "10.0.0.1", "/export/x/b"),
        rbd("r1", "rook", 2, "img-1"),
        rbd("r2", "rook", 2, "img-2"),
        csi_pv(),
    ];
    let west = [
        nfs("b", "10.0.0.2", "/vault/b"),
        nfs("a", "10.0.0.2", "/vault/a"),
        rbd("r1", "far", 7, "img-1"),
        rbd("r2", "far", 7, "other"),
    ];
    let proposal = learn(&east, &west, &sites()).unwrap();
    assert!(proposal.notes.is_empty(), "{:?}\n{}", proposal.notes, proposal.text);
    let mapping = Mapping::parse(&proposal.text).unwrap();
    assert_eq!(mapping.rules().len(), 2, "{}", proposal.text);
    for (here, there) in pairs(&east, &west) {
        let got = rewrite(here, &mapping, &site("east"), &site("west")).unwrap();
        assert_eq!(got.after, VolumeAddress::from_pv(there).unwrap());
    }
    assert_eq!(mapping.storage_class("10.0.0.1", &site("east"), &site("west")).unwrap(), "10.0.0.2");
}

#[test]
fn volumes_are_paired_by_claim_too() {
    let of = |name: &str, server: &str| {
        let mut pv = nfs(name, server, "/e/x");
        pv["spec"]["claimRef"] = json!({"namespace": "shop", "name": "db"});
        pv
    };
    let proposal = learn(&[of("pvc-1", "n1")], &[of("pvc-2", "n2")], &sites()).unwrap();
    assert!(proposal.text.contains("n1") && proposal.text.contains("n2"));
}

#[test]
fn strangers_teach_nothing() {
    let fault = learn(&[nfs("a", "n1", "/a")], &[nfs("b", "n2", "/b")], &sites()).unwrap_err().to_string();
    assert!(fault.ends_with("[LW-0146]"), "{fault}");
    let proposal = learn(
        &[nfs("a", "n1", "/a"), json!({"metadata": {"name": "x"}})],
        &[nfs("a", "n2", "/b"), json!({"metadata": {"name": "x"}})],
        &sites(),
    )
    .unwrap();
    assert!(proposal.notes[0].contains("left out"), "{:?}", proposal.notes);
}
