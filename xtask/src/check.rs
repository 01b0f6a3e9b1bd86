//! `cargo xtask check`: formatting, lints, licences, generated files.

use crate::{
    binaries::{cargo, must, repository},
    gen_files,
};
use anyhow::Result;
use std::{path::PathBuf, process::Command};

/// The version of cargo-deny whose configuration `deny.toml` is.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    must(cargo().args(["fmt", "--all", "--check"]))?;
    must(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    gen_files::run(true)?;
    // Advisories need a database that not every machine can fetch; they are checked where releases are made.
    let cargo_deny = cargo_deny()?;
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let mut deny = Command::new(&cargo_deny);
        deny.current_dir(repository()).args(["--log-level", "error", "--config", "deny.toml"]);
        must(deny.args(["--manifest-path", manifest, "check", "licenses", "bans", "sources"]))?;
    }
    Ok(())
}

/// cargo-deny, built once into the cache if it is not installed.
fn cargo_deny() -> Result<PathBuf> {
    let installed = Command::new("cargo-deny").arg("--version").output();
    if installed.is_ok_and(|output| output.status.success()) {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let root = leeward_lab_parts::Cache::from_env()?.root().join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("cargo-deny {CARGO_DENY} is built into {} (about 4 minutes, once)", root.display());
        must(
            cargo()
                .args(["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY, "--root"])
                .arg(&root),
        )?;
    }
    Ok(program)
}
