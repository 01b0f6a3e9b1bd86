//! What the guests say of themselves: their consoles, boot by boot.

use anyhow::{Context, Result, bail};
use leeward_lab::{Lab, Site};
use leeward_lab_guest::console::{ChainStatus, Line, parse_line};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

/// The group's namespace.
pub const NAMESPACE: &str = "shop";
/// Its VMs with the serials of their disks.
pub const GUESTS: [(&str, &[&str]); 2] = [("db", &["db-data", "db-log"]), ("web", &["web-disk"])];

/// One record that a disk acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// When, by the guest's clock: milliseconds since 1970.
    pub time: u64,
}

/// What a guest said between two boots.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    /// The site it was told it runs at.
    pub site: String,
    /// When it came up, milliseconds since 1970.
    pub time: u64,
    /// What it found on each disk before it wrote anything.
    pub chains: BTreeMap<String, ChainStatus>,
    /// What it wrote to each disk, in order.
    pub records: BTreeMap<String, Vec<Record>>,
    /// Whether it ended in order.
    pub stopped: bool,
}

impl Boot {
    /// Whether each of the disks was found whole.
    #[must_use]
    pub fn is_whole(&self, disks: &[&str]) -> bool {
        disks.iter().all(|disk| matches!(self.chains.get(*disk), Some(ChainStatus::Ok { .. })))
    }

    /// Number and time of the last record that it found on a disk when it came up.
    #[must_use]
    pub fn found(&self, disk: &str) -> Option<Record> {
        match self.chains.get(disk)? {
            ChainStatus::Ok { last, last_time, .. } => Some(Record { number: *last, time: *last_time }),
            ChainStatus::Broken { .. } => None,
        }
    }

    /// The last record on a disk that was acknowledged, before `until` if given: written in this boot, or found.
    #[must_use]
    pub fn last(&self, disk: &str, until: Option<u64>) -> Option<Record> {
        let written =
            self.records.get(disk).into_iter().flatten().rfind(|record| until.is_none_or(|until| record.time <= until));
        written.copied().or_else(|| self.found(disk))
    }
}

/// Where a guest's console is logged.
#[must_use]
pub fn console(lab: &Lab, site: Site, vm: &str) -> PathBuf {
    lab.root().place(site).join("guests").join(format!("{NAMESPACE}.{vm}.console.log"))
}

/// Everything a guest said at a site, boot by boot.
///
/// # Errors
/// The console exists and cannot be read.
pub fn boots(lab: &Lab, site: Site, vm: &str) -> Result<Vec<Boot>> {
    let path = console(lab, site, vm);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = fs_err::read(&path)?;
    let mut boots: Vec<Boot> = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines().filter_map(parse_line) {
        if let Line::Boot { site, time, .. } = &line {
            boots.push(Boot { site: site.clone(), time: *time, ..Boot::default() });
            continue;
        }
        let Some(boot) = boots.last_mut() else { continue };
        match line {
            Line::Chain { disk, status } => {
                boot.chains.insert(disk, status);
            }
            Line::Record { disk, number, time } => boot.records.entry(disk).or_default().push(Record { number, time }),
            Line::Stop { .. } => boot.stopped = true,
            Line::Boot { .. } | Line::Full { .. } | Line::Error { .. } => {}
        }
    }
    Ok(boots)
}

/// The newest boot of a guest at a site.
///
/// # Errors
/// It never booted there.
pub fn newest(lab: &Lab, site: Site, vm: &str) -> Result<Boot> {
    boots(lab, site, vm)?.pop().with_context(|| format!("guest {vm} never booted at {site}"))
}

/// How often a guest has booted at a site.
///
/// # Errors
/// As [`boots`].
pub fn count(lab: &Lab, site: Site, vm: &str) -> Result<usize> {
    Ok(boots(lab, site, vm)?.len())
}

/// Waits until every disk of every guest at the site has `more` records beyond what its newest boot has written by now.
///
/// # Errors
/// They do not come within `deadline`; what the guests said is part of the error.
pub async fn wait_for_records(lab: &Lab, site: Site, more: usize, deadline: Duration) -> Result<()> {
    wait_for_records_of(&GUESTS, lab, site, more, deadline).await
}

/// As [`wait_for_records`], for some of the guests.
///
/// # Errors
/// As there.
pub async fn wait_for_records_of(
    guests: &[(&str, &[&str])],
    lab: &Lab,
    site: Site,
    more: usize,
    deadline: Duration,
) -> Result<()> {
    let written = |vm: &str, disk: &str| -> Result<usize> {
        let boots = boots(lab, site, vm)?;
        Ok(boots.iter().map(|boot| boot.records.get(disk).map_or(0, Vec::len)).sum())
    };
    let mut wanted = Vec::new();
    for (vm, disks) in guests {
        for disk in *disks {
            wanted.push((*vm, *disk, written(vm, disk)? + more));
        }
    }
    let began = Instant::now();
    loop {
        let mut missing = Vec::new();
        for (vm, disk, count) in &wanted {
            if written(vm, disk)? < *count {
                missing.push(format!("{vm}/{disk}"));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if began.elapsed() > deadline {
            bail!(
                "no {more} new records within {} s at {site} from {}; consoles: {}",
                deadline.as_secs(),
                missing.join(", "),
                tails(lab, site)
            );
        }
        // The consoles are plain files that QEMU appends to: there is no event to wait for.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The ends of the consoles at a site, for errors.
#[must_use]
pub fn tails(lab: &Lab, site: Site) -> String {
    GUESTS
        .iter()
        .map(|(vm, _)| {
            let text = fs_err::read(console(lab, site, vm)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let tail: Vec<String> = text.unwrap_or_default().lines().rev().take(5).map(str::to_owned).collect();
            format!("\n{vm}:\n  {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n  "))
        })
        .collect()
}
