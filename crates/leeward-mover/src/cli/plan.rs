//! `plan`: what a sync would do.

use super::home::{Home, HomeArgs};
use super::output::Answer;
use super::request::read;
use leeward_model::mover::{Foreseen, Sync};
use leeward_mover::compare::{Here, ManifestSource};
use leeward_mover::disk::DiskFile;
use leeward_mover::peer::{Link, Remote, There};
use leeward_mover::plan::{foresee, there};
use leeward_mover::refusal::VerbError;
use leeward_mover::send::SendError;
use leeward_mover::sync::Asked;
use leeward_mover::target::Target;
use leeward_mover::{cache, config::Config};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let request: Sync = read(&args.request)?;
    let (asked, here) = (Asked::parse(&request)?, home.open()?);
    here.check_site(&request.from)?;
    let foreseen = match here.is_near(&request.to, &request.from) {
        true => at_home(&here, &request, &asked)?,
        false => at_peer(&here, &home.config()?, &request, &asked)?,
    };
    Ok(answer(&foreseen))
}

fn at_home(home: &Home, request: &Sync, asked: &Asked) -> Result<Foreseen, VerbError> {
    let free = home.points.free()?;
    if home.points.look(&asked.order)?.is_some() {
        return Ok(there(request, free));
    }
    let base = request.base.as_ref().map(|base| home.points.hold(&request.group, base)).transpose()?.flatten();
    let base = base.as_ref().map(|base| Here::new(&home.points, base));
    let base = base.as_ref().map(|base| base as &dyn ManifestSource<DiskFile>);
    foresee(&home.export, request, asked, base, free, None)
}

fn at_peer(home: &Home, config: &Config, request: &Sync, asked: &Asked) -> Result<Foreseen, VerbError> {
    let link = Link::connect(config, &request.to)?;
    let (rate, free) = (config.limits.bytes_per_second(), link.free()?);
    let remote = Remote::new(&link, &home.export, cache::top(), rate);
    let made = (&remote).look(&asked.order);
    if made.map_err(|source| SendError::Target { point: request.point.clone(), source })?.is_some() {
        return Ok(there(request, free));
    }
    let base = request.base.as_ref().map(|base| There::find(&link, &home.export, &request.group, base));
    let base = base.transpose()?.flatten();
    let base = base.as_ref().map(|base| base as &dyn ManifestSource<DiskFile>);
    foresee(&home.export, request, asked, base, free, rate)
}

fn answer(foreseen: &Foreseen) -> Answer {
    let Foreseen { there, changed_bytes, free_bytes, seconds, .. } = foreseen;
    let mut table = super::compare::lines(&foreseen.volumes);
    table.push(match there {
        true => "the point is there already".to_owned(),
        false => format!("{changed_bytes} bytes to be sent, {free_bytes} free, about {seconds} s"),
    });
    Answer { json: json!(foreseen), table }
}
