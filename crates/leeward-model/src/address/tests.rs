use super::*;
use serde_json::json;

fn in_tree(server: &str, path: &str) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"nfs": {"server": server, "path": path, "readOnly": true}}})
}

fn csi(handle: &str, attributes: &Value) -> Value {
    json!({
        "metadata": {"name": "p"},
        "spec": {"csi": {"driver": CSI_NFS_DRIVER, "volumeHandle": handle, "volumeAttributes": attributes}}
    })
}

fn place(pv: &Value) -> String {
    VolumeAddress::from_pv(pv).unwrap().to_string()
}

fn fault(pv: &Value) -> String {
    VolumeAddress::from_pv(pv).unwrap_err().to_string()
}

#[test]
fn reads_in_tree_nfs() {
    assert_eq!(place(&in_tree("10.0.0.1", "/export/web/")), "nfs://10.0.0.1/export/web");
    assert_eq!(place(&in_tree("[FD00::1]", "/")), "nfs://[fd00::1]/");
}

#[test]
fn reads_csi_nfs_with_keys_in_any_case() {
    let pv =
        csi("10.0.0.1#export#pvc-1#id#retain", &json!({"Server": "10.0.0.1", "SHARE": "/export/", "subDir": "pvc-1"}));
    let address = VolumeAddress::from_pv(&pv).unwrap();
    assert_eq!(
        address,
        VolumeAddress::CsiNfs {
            server: "10.0.0.1".into(),
            share: "/export".into(),
            subdir: "pvc-1".into(),
            uuid: "id".into(),
            on_delete: "retain".into(),
        }
    );
    assert_eq!(address.nfs().unwrap().directory, "/export/pvc-1");
}

#[test]
fn a_share_alone_and_the_root_are_directories() {
    assert_eq!(place(&csi("n#export##x", &json!({"server": "n", "share": "/export"}))), "nfs://n/export");
    assert_eq!(place(&csi("n###x", &json!({"server": "n", "share": "/"}))), "nfs://n/");
    assert_eq!(place(&csi("n##a#x", &json!({"server": "n", "share": "/", "subdir": "a"}))), "nfs://n/a");
}

#[test]
fn old_drivers_put_the_whole_directory_into_the_share() {
    let pv = csi("10.0.0.1/export/pvc-1", &json!({"server": "10.0.0.1", "share": "/export/pvc-1"}));
    assert_eq!(place(&pv), "nfs://10.0.0.1/export/pvc-1");
}

#[test]
fn an_identifier_as_handle_is_taken_but_must_not_name_the_server() {
    let attributes = json!({"server": "10.0.0.1", "share": "/export"});
    assert_eq!(place(&csi("shop-web", &attributes)), "nfs://10.0.0.1/export");
    assert_eq!(place(&csi("10.0.0.1/export##", &attributes)), "nfs://10.0.0.1/export");
    assert!(fault(&csi("vol-10.0.0.1", &attributes)).contains("names the server"));
    assert!(fault(&csi("10.0.0.1:/export", &attributes)).contains("[LW-0112]"));
}

#[test]
fn a_handle_and_attributes_that_disagree_are_an_error() {
    let attributes = json!({"server": "10.0.0.1", "share": "/export", "subdir": "pvc-1"});
    for handle in
        ["10.0.0.2#export#pvc-1##", "10.0.0.1#export#pvc-2##", "10.0.0.1#exports#pvc-1##", "10.0.0.1/export/x"]
    {
        let fault = fault(&csi(handle, &attributes));
        assert!(fault.contains("[LW-0113]") && fault.contains("10.0.0.1:/export/pvc-1"), "{handle}: {fault}");
    }
}

#[test]
fn two_spellings_of_a_key_must_mean_the_same() {
    let pv = csi("a#e##", &json!({"server": "a", "Server": "A.", "share": "/e"}));
    assert_eq!(place(&pv), "nfs://a/e");
    let pv = csi("a#e##", &json!({"server": "a", "Server": "b", "share": "/e"}));
    assert!(fault(&pv).contains("volumeAttributes.Server says b"), "{}", fault(&pv));
}

