//! `unfence`: the export is made writable again.

use super::home::HomeArgs;
use super::output::Answer;
use super::request::PatienceArgs;
use leeward_mover::fence::{Gate, NfsTools};
use leeward_mover::refusal::VerbError;

pub(crate) fn run(args: &PatienceArgs, home: &HomeArgs) -> Result<Answer, VerbError> {
    let (patience, config) = (args.read()?, home.config()?);
    Gate::new(&config, &NfsTools::new(patience.probe_seconds))?.unfence(patience)?;
    let line = format!("{} takes writes: one succeeded", config.export.display());
    Ok(Answer { table: vec![line], ..Answer::nothing() })
}
