//! `withdraw`: a point goes.

use super::home::HomeArgs;
use super::output::Answer;
use super::request::PointArgs;
use leeward_mover::refusal::VerbError;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: PointArgs,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let of = args.of.read()?;
    home.open()?.points.withdraw(&of.group, &of.point)?;
    Ok(Answer::nothing())
}
