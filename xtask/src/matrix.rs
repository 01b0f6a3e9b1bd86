//! `cargo xtask matrix`: the plug-ins with every Velero that OADP ships.

use crate::binaries::{self, Ready};
use crate::{lab, test};
use anyhow::Result;
use clap::Args;
use leeward_lab::Lab;
use leeward_lab_parts::VeleroVersion;
use std::{collections::BTreeMap, path::Path};

/// Those that no other lab test sees; the lab's own is the third.
const OLDER: [VeleroVersion; 2] = [VeleroVersion::V1_14, VeleroVersion::V1_16];
/// Puts each Velero into a lab that is there, goes to the other site and back, and takes the plug-ins out again.
const SWAPPED: &str = "t4_plain_velero";

#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// Only with this Velero (1.14.1, 1.16.2 or 1.18.2), and without putting one in another's place; may be repeated.
    #[arg(long, value_name = "VERSION")]
    velero: Vec<VeleroVersion>,
    /// Only tests whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

pub(crate) async fn run(args: &MatrixArgs) -> Result<()> {
    let ready = binaries::ready()?;
    let mut builds = BTreeMap::new();
    for version in VeleroVersion::ALL {
        builds.insert(version.as_str(), lab::velero_build(version)?);
    }
    let only = args.only.as_deref();
    if args.velero.is_empty() {
        let mut file = tempfile::NamedTempFile::new()?;
        serde_json::to_writer(&mut file, &builds)?;
        lab::on_fresh(&ready, async |sites| swapped(sites, &ready, file.path(), only).await).await?;
    }
    // The others of the plug-ins' tests, on a lab that has had this Velero from its first minute.
    let others: Vec<_> = test::APART.into_iter().filter(|test| *test != SWAPPED).collect();
    let versions = if args.velero.is_empty() { &OLDER[..] } else { &args.velero };
    for version in versions {
        eprintln!("Velero {version}");
        let inputs = ready.inputs.clone().with_velero(builds[version.as_str()].clone());
        let ready = Ready { inputs, ..ready.clone() };
        lab::on_fresh(&ready, async |sites| test::half(sites, &ready, &others, only).await).await?;
    }
    Ok(())
}

async fn swapped(sites: &Lab, ready: &Ready, builds: &Path, only: Option<&str>) -> Result<()> {
    let mut tests = test::story(sites, ready).await?;
    tests.env("LEEWARD_VELEROS", builds);
    test::play(tests, &[SWAPPED], only).await
}
