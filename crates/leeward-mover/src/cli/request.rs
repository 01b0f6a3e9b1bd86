//! Requests as programs make them: one JSON value.

use clap::Args;
use leeward_model::mover::Patience;
use leeward_model::name::{GroupName, PointId};
use leeward_mover::refusal::VerbError;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of the longest request that is read: a thousand volumes are some hundred KiB.
const LONGEST: u64 = 64 << 20;

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, VerbError> {
    let machine = |source| VerbError::Machine { doing: "reading the request", path: path.to_owned(), source };
    let from: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(machine)?),
    };
    let mut bytes = Vec::new();
    from.take(LONGEST).read_to_end(&mut bytes).map_err(machine)?;
    serde_json::from_slice(&bytes).map_err(|source| VerbError::Unreadable { path: path.to_owned(), source })
}

/// A group and a point, by flags or as a request.
#[derive(Debug, Args)]
pub(crate) struct PointArgs {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["group", "point"])]
    request: Option<PathBuf>,
    /// The protection group
    #[arg(long, required_unless_present = "request")]
    group: Option<GroupName>,
    /// The recovery point
    #[arg(required_unless_present = "request")]
    point: Option<PointId>,
}

impl PointArgs {
    pub(crate) fn read(&self) -> Result<leeward_model::mover::OfPoint, VerbError> {
        match (&self.request, &self.group, &self.point) {
            (None, Some(group), Some(point)) => {
                Ok(leeward_model::mover::OfPoint { group: group.clone(), point: point.clone() })
            }
            (request, ..) => read(request.as_deref().unwrap_or(Path::new("-"))),
        }
    }
}

/// How long a change of the export's access may take, by a flag or as a request.
#[derive(Debug, Args)]
pub(crate) struct PatienceArgs {
    /// The request as JSON: a file, or `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    request: Option<PathBuf>,
    /// How long the NFS server may take to follow [default: 10]
    #[arg(long)]
    seconds: Option<u32>,
}

impl PatienceArgs {
    pub(crate) fn read(&self) -> Result<Patience, VerbError> {
        match (&self.request, self.seconds) {
            (Some(request), _) => read(request),
            (None, Some(seconds)) => Ok(Patience { seconds, ..Patience::default() }),
            (None, None) => Ok(Patience::default()),
        }
    }
}
