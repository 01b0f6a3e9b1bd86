//! Holds the driver to csi-sanity, the conformance tests of CSI.
//!
//! LEEWARD_CSI_SANITY names the binary (csi-test v5.6.0); without it nothing is run, which is a failure if
//! LEEWARD_REQUIRE_LAB=1. No test is skipped by name: those that csi-sanity itself skips are of capabilities the driver
//! does not claim.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Driver, Mounted, not_run, wait};

/// How many tests csi-sanity v5.6.0 has for the capabilities the driver claims. Fewer means that one got lost.
const TESTS: u32 = 53;

/// csi-sanity takes half a second; it waits for ever for a driver that does not answer.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn sanity_on_the_file_system_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    std::fs::create_dir(&export).unwrap();
    sanity(dir.path(), &export);
}

#[test]
fn sanity_on_xfs_with_reflinks() {
    let dir = tempfile::tempdir().unwrap();
    match Mounted::xfs(dir.path()) {
        Ok(xfs) => sanity(dir.path(), &xfs.path),
        Err(why) => not_run(&why),
    }
}

fn sanity(dir: &Path, export: &Path) {
    let Some(binary) = std::env::var_os("LEEWARD_CSI_SANITY") else {
        return not_run("LEEWARD_CSI_SANITY does not name the csi-sanity binary");
    };
    if !rustix::process::geteuid().is_root() {
        return not_run("publishing a volume takes root");
    }
    let mut driver = Driver::start(dir, export);
    let parameters = dir.join("parameters.yaml");
    std::fs::write(&parameters, "server: 10.77.0.1\nshare: /export\n").unwrap();
    let output = dir.join("output");
    let mut process = Command::new(binary)
        .arg("--csi.endpoint")
        .arg(&driver.socket)
        .arg("--csi.testvolumeparameters")
        .arg(&parameters)
        .arg("--csi.mountdir")
        .arg(dir.join("mount"))
        .arg("--csi.stagingdir")
        .arg(dir.join("staging"))
        .arg("--ginkgo.no-color")
        .stdout(Stdio::from(std::fs::File::create(&output).unwrap()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = wait(&mut process, PATIENCE);
    let output = std::fs::read_to_string(&output).unwrap();
    assert!(status.is_some_and(|status| status.success()), "csi-sanity: {status:?}\n{output}");
    assert!(passed(&output) >= TESTS, "{} of {TESTS} tests were run\n{output}", passed(&output));

    assert!(driver.terminate().success());
    let left = |sub: &str| std::fs::read_dir(export.join(sub)).unwrap().count();
    assert_eq!((left(".snapshots"), left(".csi/tmp"), left(".csi/volumes"), left(".csi/snapshots")), (0, 0, 0, 0));
    assert_eq!(left(".csi/groups"), 0);
}

/// Reads `SUCCESS! -- 53 Passed | 0 Failed | ...`.
fn passed(output: &str) -> u32 {
    let line = output.lines().rfind(|line| line.contains(" Passed | "));
    line.and_then(|line| line.split(" Passed").next()?.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}
