//! The five parts of the story. Each can be told alone: it first brings the sites to where it begins.

mod disaster;
mod moves;

pub use disaster::{disaster, homecoming, wait_until_it_answers};
pub use moves::{cycle, failback, migrate};

use crate::{
    guests::{self, GUESTS, Record},
    leeward::Leeward,
    tell::Tale,
};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use leeward_lab::{Lab, Site};
use leeward_model::report::{Objective, StoryRow};
use std::{collections::BTreeMap, time::Duration};

/// Time for guests to write a few records; under emulation, on two cores that also run two clusters.
pub const WRITES: Duration = Duration::from_secs(60);

/// Where the story takes place.
pub struct Stage<'a> {
    /// The two sites.
    pub lab: &'a Lab,
    /// The command line.
    pub leeward: &'a Leeward,
    /// Who collects.
    pub tale: &'a Tale,
}

/// The last acknowledged record of each disk.
pub type Last = BTreeMap<&'static str, Record>;

impl Stage<'_> {
    /// Which site is active, from `leeward status`.
    ///
    /// # Errors
    /// It does not say.
    pub async fn active(&self) -> Result<Site> {
        let status = self.leeward.done(&["status", "shop"], &|_| {}).await?;
        match status.data.pointer("/groups/0/active").and_then(serde_json::Value::as_str) {
            Some("east") => Ok(Site::East),
            Some("west") => Ok(Site::West),
            other => bail!("`leeward status` says that {other:?} is active"),
        }
    }

    /// Brings the group to a site, if it is not there.
    ///
    /// # Errors
    /// The move fails.
    pub async fn bring_to(&self, site: Site) -> Result<()> {
        if self.active().await? != site {
            self.leeward
                .done(&["migrate", "shop", "--yes", "--to", site.name()], &|line| self.tale.say(&format!("   {line}")))
                .await?;
        }
        guests::wait_for_records(self.lab, site, 3, WRITES).await
    }

    pub(crate) fn hear(&self) -> impl Fn(&str) + Send + Sync + '_ {
        |line| self.tale.say(&format!("   {line}"))
    }

    /// The last record that each disk has acknowledged at a site, before `until` if given.
    ///
    /// # Errors
    /// A guest never booted there, or wrote nothing.
    pub fn last(&self, site: Site, until: Option<u64>) -> Result<Last> {
        let mut last = BTreeMap::new();
        for (vm, disks) in GUESTS {
            let boot = guests::newest(self.lab, site, vm)?;
            for disk in disks {
                let record =
                    boot.last(disk, until).with_context(|| format!("{vm} at {site} has no record on {disk}"))?;
                last.insert(*disk, record);
            }
        }
        Ok(last)
    }

    /// How often each guest has booted at a site.
    ///
    /// # Errors
    /// A console cannot be read.
    pub fn boots(&self, site: Site) -> Result<Vec<usize>> {
        GUESTS.iter().map(|(vm, _)| guests::count(self.lab, site, vm)).collect()
    }

    /// What the guests found on their disks at a site when they came up, after `before` boots there. Checks that each
    /// chain is whole.
    ///
    /// # Errors
    /// A guest did not boot since.
    pub fn found(&self, site: Site, before: &[usize]) -> Result<Last> {
        let mut found = BTreeMap::new();
        for ((vm, disks), before) in GUESTS.iter().zip(before) {
            if guests::count(self.lab, site, vm)? <= *before {
                bail!("guest {vm} did not boot at {site}");
            }
            let boot = guests::newest(self.lab, site, vm)?;
            self.tale.check(
                format!("{vm} at {site} finds every chain whole"),
                boot.is_whole(disks),
                disks.iter().map(|disk| format!("{disk}: {:?}", boot.chains.get(*disk))).collect::<Vec<_>>().join("; "),
            );
            for disk in *disks {
                if let Some(record) = boot.found(disk) {
                    found.insert(*disk, record);
                }
            }
        }
        Ok(found)
    }

    /// Compares what was acknowledged with what was found: the claim of a move without loss.
    pub fn nothing_lost(&self, before: &Last, after: &Last) {
        for (disk, record) in before {
            let found = after.get(disk);
            self.tale.check(
                format!("0 records of {disk} lost"),
                found.is_some_and(|found| found.number == record.number),
                format!(
                    "acknowledged up to {}, found up to {}",
                    record.number,
                    found.map_or("nothing".to_owned(), |f| f.number.to_string())
                ),
            );
        }
    }

    /// How long no record was written: from the last one at the source to the first one at the target, in seconds.
    pub(crate) fn outage(&self, before: &Last, target: Site) -> Result<(Timestamp, f64)> {
        let mut worst = (Timestamp::UNIX_EPOCH, 0.0);
        for (vm, disks) in GUESTS {
            let boot = guests::newest(self.lab, target, vm)?;
            for disk in disks {
                let (Some(last), Some(first)) =
                    (before.get(disk), boot.records.get(*disk).and_then(|records| records.first()))
                else {
                    continue;
                };
                let seconds = first.time.saturating_sub(last.time) as f64 / 1000.0;
                if seconds > worst.1 {
                    worst = (moment(last.time), seconds);
                }
            }
        }
        Ok(worst)
    }
}

pub(crate) fn moment(millis: u64) -> Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn now_millis() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

pub(crate) fn total(last: &Last) -> u64 {
    last.values().map(|record| record.number).sum()
}

pub(crate) fn since(began: Timestamp) -> f64 {
    Timestamp::now().duration_since(began).as_secs_f64()
}

/// What a part without its own numbers ends with.
pub(crate) fn row(part: &str, what: &str, seconds: f64, verdict: leeward_model::report::Verdict) -> StoryRow {
    StoryRow {
        part: part.to_owned(),
        what: what.to_owned(),
        seconds,
        records_before: None,
        records_after: None,
        records_lost: None,
        seconds_lost: None,
        verdict,
    }
}

pub(crate) fn objective(part: &str, rpo: f64, rpo_target: Option<f64>, rto: f64) -> Objective {
    Objective {
        part: part.to_owned(),
        rpo_seconds: Some(rpo),
        rpo_target_seconds: rpo_target,
        rto_seconds: Some(rto),
        rto_target_seconds: None,
    }
}
