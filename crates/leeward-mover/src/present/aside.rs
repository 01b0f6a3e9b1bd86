//! Keeps what is about to be replaced: `.leeward/given-up/<point>/<volume>/<file>`, older ones with `.~1~`, `.~2~`, … behind.

use super::{PresentError, Presenting, Wanted};
use crate::duplicate::duplicate;
use crate::layer::{Kind, Layer, LayerFile, Readable, read_exact_at};
use crate::place::Place;
use std::io;

/// Bytes that two files are compared by.
const STEP: u64 = 1 << 20;
/// What is being kept, until it has its name.
const NEW: &str = ".leeward-keep";

/// Keeps the file that clients see now, unless the newest one kept is the same.
pub(super) fn keep<L: Layer>(work: &Presenting<'_, L>, file: &Wanted) -> Result<(), PresentError> {
    let (live, kept) = (work.folder.join(&file.name), work.aside.join(&file.name));
    if is_same(work, &live, &kept)? {
        return Ok(());
    }
    work.make_folders(&kept, Some(&work.aside))?;
    let folder = kept.parent().unwrap_or_else(|| work.aside.clone());
    let new = work.aside.with_suffix(NEW);
    work.remove(&new)?;
    duplicate(work.export, &live, &new)?;
    let opened = work.export.open(&new).map_err(work.files("opening", &new))?;
    opened.sync().map_err(work.files("putting on stable storage", &new))?;
    if work.export.open_to_read(&kept).is_ok() {
        let older = older(work, &folder, &kept)?;
        work.export.rename(&kept, &older).map_err(work.files("numbering", &kept))?;
    }
    work.export.rename(&new, &kept).map_err(work.files("keeping aside", &kept))?;
    work.sync_folder(&folder)
}

/// The name of the next one that is no longer the newest.
fn older<L: Layer>(work: &Presenting<'_, L>, folder: &Place, kept: &Place) -> Result<Place, PresentError> {
    let entries = work.export.list(folder).map_err(work.files("listing", folder))?;
    let number = |name: &str| -> Option<u64> {
        name.strip_prefix(kept.name())?.strip_prefix(".~")?.strip_suffix('~')?.parse().ok()
    };
    let files = entries.iter().filter(|(_, kind)| *kind == Kind::File);
    let last = files.filter_map(|(name, _)| number(name)).max().unwrap_or(0);
    Ok(kept.with_suffix(&format!(".~{}~", last.saturating_add(1))))
}

fn is_same<L: Layer>(work: &Presenting<'_, L>, live: &Place, kept: &Place) -> Result<bool, PresentError> {
    let kept_file = match work.export.open_to_read(kept) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        opened => opened.map_err(work.files("opening", kept))?,
    };
    let live_file = work.export.open_to_read(live).map_err(work.files("opening", live))?;
    let size = live_file.size().map_err(work.files("measuring", live))?;
    if kept_file.size().map_err(work.files("measuring", kept))? != size {
        return Ok(false);
    }
    let mut at = 0;
    while at < size {
        let length = usize::try_from(STEP.min(size - at)).unwrap_or_default();
        let (mut one, mut other) = (vec![0; length], vec![0; length]);
        read_exact_at(&live_file, at, &mut one).map_err(work.files("reading", live))?;
        read_exact_at(&kept_file, at, &mut other).map_err(work.files("reading", kept))?;
        if one != other {
            return Ok(false);
        }
        at += STEP;
    }
    Ok(true)
}
