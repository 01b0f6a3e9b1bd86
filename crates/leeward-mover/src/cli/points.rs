//! `points`: what is there.

use super::home::HomeArgs;
use super::output::Answer;
use super::request::read;
use leeward_model::mover::{self, OfGroup};
use leeward_model::name::GroupName;
use leeward_mover::answer;
use leeward_mover::refusal::VerbError;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "group")]
    request: Option<PathBuf>,
    /// The protection group
    #[arg(long, required_unless_present = "request")]
    group: Option<GroupName>,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let of = match (&args.request, &args.group) {
        (None, Some(group)) => OfGroup { group: group.clone() },
        (request, _) => read(request.as_deref().unwrap_or(Path::new("-")))?,
    };
    let points: Vec<mover::Point> = home.open()?.points.list(&of.group)?.iter().map(answer::point).collect();
    Ok(Answer { json: json!(points), table: points.iter().flat_map(lines).collect() })
}

/// A line for each file of a point.
pub(crate) fn lines(point: &mover::Point) -> Vec<String> {
    let files = point.volumes.iter().flat_map(|volume| volume.files.iter().map(move |file| (volume, file)));
    let line = |(volume, file): (&mover::Volume, &mover::File)| {
        format!(
            "{}  {}/{}  {} bytes  {}",
            point.point,
            volume.key,
            file.name.escape_debug(),
            file.bytes,
            file.fingerprint
        )
    };
    files.map(line).collect()
}
