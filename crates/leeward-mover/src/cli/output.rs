//! What a verb prints.

use clap::ValueEnum;
use leeward_model::mover::Refusal;
use serde_json::{Value, json};
use std::io::{self, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// JSON.
    Json,
}

/// What a verb found, in both forms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// For programs.
    pub(crate) json: Value,
    /// For people, line by line.
    pub(crate) table: Vec<String>,
}

impl Answer {
    /// Of a verb that has nothing to say.
    pub(crate) fn nothing() -> Self {
        Self { json: Value::Null, table: Vec::new() }
    }
}

pub(crate) fn print(output: Output, answer: Option<&Answer>, failure: Option<&Refusal>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            let value = failure.map_or_else(
                || answer.map_or(Value::Null, |answer| answer.json.clone()),
                |refusal| json!({ "error": refusal }),
            );
            writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        }
        Output::Table => {
            for line in answer.iter().flat_map(|answer| &answer.table) {
                writeln!(out, "{line}")?;
            }
        }
    }
    if let Some(refusal) = failure {
        writeln!(io::stderr(), "leeward-mover: {}", refusal.text)?;
    }
    out.flush()
}