#[test]
fn what_cannot_be_read_is_named() {
    let cases = [
        (
            json!({"metadata": {"name": "p"}, "spec": {"capacity": {}, "hostPath": {"path": "/x"}}}),
            "spec.hostPath",
            "LW-0110",
        ),
        (json!({"spec": {"csi": {"driver": "x.example"}}}), "CSI driver \"x.example\"", "LW-0110"),
        (json!({"spec": {"csi": {}, "nfs": {}}}), "both", "LW-0110"),
        (json!({}), "no storage", "LW-0110"),
        (json!({"spec": {"nfs": {"server": "a"}}}), "spec.nfs.path", "LW-0111"),
        (csi("a#e##", &json!({"server": "a"})), "volumeAttributes.share", "LW-0111"),
        (csi("a#e##", &json!({"share": "/e"})), "volumeAttributes.server", "LW-0111"),
        (csi("a#e##", &json!({"server": 1, "share": "/e"})), "must be text", "LW-0112"),
        (in_tree("a b", "/e"), "spec.nfs.server", "LW-0112"),
        (in_tree("a", "e"), "start with '/'", "LW-0112"),
        (in_tree("a", "/e/../f"), "'..'", "LW-0112"),
        (
            csi("a#e#${pvc.metadata.name}#", &json!({"server": "a", "share": "/e", "subdir": "${pvc.metadata.name}"})),
            "${…}",
            "LW-0112",
        ),
    ];
    for (pv, says, code) in cases {
        let fault = fault(&pv);
        assert!(fault.contains(says) && fault.ends_with(&format!("[{code}]")), "{fault}");
    }
}

#[test]
fn writing_what_was_read_changes_no_byte() {
    for pv in [
        in_tree("NAS.Corp.", "/export//a/"),
        csi(
            "10.0.0.1#/export#pvc-1#id",
            &json!({"Server": "10.0.0.1", "share": "/export/", "subdir": "/pvc-1", "x": "y"}),
        ),
        csi("made-up", &json!({"server": "[fd00::1]", "share": "/e"})),
    ] {
        let mut written = pv.clone();
        VolumeAddress::from_pv(&pv).unwrap().write_to(&mut written);
        assert_eq!(written.to_string(), pv.to_string());
    }
}

#[test]
fn writing_reaches_every_part_and_keeps_its_style() {
    let mut pv = csi(
        "10.0.0.1#/export#pvc-1#id#archive",
        &json!({"Server": "10.0.0.1", "server": "10.0.0.1", "share": "/export/", "csi.storage.k8s.io/pv/name": "pvc-1"}),
    );
    pv["spec"]["csi"]["volumeAttributes"]["subdir"] = "pvc-1".into();
    let address = VolumeAddress::from_pv(&pv).unwrap();
    let to = NfsLocation { server: "10.0.0.2".into(), directory: "/vault/x/pvc-1".into() };
    address.moved_to(&to).unwrap().write_to(&mut pv);
    assert_eq!(
        pv["spec"]["csi"],
        json!({
            "driver": CSI_NFS_DRIVER,
            "volumeHandle": "10.0.0.2#/vault/x#pvc-1#id#archive",
            "volumeAttributes": {
                "Server": "10.0.0.2", "server": "10.0.0.2", "share": "/vault/x/",
                "csi.storage.k8s.io/pv/name": "pvc-1", "subdir": "pvc-1",
            }
        })
    );
}

#[test]
fn writes_a_volume_from_nothing() {
    let address = VolumeAddress::CsiNfs {
        server: "10.0.0.2".into(),
        share: "/vault".into(),
        subdir: "pvc-1".into(),
        uuid: "id".into(),
        on_delete: String::new(),
    };
    let mut pv = json!({});
    address.write_to(&mut pv);
    assert_eq!(VolumeAddress::from_pv(&pv).unwrap(), address);
    assert_eq!(pv["spec"]["csi"]["volumeHandle"], "10.0.0.2#vault#pvc-1#id#");
}
