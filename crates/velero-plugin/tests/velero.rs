//! The contract as Velero's own code holds a plug-in to it: its registry, manager, clients and log hooks, in Go.
//!
//! VELERO_PLUGIN_CONTRACT names the program (`lab/go/plugincontract` in this crate's repository, built by `go build`),
//! VELERO_SERVERS the binaries of Velero, separated by colons. Without them nothing is run, and that is said.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::SPECIMEN;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How many checks the program has. Fewer means that one got lost.
const CHECKS: u32 = 17;

#[test]
fn velero_itself_is_content() {
    let Some(program) = std::env::var_os("VELERO_PLUGIN_CONTRACT") else {
        eprintln!("NOT RUN: VELERO_PLUGIN_CONTRACT does not name the program that holds a plug-in to its contract");
        return;
    };
    let plugins = tempfile::tempdir().unwrap();
    install(plugins.path());
    let flags = ["--features=EnableCSI", "--log-level", "debug", "--uploader-type=kopia", "--no-such-flag"];
    let output = Command::new(program).arg("check").arg(plugins.path()).args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let passed = said.lines().last().and_then(|line| line.strip_prefix("passed ")?.parse().ok()).unwrap_or(0);
    assert!(passed >= CHECKS, "{passed} of {CHECKS} checks were run\n{said}");
}

/// As an init container puts it there.
fn install(plugins: &Path) {
    let install = Command::new(SPECIMEN).arg("--install-to").arg(plugins).output().unwrap();
    assert!(install.status.success(), "{}", String::from_utf8_lossy(&install.stderr));
}

/// A server looks for its plug-ins before it looks for its cluster, so that it needs none to be asked what it makes of them.
#[test]
fn every_server_starts_with_it() {
    let Some(servers) = std::env::var_os("VELERO_SERVERS") else {
        eprintln!("NOT RUN: VELERO_SERVERS does not name any binary of Velero");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (plugins, kubeconfig, log) =
        (dir.path().join("plugins"), dir.path().join("kubeconfig"), dir.path().join("log"));
    std::fs::create_dir(&plugins).unwrap();
    install(&plugins);
    let cluster = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
                   users: [{name: u, user: {token: t}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n";
    std::fs::write(&kubeconfig, cluster).unwrap();
    for server in std::env::split_paths(&servers) {
        let version = Command::new(&server).args(["version", "--client-only"]).output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let mut process = Command::new(&server)
            .args(["server", "--features=EnableCSI", "--metrics-address=127.0.0.1:0", "--profiler-address=127.0.0.1:0"])
            .arg("--plugin-dir")
            .arg(&plugins)
            .env("KUBECONFIG", &kubeconfig)
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("{} still looks for its cluster", server.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::read_to_string(&log).unwrap();
        let registered = |part: &str| {
            log.lines()
                .filter(|l| l.contains("registering plugin") && l.contains("example.io/") && l.contains(part))
                .count()
        };
        let knows_item_blocks = !["v1.11", "v1.12", "v1.13", "v1.14"].iter().any(|old| version.contains(old));
        let expected = if knows_item_blocks { (17, 1) } else { (16, 0) };
        let found = (registered(""), registered("kind=ItemBlockAction"));
        assert_eq!(found, expected, "{}: {version}\n{log}", server.display());
        assert_eq!(log.contains("not offered as ItemBlockAction"), !knows_item_blocks, "{version}");
    }
}
