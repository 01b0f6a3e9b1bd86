//! `present`: a point's files are put where clients see them.

use super::home::HomeArgs;
use super::output::Answer;
use super::request::read;
use leeward_mover::present::{NfsClient, present};
use leeward_mover::refusal::VerbError;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let (request, home) = (read(&args.request)?, home.open()?);
    present(&home.export, &home.points, &request, &NfsClient)?;
    Ok(Answer::nothing())
}
