//! `cargo xtask demo`: the story, told as it happens.

use crate::{binaries, lab};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use leeward_lab::{Lab, Lines, Root, Site, seed};
use leeward_lab_story::{
    files,
    leeward::Leeward,
    parts::{self, Stage},
    tell::Tale,
};
use leeward_model::report;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Which part of the story.
    #[arg(long, value_enum, default_value_t = Story::All)]
    story: Story,
    /// Leave the lab up afterwards, and say what to try.
    #[arg(long)]
    keep: bool,
    /// Where the report goes.
    #[arg(long, default_value = "lab-report", value_name = "FOLDER")]
    report: PathBuf,
}

/// Parts of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Story {
    /// Cycle, migrate, failback.
    Migrate,
    /// Cycle, disaster, failover, homecoming.
    Failover,
    /// Everything.
    All,
}

pub(crate) async fn run(args: &DemoArgs) -> Result<()> {
    eprintln!(
        "The demo makes everything ready, starts two sites on this machine, tells the story and takes the sites down again.\n\
         The story takes about 3 minutes; making ready takes seconds once everything is built, else what is said below."
    );
    let ready = binaries::ready()?;
    let stage_lab = lab::fresh(&ready).await?;
    let config = files::write(&stage_lab)?;
    let leeward = Leeward { program: ready.leeward.clone(), config: config.clone() };
    let tale = Tale::begin("Two sites, one bucket: a virtual machine moves east → west → east", true);
    let stage = Stage { lab: &stage_lab, leeward: &leeward, tale: &tale };
    let told = lab::interruptible(tell(&stage, args.story)).await;
    if let Err(error) = &told {
        tale.check("the story is told to its end", false, format!("{error:#}"));
    }
    let faults = write_report(&tale, &args.report)?;
    if args.keep {
        lab::hints(&ready, &config);
    } else {
        Lab::down(&Root::from_env(), &Lines::default()).await?;
    }
    told?;
    if !faults.is_empty() {
        bail!("{} of the claims do not hold:\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(())
}

async fn tell(stage: &Stage<'_>, story: Story) -> Result<()> {
    stage.tale.heading("the shop opens at east: db with two CSI disks, web with one on a static NFS volume");
    leeward_lab::seed_shop(stage.lab, Site::East).await?;
    seed::wait_for_guests(stage.lab, Site::East, Duration::from_secs(120)).await?;
    leeward_lab_story::guests::wait_for_records(stage.lab, Site::East, 5, parts::WRITES).await?;
    stage.tale.note(Some("east"), "db and web run and count");
    if matches!(story, Story::Migrate | Story::All) {
        parts::cycle(stage).await?;
        parts::migrate(stage).await?;
        parts::failback(stage).await?;
    }
    if matches!(story, Story::Failover | Story::All) {
        parts::disaster(stage).await?;
        parts::homecoming(stage).await?;
    }
    Ok(())
}

/// Writes the report's two files, prints its table, and returns what does not hold.
fn write_report(tale: &Tale, folder: &std::path::Path) -> Result<Vec<String>> {
    let told = tale.report();
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("report.json"), serde_json::to_string_pretty(&told)?)?;
    fs_err::write(folder.join("report.html"), report::html(&told))?;
    println!("\n{}", report::table(&told));
    eprintln!("report: {} and {}", folder.join("report.html").display(), folder.join("report.json").display());
    Ok(told.faults())
}
