//! `compare`: how far volumes have moved away from a point.

use super::home::{Home, HomeArgs};
use super::output::Answer;
use super::request::read;
use leeward_model::mover::{Compare, Moved};
use leeward_mover::compare::{Here, ManifestSource, compare};
use leeward_mover::disk::DiskFile;
use leeward_mover::error::PointError;
use leeward_mover::peer::{Link, There};
use leeward_mover::refusal::VerbError;
use leeward_mover::send::SendError;
use leeward_mover::sync::folder;
use leeward_mover::volumes::walk;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

pub(crate) fn run(args: &Args, home: &HomeArgs) -> Result<Answer, VerbError> {
    let request: Compare = read(&args.request)?;
    let here = home.open()?;
    let moved = if here.is_near(&request.at, &request.at) {
        let held = here.points.existing(&request.group, &request.point)?;
        against(&here, &request, &Here::new(&here.points, &held))?
    } else {
        let link = Link::connect(&home.config()?, &request.at)?;
        let found = There::find(&link, &here.export, &request.group, &request.point)?;
        let missing = || PointError::Missing { group: request.group.clone(), point: request.point.clone() };
        against(&here, &request, &found.ok_or_else(missing)?)?
    };
    Ok(Answer { table: lines(&moved), json: json!(moved) })
}

fn against(home: &Home, request: &Compare, point: &dyn ManifestSource<DiskFile>) -> Result<Vec<Moved>, VerbError> {
    let mut moved = Vec::new();
    for (key, text) in &request.volumes {
        let folder = folder(key, text)?;
        if !point.point().volumes.contains_key(key) {
            let (group, point) = (request.group.clone(), Some(request.point.clone()));
            return Err(PointError::NotHeld { group, point, volume: key.clone() }.into());
        }
        let walked = walk(&home.export, key, &folder).map_err(SendError::from)?;
        moved.push(compare(&home.export, &walked, Some(point))?.moved);
    }
    Ok(moved)
}

/// A line for each volume.
pub(crate) fn lines(moved: &[Moved]) -> Vec<String> {
    moved.iter().map(|moved| format!("{}  {} bytes differ", moved.key, moved.changed_bytes)).collect()
}
