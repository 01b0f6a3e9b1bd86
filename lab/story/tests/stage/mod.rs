//! The lab that the tests play on, and what they share.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod plain;
pub(crate) mod promotion;
pub(crate) mod virt_api;

use anyhow::{Context, Result, bail};
use leeward_lab::{Lab, Root, Site};
use leeward_lab_story::{
    guests::Boot,
    leeward::Leeward,
    parts::{self, Stage},
    tell::Tale,
};
use std::{future::Future, path::PathBuf};

/// Plays `test` on the lab that `cargo xtask test` has brought up.
///
/// Without a lab nothing is tested: that is a failure where the lab is required, and said aloud everywhere else.
pub(crate) fn on_the_lab<T: AsyncFnOnce(&Stage<'_>) -> Result<()>>(test: T) {
    let Ok(program) = std::env::var("LEEWARD_PROGRAM") else {
        assert!(std::env::var_os("LEEWARD_REQUIRE_LAB").is_none(), "there is no lab: run `cargo xtask test`");
        eprintln!("NOT RUN: this needs the lab; `cargo xtask test` brings it up");
        return;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let lab = Lab::attach(&Root::from_env()).expect("the lab is up");
        let config = PathBuf::from(std::env::var_os("LEEWARD_CONFIG").expect("LEEWARD_CONFIG names the configuration"));
        let leeward = Leeward { program: program.into(), config };
        let tale = Tale::begin("test", true);
        let stage = Stage { lab: &lab, leeward: &leeward, tale: &tale };
        if let Err(error) = test(&stage).await {
            panic!("{error:#}");
        }
        let failures = tale.failures(0);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

/// Brings the group home, with its VMs running there and nothing unfinished.
pub(crate) async fn at_home(stage: &Stage<'_>) -> Result<()> {
    both_answer(stage).await?;
    stage.bring_to(Site::East).await
}

/// Waits until both sites answer.
pub(crate) async fn both_answer(stage: &Stage<'_>) -> Result<()> {
    for site in Site::ALL {
        if !stage.lab.is_plugged(site) {
            // A test before this one failed in the middle of its disaster.
            stage.lab.heal_site(site).await?;
        }
        parts::wait_until_it_answers(stage, site).await?;
    }
    Ok(())
}

/// Undoes a fault however the test in between ends.
pub(crate) async fn with_fault<F, U>(fault: impl Future<Output = Result<()>>, test: F, undo: U) -> Result<()>
where
    F: Future<Output = Result<()>>,
    U: Future<Output = Result<()>>,
{
    fault.await.context("the fault could not be made")?;
    let tested = test.await;
    undo.await.context("the fault could not be undone")?;
    tested
}

/// Calls `leeward` and expects it to fail with this exit code, saying this.
pub(crate) async fn refused(stage: &Stage<'_>, args: &[&str], code: i32, saying: &[&str]) -> Result<String> {
    let called = stage.leeward.call(args, &|line| eprintln!("   {line}")).await?;
    if called.code != Some(code) {
        bail!("`leeward {}` ended with {:?}, not {code}:\n{}", args.join(" "), called.code, called.talk);
    }
    for words in saying {
        if !called.talk.contains(words) {
            bail!("`leeward {}` does not say {words:?}:\n{}", args.join(" "), called.talk);
        }
    }
    Ok(called.talk)
}

/// Calls a move and kills it behind a step.
pub(crate) async fn killed_behind(stage: &Stage<'_>, args: &[&str], step: &str) -> Result<()> {
    let done = format!("{step}: done");
    let killed = stage.leeward.call_until(args, &|line| eprintln!("   {line}"), |line| line.contains(&done)).await?;
    anyhow::ensure!(killed.code.is_none(), "it was not killed behind {step}: {:?}", killed.code);
    Ok(())
}

/// Checks that a guest found on each disk exactly what it had acknowledged before.
pub(crate) fn nothing_lost(stage: &Stage<'_>, when: &str, disks: &[&str], before: &Boot, now: &Boot) {
    for disk in disks {
        let (acknowledged, found) = (before.last(disk, None), now.found(disk));
        stage.tale.check(
            format!("{when}0 records of {disk} lost"),
            acknowledged.map(|record| record.number) == found.map(|record| record.number),
            format!("{acknowledged:?} → {found:?}"),
        );
    }
}
