//! `verify`: whether a point still is what it was.

use super::home::HomeArgs;
use super::output::Answer;
use super::points::lines;
use super::request::PointArgs;
use leeward_mover::answer;
use leeward_mover::refusal::VerbError;
use serde_json::json;
use std::time::SystemTime;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: PointArgs,
    /// Look at lengths, manifests and some blocks, other ones each time
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let (of, points) = (args.of.read()?, home.open()?.points);
    let found = match args.quick {
        true => points.verify_some(&of.group, &of.point, lot())?,
        false => points.verify(&of.group, &of.point)?,
    };
    let point = answer::point(&found);
    Ok(Answer { table: lines(&point), json: json!(point) })
}

/// A number that is another one each time.
fn lot() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() ^ u64::from(now.subsec_nanos()).rotate_left(32)
}
