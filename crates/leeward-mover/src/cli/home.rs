//! Where a verb works: the export of this machine's site.

use clap::Args;
use leeward_model::name::SiteName;
use leeward_mover::config::Config;
use leeward_mover::disk::Disk;
use leeward_mover::place::Place;
use leeward_mover::points::Points;
use leeward_mover::refusal::VerbError;
use leeward_mover::send::SendError;
use leeward_mover::serve::POINTS;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// The kernel's name for this start of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Args)]
pub(crate) struct HomeArgs {
    /// The file server's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/leeward/mover.yaml", global = true)]
    config: PathBuf,
    /// The export's directory on this machine, instead of a configuration
    #[arg(long, value_name = "DIR", global = true)]
    export: Option<PathBuf>,
}

impl HomeArgs {
    pub(crate) fn open(&self) -> Result<Home, VerbError> {
        if let Some(export) = &self.export {
            return Home::open(export);
        }
        let Config { site, export, keep, .. } = self.config()?;
        Ok(Home { site: Some(site), keep, ..Home::open(&export)? })
    }

    /// The configuration, for what is done with peers.
    pub(crate) fn config(&self) -> Result<Config, VerbError> {
        Ok(Config::read(&self.config)?)
    }
}

/// An export of this machine.
pub(crate) struct Home {
    /// The site it is of, if that is known.
    pub(crate) site: Option<SiteName>,
    /// How many whole points of a group are kept, if the mover has to see to that.
    pub(crate) keep: Option<NonZeroU32>,
    /// All of it.
    pub(crate) export: Disk,
    /// Its points.
    pub(crate) points: Points<Disk>,
}

impl Home {
    pub(crate) fn open(export: &Path) -> Result<Self, VerbError> {
        let machine = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| VerbError::Machine { doing, path, source }
        };
        let open = || Disk::open_folder(export).map_err(machine("opening the export", export));
        let boot = std::fs::read_to_string(BOOT).map_err(machine("reading", Path::new(BOOT)))?;
        let top = Place::parse(POINTS).unwrap_or_else(|error| unreachable!("{error}"));
        let points = Points::new(open()?, top, boot.trim().to_owned());
        Ok(Self { site: None, keep: None, export: open()?, points })
    }

    /// Whether the site that is to be read is this one.
    pub(crate) fn check_site(&self, from: &SiteName) -> Result<(), SendError> {
        match &self.site {
            Some(site) if site != from => {
                Err(SendError::Request { what: format!("it reads site {from}, and this is site {site}'s mover") })
            }
            _ => Ok(()),
        }
    }

    /// Whether points of site `to` are at this machine, whose site is `from` if nothing else is known.
    pub(crate) fn is_near(&self, to: &SiteName, from: &SiteName) -> bool {
        self.site.as_ref().unwrap_or(from) == to
    }
}
