//! `cargo xtask test`: everything that is tested.

#[path = "test/apart.rs"]
mod apart;

use crate::{binaries, check, lab};
use anyhow::{Result, ensure};
use clap::Args;
use leeward_lab::{Lab, Lines, Root, Site};
use leeward_lab_story::files;
use std::process::Command;

/// Leeward's own moves.
const HERE: [&str; 4] = ["t0_first_days", "t1_story", "t2_proofs", "t3_bad_days"];
/// The plug-ins with plain Velero. Both halves take about as long: most of it is waiting, so they do not wait for each other.
pub(crate) const APART: [&str; 9] = [
    "t4_plain_velero",
    "t5_promotion",
    "t5_promotion_frozen",
    "t5_promotion_policies",
    "t6_bad_input",
    "t6_volumes",
    "t7_check",
    "t8_group_snapshots",
    "t9_least_rights",
];

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
    /// This process is the one that `apart` has started.
    #[arg(long, hide = true)]
    apart: bool,
}

pub(crate) async fn run(args: &TestArgs) -> Result<()> {
    if args.apart {
        return apart::run(args.only.as_deref()).await;
    }
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
            tests.env("LEEWARD_MOVER", &ready.inputs.mover);
        }
        binaries::must(&mut tests)?;
    }
    match ready {
        Some(ready) => lab_tests(&ready, args.only.as_deref()).await,
        None => Ok(()),
    }
}

/// The lab's tests, half of them on a lab of their own beside the others'.
async fn lab_tests(ready: &binaries::Ready, only: Option<&str>) -> Result<()> {
    binaries::must(binaries::cargo().args(["test", "--quiet", "--no-run", "--package", "leeward-lab-story"]))?;
    let beside = apart::start(only)?;
    let here = tests_here(ready, only).await;
    let beside = beside.finish().await;
    here.and(beside)
}

/// Those that need the machine's own network, and once more the story, where files share no blocks.
async fn tests_here(ready: &binaries::Ready, only: Option<&str>) -> Result<()> {
    if only.is_none() {
        leaves_nothing(ready).await?;
    }
    lab::on_fresh(ready, async |sites| half(sites, ready, &HERE, only).await).await?;
    if only.is_none_or(str::is_empty) { without_reflinks(ready).await } else { Ok(()) }
}

/// The story on file servers without reflinks: there the mover keeps undo logs.
async fn without_reflinks(ready: &binaries::Ready) -> Result<()> {
    let mut ready = ready.clone();
    ready.inputs.without_reflinks = true;
    lab::on_fresh(&ready, async |sites| {
        half(sites, &ready, &["t1_story"], None).await?;
        let points = sites.export(Site::West).join(".leeward/points/shop");
        let logs =
            fs_err::read_dir(points)?.filter(|point| point.as_ref().is_ok_and(|at| at.path().join(".undo").exists()));
        ensure!(logs.count() > 0, "no point at west has an undo log");
        Ok(())
    })
    .await
}

/// Tests on one lab, whose shop is opened first.
pub(crate) async fn half(sites: &Lab, ready: &binaries::Ready, of: &[&str], only: Option<&str>) -> Result<()> {
    play(story(sites, ready).await?, of, only).await
}

/// Plays tests on one lab, one story at a time.
pub(crate) async fn play(mut tests: Command, of: &[&str], only: Option<&str>) -> Result<()> {
    tests.args(of.iter().flat_map(|test| ["--test", test])).args(["--", "--test-threads", "1"]).args(only);
    binaries::must_aside(tests).await
}

/// The supervisor is killed, interrupted and repeated on the real machine. It has a lab of its own, so ours must be down.
async fn leaves_nothing(ready: &binaries::Ready) -> Result<()> {
    Lab::down(&Root::from_env(), &Lines::default()).await?;
    let mut inputs = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&mut inputs, &ready.inputs)?;
    let mut test = binaries::cargo();
    test.args(["test", "--quiet", "--package", "leeward-lab", "--test", "leaves_nothing", "--", "--ignored"]);
    test.env("LEEWARD_LAB_INPUTS", inputs.path());
    binaries::must_aside(test).await
}

/// Opens the shop on a fresh lab; the command that tests the story there.
pub(crate) async fn story(sites: &Lab, ready: &binaries::Ready) -> Result<Command> {
    let config = files::write(sites)?;
    leeward_lab::seed_shop(sites, Site::East).await?;
    let mut tests = binaries::cargo();
    tests.args(["test", "--quiet", "--no-fail-fast", "--package", "leeward-lab-story"]);
    tests.env("LEEWARD_CONFIG", config).env("LEEWARD_PROGRAM", &ready.leeward).env("LEEWARD_REQUIRE_LAB", "1");
    Ok(tests)
}

#[test]
fn each_file_of_lab_tests_is_in_one_half() {
    let folder = binaries::repository().join("lab/story/tests");
    let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect();
    files.sort();
    let mut halves = [&HERE[..], &APART].concat();
    halves.sort_unstable();
    assert_eq!(files, halves);
}
