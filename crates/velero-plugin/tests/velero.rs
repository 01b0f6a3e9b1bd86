//! The contract as Velero's own code holds a plug-in to it: its registry, manager, clients and log hooks, in Go.
//!
//! VELERO_PLUGIN_CONTRACT names the program (`lab/go/plugincontract` in this crate's repository, built by `go build`); without
//! it nothing is run, and that is said.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::SPECIMEN;
use std::process::Command;

/// How many checks the program has. Fewer means that one got lost.
const CHECKS: u32 = 17;

#[test]
fn velero_itself_is_content() {
    let Some(program) = std::env::var_os("VELERO_PLUGIN_CONTRACT") else {
        eprintln!("NOT RUN: VELERO_PLUGIN_CONTRACT does not name the program that holds a plug-in to its contract");
        return;
    };
    let plugins = tempfile::tempdir().unwrap();
    // As an init container puts it there.
    let install = Command::new(SPECIMEN).arg("--install-to").arg(plugins.path()).output().unwrap();
    assert!(install.status.success(), "{}", String::from_utf8_lossy(&install.stderr));
    let flags = ["--features=EnableCSI", "--log-level", "debug", "--uploader-type=kopia", "--no-such-flag"];
    let output = Command::new(program).arg("check").arg(plugins.path()).args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let passed = said.lines().last().and_then(|line| line.strip_prefix("passed ")?.parse().ok()).unwrap_or(0);
    assert!(passed >= CHECKS, "{passed} of {CHECKS} checks were run\n{said}");
}
