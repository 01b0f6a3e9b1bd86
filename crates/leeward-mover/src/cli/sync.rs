//! `sync`: a point is made.

use super::home::{Home, HomeArgs};
use super::output::Answer;
use super::points::lines;
use super::progress::Told;
use super::request::read;
use leeward_model::mover::{Sync, SyncVolume};
use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
use leeward_mover::config::Config;
use leeward_mover::peer::{Link, Remote};
use leeward_mover::refusal::VerbError;
use leeward_mover::retention::prune;
use leeward_mover::send::{Manner, Sent};
use leeward_mover::sync::{Asked, sync};
use leeward_mover::{answer, cache};
use serde_json::{Value, json};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["group", "point", "base", "site", "epoch", "volumes"])]
    request: Option<PathBuf>,
    /// Another export on this machine that gets the point, whatever the request's `to` is
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// How many whole points of the group are kept; without it, all
    #[arg(long, value_name = "NUMBER")]
    keep: Option<NonZeroU32>,
    /// How many disks are read at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = Manner::DISKS_AT_ONCE)]
    disks_at_once: NonZeroUsize,
    /// The protection group
    #[arg(long, required_unless_present = "request")]
    group: Option<GroupName>,
    /// The recovery point's name; the same when it is repeated
    #[arg(long, required_unless_present = "request")]
    point: Option<PointId>,
    /// The recovery point to start from
    #[arg(long)]
    base: Option<PointId>,
    /// The site that the volumes are of
    #[arg(long, required_unless_present = "request")]
    site: Option<SiteName>,
    /// The group's epoch
    #[arg(long, required_unless_present = "request")]
    epoch: Option<u64>,
    /// The volumes: `VOLUME=FOLDER`, the folder relative to the export
    #[arg(required_unless_present = "request", value_name = "VOLUME=FOLDER", value_parser = volume)]
    volumes: Vec<SyncVolume>,
}

fn volume(text: &str) -> Result<SyncVolume, String> {
    let (key, folder) = text.split_once('=').ok_or("a volume is VOLUME=FOLDER")?;
    Ok(SyncVolume { key: key.to_owned(), folder: folder.to_owned(), seed: None, about: Value::Null })
}

impl Args {
    /// Where the point is made.
    pub(crate) fn target(&self, home: &HomeArgs) -> Result<Home, VerbError> {
        self.to.as_deref().map_or_else(|| home.open(), Home::open)
    }

    fn read(&self) -> Result<Sync, VerbError> {
        match (&self.group, &self.point, &self.site, self.epoch) {
            (Some(group), Some(point), Some(site), Some(epoch)) => Ok(Sync {
                group: group.clone(),
                point: point.clone(),
                base: self.base.clone(),
                from: site.clone(),
                to: site.clone(),
                epoch: Epoch(epoch),
                volumes: self.volumes.clone(),
                carried: Vec::new(),
            }),
            _ => read(self.request.as_deref().unwrap_or("-".as_ref())),
        }
    }
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let request = args.read()?;
    let asked = Asked::parse(&request)?;
    let source = home.open()?;
    source.check_site(&request.from)?;
    let told = Told::new();
    let manner = Manner { disks_at_once: args.disks_at_once, watch: &told };
    let (sent, wire) = if args.to.is_some() || request.from == request.to {
        (here(&source, &args.target(home)?, args, asked, &manner)?, 0)
    } else {
        at_peer(&source, &home.config()?, &request.to, asked, &manner)?
    };
    drop(told);
    let synced = answer::synced(&sent, wire);
    Ok(Answer { table: lines(&synced.point), json: json!(synced) })
}

fn here(source: &Home, target: &Home, args: &Args, asked: Asked, manner: &Manner<'_>) -> Result<Sent, VerbError> {
    let sent = sync(&source.export, &&target.points, asked, manner)?;
    if let Some(keep) = args.keep.or(target.keep) {
        for gone in prune(&target.points, &sent.point, keep)? {
            eprintln!("point {gone} is no longer kept");
        }
    }
    Ok(sent)
}

/// The point, and the bytes that went over the link.
fn at_peer(
    source: &Home,
    config: &Config,
    site: &SiteName,
    asked: Asked,
    manner: &Manner<'_>,
) -> Result<(Sent, u64), VerbError> {
    let link = Link::connect(config, site)?;
    let remote = Remote::new(&link, &source.export, cache::top(), config.limits.bytes_per_second());
    let sent = sync(&source.export, &&remote, asked, manner)?;
    Ok((sent, link.bytes()))
}
