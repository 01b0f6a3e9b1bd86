//! `leeward mapping`, as scripts use it: stdout is data, the exit code says how it ended.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, process::Command};

const MAPPING: &str = "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: by-id
    east: { inTree: fc }
    west: { inTree: fc }
    table: { parts: [wwid], from: luns.csv }
";

/// Exit code, stdout, stderr.
fn leeward(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_leeward")).arg("mapping").args(args).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn pv(name: &str, wwid: &str) -> String {
    format!(
        r#"{{"kind": "PersistentVolume", "metadata": {{"name": "{name}"}}, "spec": {{"fc": {{"wwids": ["{wwid}"]}}}}}}"#
    )
}

#[test]
fn mappings_are_checked_tried_learned_and_imported() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let write = |name: &str, text: &str| {
        let file = at.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    write("mapping.yaml", MAPPING);
    let (code, _, talk) = leeward(at, &["check", "mapping.yaml"]);
    assert!(code == 2 && talk.contains("luns.csv") && talk.contains("[LW-0128]"), "{talk}");
    write("luns.csv", "east,west\n3600a,3600b\n");
    assert_eq!(leeward(at, &["check", "mapping.yaml"]).0, 0);

    write("backup/resources/persistentvolumes/cluster/one.json", &pv("one", "3600a"));
    let (code, data, _) = leeward(at, &["test", "mapping.yaml", "backup"]);
    assert!(code == 0 && data.contains("one:") && data.contains("3600b") && data.contains("by-id"), "{data}");
    write("list.yaml", &format!("kind: List\nitems: [{}, {}]\n", pv("one", "3600a"), pv("two", "9")));
    let (code, data, talk) = leeward(at, &["test", "mapping.yaml", "list.yaml"]);
    assert!(code == 3 && data.contains("one:") && talk.contains("\"two\"") && talk.contains("[LW-0514]"), "{talk}");
    assert!(leeward(at, &["test", "mapping.yaml", "mapping.yaml"]).2.contains("[LW-0513]"));

    write("west.json", &pv("one", "3600b"));
    let (code, learned, _) = leeward(at, &["learn", "backup", "west.json"]);
    assert_eq!(code, 0);
    write("learned.yaml", &learned);
    assert_eq!(leeward(at, &["test", "learned.yaml", "backup"]).0, 0);

    write("cm.yaml", "data: {rule1.path: spec.csi.volumeHandle, rule1.find: '^a(.*)$', rule1.replace: 'b$1'}\n");
    let (code, imported, _) = leeward(at, &["import", "cm.yaml", "--from", "north", "--to", "south"]);
    assert!(code == 0 && imported.contains("south"), "{imported}");
    write("imported.yaml", &imported);
    assert_eq!(leeward(at, &["check", "imported.yaml"]).0, 0);
    write("cm.yaml", "data: {x: z}\n");
    assert!(leeward(at, &["import", "cm.yaml"]).2.contains("[LW-0145]"));
}
