//! `cargo xtask matrix`: the plug-ins with every Velero that OADP ships.

use crate::{binaries, lab, test};
use anyhow::Result;
use leeward_lab::{Lab, Lines, Root};
use leeward_lab_parts::VeleroVersion;
use std::{collections::BTreeMap, path::Path};

pub(crate) async fn run() -> Result<()> {
    let ready = binaries::ready()?;
    let mut builds = BTreeMap::new();
    for version in VeleroVersion::ALL {
        builds.insert(version.as_str(), lab::velero_build(version)?);
    }
    let mut file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&mut file, &builds)?;
    let sites = lab::fresh(&ready).await?;
    let tested = tokio::select! {
        tested = on_each(&sites, &ready, file.path()) => tested,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| anyhow::bail!("interrupted")),
    };
    Lab::down(&Root::from_env(), &Lines::default()).await?;
    tested
}

async fn on_each(sites: &Lab, ready: &binaries::Ready, builds: &Path) -> Result<()> {
    let mut tests = test::on_the_lab(sites, ready).await?;
    tests.args(["--test", "t4_plain_velero", "--", "--test-threads", "1"]).env("LEEWARD_VELEROS", builds);
    tokio::task::spawn_blocking(move || binaries::must(&mut tests)).await?
}
