//! `fence`: the export is made read-only for its clients.

use super::home::HomeArgs;
use super::output::Answer;
use super::request::PatienceArgs;
use leeward_mover::fence::{Gate, NfsTools};
use leeward_mover::refusal::VerbError;
use serde_json::json;

pub(crate) fn run(args: &PatienceArgs, home: &HomeArgs) -> Result<Answer, VerbError> {
    let (patience, config) = (args.read()?, home.config()?);
    let fenced = Gate::new(&config, &NfsTools::new(patience.probe_seconds))?.fence(patience)?;
    let line =
        format!("{} is read-only for its clients: {} ({})", config.export.display(), fenced.refused_by, fenced.at);
    Ok(Answer { json: json!(fenced), table: vec![line] })
}
