//! `status`: how the site's storage stands.

use super::home::{Home, HomeArgs};
use super::output::Answer;
use super::request::read;
use leeward_model::mover::{Access, Look, Newest, Standing};
use leeward_mover::error::PointError;
use leeward_mover::fence::{FenceError, Gate, NfsTools};
use leeward_mover::refusal::VerbError;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let by_hand = Look { newest: true, ..Look::default() };
    let look = args.request.as_deref().map_or(Ok(by_hand), read)?;
    let config = home.config()?;
    let here = Home::open(&config.export)?;
    let (access, answer) = match Gate::new(&config, &NfsTools::new(look.probe_seconds)) {
        Ok(gate) => gate.access()?,
        // What else there is to say is worth it.
        Err(error @ FenceError::NoServer) => (Access::Unknown, error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let newest = if look.newest { newest(&here)? } else { Vec::new() };
    let standing = Standing { access, answer, free_bytes: here.points.free()?, newest };
    Ok(Answer { table: lines(&standing), json: json!(standing) })
}

fn newest(home: &Home) -> Result<Vec<Newest>, PointError> {
    let mut found = Vec::new();
    for group in home.points.groups()? {
        let points = home.points.list(&group)?;
        found.extend(points.into_iter().max_by_key(|point| point.number).map(|point| Newest {
            group: point.group,
            point: point.point,
            epoch: point.epoch,
        }));
    }
    Ok(found)
}

fn lines(standing: &Standing) -> Vec<String> {
    let Standing { access, answer, free_bytes, newest } = standing;
    let access = match access {
        Access::Rw => "clients can write",
        Access::Ro => "read-only for clients",
        Access::Unknown => "whether clients can write is not known",
    };
    let mut lines = vec![format!("{access}: {answer}"), format!("{free_bytes} bytes free")];
    lines.extend(newest.iter().map(|newest| format!("{}  {}  epoch {}", newest.group, newest.point, newest.epoch)));
    lines
}
