//! `cargo xtask gen`: files that are generated and committed.

#[path = "gen/csi_proto.rs"]
mod csi_proto;
#[path = "gen/proto.rs"]
mod proto;

use crate::binaries::{cargo, must, repository};
use anyhow::{Result, bail};
use std::process::Command;

/// Where generated files are.
const GENERATED: [&str; 3] = ["crates/velero-plugin/src/proto/generated", "lab/csi/src/generated", "docs/reference/schema"];

/// Writes all generated files; with `check`, fails if that changed anything.
pub(crate) fn run(check: bool) -> Result<()> {
    let before = snapshot()?;
    proto::generate()?;
    csi_proto::generate()?;
    schemas()?;
    if check && snapshot()? != before {
        bail!("generated files were not up to date; `cargo xtask gen` has just written them anew: commit them");
    }
    Ok(())
}

fn schemas() -> Result<()> {
    let folder = repository().join("docs/reference/schema");
    fs_err::create_dir_all(&folder)?;
    must(cargo().args(["build", "--quiet", "--package", "leeward-cli"]))?;
    for of in ["config", "mapping"] {
        let output = cargo().args(["run", "--quiet", "--package", "leeward-cli", "--", "schema", of]).output()?;
        if !output.status.success() {
            bail!("`leeward schema {of}` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        fs_err::write(folder.join(format!("{of}.json")), output.stdout)?;
    }
    Ok(())
}

/// Content of all generated files, for comparison.
fn snapshot() -> Result<Vec<u8>> {
    let mut command = Command::new("find");
    command.current_dir(repository()).args(GENERATED).args(["-type", "f", "-exec", "sha256sum", "{}", "+"]);
    let mut lines: Vec<String> = String::from_utf8_lossy(&command.output()?.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines.join("\n").into_bytes())
}
