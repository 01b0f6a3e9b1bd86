//! Exit codes and the two streams of the built program. Nothing here talks to anyone.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

const MAPPING: &str = "\
apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.0.0.1, path: /export } }
    west: { nfs: { server: 10.0.0.2, path: /vault } }
";

const CONFIG: &str = "\
apiVersion: leeward.io/v1alpha1
kind: LeewardConfig
sites:
  east: { kubeconfig: kubeconfig }
  west: { kubeconfig: kubeconfig }
objectStore: { endpoint: http://127.0.0.1:1, bucket: b, prefix: leeward, veleroPrefix: velero, credentialsFile: credentials }
mapping: mapping.yaml
storage:
  nfs:
    sites:
      east: &nfs
        server: 10.0.0.1
        export: /export
        path: /srv/export
        control: [env]
      west: *nfs
groups:
  shop: { namespaces: [shop], home: east }
  office: { namespaces: [office], home: west }
";

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{ name: c, cluster: { server: 'https://127.0.0.1:1' } }]
users: [{ name: u, user: { token: t } }]
contexts: [{ name: x, context: { cluster: c, user: u } }]
current-context: x
";

/// A folder with a configuration that is right but for what is replaced in it.
fn folder(mapping: (&str, &str), config: (&str, &str)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("mapping.yaml", &MAPPING.replace(mapping.0, mapping.1));
    write("leeward.yaml", &CONFIG.replace(config.0, config.1));
    write("kubeconfig", KUBECONFIG);
    write("credentials", "[default]\naws_access_key_id = a\naws_secret_access_key = hunter2\n");
    folder
}

fn good() -> tempfile::TempDir {
    folder(("~", "~"), ("~", "~"))
}

/// Exit code, stdout, stderr.
fn leeward(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_leeward"))
        .args(args)
        .current_dir(folder)
        .env_remove("LEEWARD_CONFIG")
        .env_remove("LEEWARD_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Wrong usage: code 2, nothing on stdout, and each of `parts` on stderr.
fn assert_usage(folder: &Path, args: &[&str], parts: &[&str]) {
    let (code, stdout, stderr) = leeward(folder, args);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{args:?}: {part:?} is not in {stderr}");
    }
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn no_configuration() {
    let empty = tempfile::tempdir().unwrap();
    assert_usage(empty.path(), &["status"], &["error: leeward.yaml: cannot be read", "--config", "[LW-0501]"]);
    assert_usage(empty.path(), &["-c", "other.yaml", "plan", "cycle"], &["other.yaml", "[LW-0501]"]);
}

#[test]
fn an_unknown_group() {
    let folder = good();
    for args in [&["status", "shp"][..], &["plan", "migrate", "shp"], &["cycle", "shp"], &["failover", "shp", "--yes"]]
    {
        assert_usage(folder.path(), args, &["there is no group shp", "office, shop", "[LW-0510]"]);
    }
    assert_usage(folder.path(), &["cycle"], &["say which group: office, shop", "[LW-0511]"]);
    assert_usage(folder.path(), &["status", "Shop"], &["invalid value 'Shop'"]);
}

#[test]
fn a_malformed_mapping_is_named_with_line_and_field() {
    let cases = [
        (("path: /vault", "pathh: /vault"), &["line 7", "rules[0].west.nfs", "pathh"][..]),
        (("server: 10.0.0.2", "server: 10.0.0"), &["line 7", "rules[0].west.nfs.server", "10.0.0"]),
        (("[east, west]", "[east]"), &["line 3", "sites"]),
        (("    east: {", "    eats: {"), &["line 6", "rules[0]", "eats"]),
        (("rules:", "rules: ["), &["line "]),
    ];
    for (change, parts) in cases {
        let folder = folder(change, ("~", "~"));
        assert_usage(folder.path(), &["status"], &["mapping.yaml", "[LW-0"]);
        assert_usage(folder.path(), &["status"], parts);
    }
}

#[test]
fn a_wrong_configuration_is_named_with_line_and_field() {
    let folder = folder(("~", "~"), ("home: west", "home: north"));
    assert_usage(folder.path(), &["status"], &["leeward.yaml: line 19", "groups.office.home", "[LW-0503]"]);
}

#[test]
fn what_stops_vms_is_not_done_unasked() {
    // No terminal and no --yes. Nobody was talked to: the bucket and the clusters do not answer.
    let folder = good();
    assert_usage(folder.path(), &["failback", "shop"], &["failback stops and starts VMs: say --yes", "[LW-0512]"]);
}

#[test]
fn a_backup_that_cannot_be_checked() {
    let folder = good();
    // Names that no backup has are never looked for: one could name a key elsewhere in the bucket.
    for name in ["../evil", "a/b", "B", "", "a\u{1b}[2J"] {
        assert_usage(folder.path(), &["check", "backup", "--", name], &["is not the name of a backup", "[LW-0227]"]);
    }
    for option in ["--site", "--from"] {
        let args = ["check", "backup", "b", option, "north"];
        assert_usage(folder.path(), &args, &["there is no site north", "east, west", "[LW-0523]"]);
    }
    assert_usage(folder.path(), &["check", "group"], &["unrecognized subcommand 'group'"]);
}

#[test]
fn wrong_words() {
    let folder = good();
    assert_usage(folder.path(), &["migrat"], &["unrecognized subcommand 'migrat'"]);
    assert_usage(folder.path(), &["plan", "test"], &["invalid value 'test'"]);
    assert_usage(folder.path(), &["migrate", "--to", "WEST"], &["invalid value 'WEST'"]);
    assert_usage(folder.path(), &["-o", "xml", "status"], &["invalid value 'xml'"]);
}

#[test]
fn schemas_and_help_need_no_configuration() {
    let empty = tempfile::tempdir().unwrap();
    for of in ["config", "mapping"] {
        let (code, stdout, stderr) = leeward(empty.path(), &["schema", of]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert!(schema.get("properties").is_some(), "{of}");
    }
    let (code, stdout, _) = leeward(empty.path(), &["--help"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("Exit codes: 0 done"), "{stdout}");
}
