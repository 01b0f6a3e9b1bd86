//! Whether a file holds what a point's disk holds.

use super::{PresentError, Wanted};
use crate::compare::{Here, ManifestSource};
use crate::error::PointError;
use crate::layer::{Layer, Readable};
use crate::manifest::Writer;
use crate::refusal::{VerbError, text};
use crate::scan::{Change, Look, ScanError, scan};
use std::io;

/// How much of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// All of it.
    All,
    /// Not what lies at the same place as in the point, where the file system can tell. The point itself is not proven by that.
    NotShared,
}

/// How `file` differs from the point's disk, in words; it is read up to the first difference.
pub(super) fn difference<L: Layer>(
    point: &Here<'_, L>,
    wanted: &Wanted,
    file: &L::File,
    reading: Reading,
) -> Result<Option<String>, PresentError> {
    let Some(whole) = point.point().disks.get(&wanted.disk) else { return Ok(Some("is missing".to_owned())) };
    let read = |source| PointError::Files { doing: "reading", place: wanted.disk.clone(), source };
    let size = file.size().map_err(read)?;
    if size != whole.size {
        return Ok(Some(format!("has {size} bytes, not {}", whole.size)));
    }
    let older = match point.manifest(&wanted.disk) {
        Ok(older) => older,
        Err(VerbError::Point(error)) => return Err(error.into()),
        Err(error) => return Ok(Some(text(&error))),
    };
    let bad = PointError::manifest(&wanted.disk);
    let mut newer = Writer::new(io::sink(), size).map_err(&bad)?;
    let ranges = match reading {
        Reading::All => None,
        Reading::NotShared => point.may_differ(&wanted.disk, file),
    };
    let look = ranges.as_deref().map_or(Look::Data, Look::Changed);
    let scanned = scan(file, size, look, older, size, &mut newer, &mut |change| {
        Err(match change {
            Change::Write { offset, .. } => offset,
            Change::Zero { range } => range.start,
        })
    });
    match scanned {
        Ok(_) => {}
        Err(ScanError::Sink(offset)) => return Ok(Some(format!("is another from byte {offset} on"))),
        Err(ScanError::Shrunk { .. }) => return Ok(Some("became shorter while it was read".to_owned())),
        Err(ScanError::Manifest(error)) => return Err(bad(error).into()),
        Err(ScanError::Read { source, .. }) => return Err(read(source).into()),
    }
    let (_, fingerprint) = newer.finish().map_err(&bad)?;
    let same = fingerprint == whole.fingerprint;
    Ok((!same).then(|| format!("has fingerprint {fingerprint}, not {}", whole.fingerprint)))
}
