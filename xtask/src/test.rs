//! `cargo xtask test`: everything that is tested.

use crate::{binaries, check, lab};
use anyhow::Result;
use clap::Args;
use leeward_lab::{Lab, Lines, Root, Site};
use leeward_lab_story::files;

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Leave out formatting, lints and licences.
    #[arg(long)]
    no_check: bool,
    /// Leave out what needs the lab.
    #[arg(long)]
    no_lab: bool,
    /// Only lab tests whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

pub(crate) async fn run(args: &TestArgs) -> Result<()> {
    let ready = if args.no_lab { None } else { Some(binaries::ready()?) };
    if !args.no_check {
        check::run()?;
    }
    if args.only.is_none() {
        let mut tests = binaries::cargo();
        tests.args(["test", "--quiet", "--no-fail-fast"]);
        if let Some(ready) = &ready {
            tests.env("LEEWARD_CSI_SANITY", &ready.csi_sanity).env("VELERO_PLUGIN_CONTRACT", &ready.plugin_contract);
            tests.env("VELERO_SERVERS", &ready.inputs.velero).env("LEEWARD_REQUIRE_LAB", "1");
        }
        binaries::must(&mut tests)?;
    }
    let Some(ready) = ready else { return Ok(()) };
    if args.only.is_none() {
        leaves_nothing(&ready).await?;
    }
    let sites = lab::fresh(&ready).await?;
    let passed = tokio::select! {
        passed = lab_tests(&sites, &ready, args.only.as_deref()) => passed,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| anyhow::bail!("interrupted")),
    };
    Lab::down(&Root::from_env(), &Lines::default()).await?;
    passed
}

/// The supervisor is killed, interrupted and repeated on the real machine. It has a lab of its own, so ours must be down.
async fn leaves_nothing(ready: &binaries::Ready) -> Result<()> {
    Lab::down(&Root::from_env(), &Lines::default()).await?;
    let mut inputs = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&mut inputs, &ready.inputs)?;
    let mut test = binaries::cargo();
    test.args(["test", "--quiet", "--package", "leeward-lab", "--test", "leaves_nothing", "--", "--ignored"]);
    test.env("LEEWARD_LAB_INPUTS", inputs.path());
    tokio::task::spawn_blocking(move || binaries::must(&mut test)).await?
}

/// Opens the shop on a fresh lab; the command that tests the story there.
pub(crate) async fn on_the_lab(sites: &Lab, ready: &binaries::Ready) -> Result<std::process::Command> {
    let config = files::write(sites)?;
    leeward_lab::seed_shop(sites, Site::East).await?;
    let mut tests = binaries::cargo();
    tests.args(["test", "--quiet", "--no-fail-fast", "--package", "leeward-lab-story"]);
    tests.env("LEEWARD_CONFIG", config).env("LEEWARD_PROGRAM", &ready.leeward).env("LEEWARD_REQUIRE_LAB", "1");
    Ok(tests)
}

async fn lab_tests(sites: &Lab, ready: &binaries::Ready, only: Option<&str>) -> Result<()> {
    let mut tests = on_the_lab(sites, ready).await?;
    // One lab, one story at a time.
    tests.args(["--", "--test-threads", "1"]).args(only);
    tokio::task::spawn_blocking(move || binaries::must(&mut tests)).await?
}
