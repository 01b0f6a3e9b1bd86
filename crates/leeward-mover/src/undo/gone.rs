//! What becomes of a withdrawn point's logs.

use super::chain::{find_before, inode, walk};
use super::{HEAD, Head, Log, sync_folder};
use crate::block::blocks;
use crate::error::PointError;
use crate::layer::{Kind, Layer};
use crate::paths::{INNER, Paths, UNDO, name};
use crate::place::Place;
use crate::points::GONE;

/// Runs of blocks that are handed over together: each time costs two syncs.
const RUNS: usize = 4096;

/// Whether a point has logs.
pub(crate) fn has_logs<L: Layer>(layer: &L, point: &Place) -> Result<bool, PointError> {
    Ok(!disks(layer, point)?.is_empty())
}

/// Removes a point's folder that lost its name, after its logs were handed over. The logs of the group must be locked.
pub(crate) fn remove<L: Layer>(layer: &L, folder: &Place) -> Result<(), PointError> {
    // Who took its name may have been killed before that was on stable storage.
    sync_folder(layer, folder.parent().as_ref())?;
    for disk in disks(layer, folder)? {
        hand_over(layer, &Paths::new(folder, &disk))?;
    }
    layer.remove(folder).map_err(PointError::files("removing", folder))?;
    // Its name may be given again: what it had saved must not come back under that.
    sync_folder(layer, folder.parent().as_ref())
}

/// A point of the group that lost its name and has logs.
pub(super) fn first<L: Layer>(layer: &L, group: &Place) -> Result<Option<Place>, PointError> {
    for (entry, kind) in entries(layer, group)? {
        let folder = group.join(&entry);
        if kind == Kind::Folder && entry.as_str().ends_with(GONE) && has_logs(layer, &folder)? {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// The disks of a point that have a log. By the logs alone: the record goes before them.
fn disks<L: Layer>(layer: &L, point: &Place) -> Result<Vec<Place>, PointError> {
    let mut found = Vec::new();
    let top = point.join(&name(UNDO));
    for (volume, kind) in entries(layer, &top)? {
        if kind == Kind::Folder {
            enter(layer, &top.join(&volume), &volume, &mut found)?;
        }
    }
    Ok(found)
}

fn enter<L: Layer>(layer: &L, folder: &Place, above: &Place, found: &mut Vec<Place>) -> Result<(), PointError> {
    for (entry, kind) in entries(layer, folder)? {
        let (suffix, is_folder) = if kind == Kind::Folder { (INNER, true) } else { (HEAD, false) };
        let named = entry.as_str().strip_suffix(suffix).and_then(|named| Place::parse(named).ok());
        let Some(named) = named else { continue };
        let disk = above.join(&named);
        if is_folder {
            enter(layer, &folder.join(&named.with_suffix(suffix)), &disk, found)?;
        } else {
            found.push(disk);
        }
    }
    Ok(())
}

/// What is in a folder. A name that is longer than any of ours is not ours.
fn entries<L: Layer>(layer: &L, folder: &Place) -> Result<Vec<(Place, Kind)>, PointError> {
    let listed = layer.list(folder).map_err(PointError::files("listing", folder))?;
    Ok(listed.into_iter().filter_map(|(entry, kind)| Some((Place::parse(&entry).ok()?, kind))).collect())
}

/// Gives the blocks that a log has saved to the log of the point before, which then leads past it.
fn hand_over<L: Layer>(layer: &L, gone: &Paths) -> Result<(), PointError> {
    let (Some(head), Some(file)) = (Head::load(layer, gone)?, inode(layer, gone)?) else { return Ok(()) };
    let Some(point) = gone.name() else { return Ok(()) };
    // A circle has no point that the blocks could go to.
    walk(layer, gone, file)?;
    while let Some(before) = find_before(layer, gone, &point, file)? {
        if before.point.name().ends_with(GONE) {
            // It goes too, and may have gone in part.
            remove(layer, &before.point)?;
            continue;
        }
        let files = |doing| PointError::files(doing, &before.image);
        let (Some(from), Some(to)) = (Log::open(layer, gone)?, Log::open(layer, &before)?) else { return Ok(()) };
        let mut runs = Vec::new();
        let saved = from.saved(0..blocks(head.size), &mut |run| {
            runs.push(run);
            if runs.len() < RUNS { Ok(()) } else { to.protect(&from.bytes, &std::mem::take(&mut runs)) }
        });
        let saved = saved.and_then(|()| to.protect(&from.bytes, &runs)).and_then(|()| to.settle());
        saved.map_err(files("handing over old blocks of"))?;
        Head { next: head.next.clone(), ..to.head }.save(layer, &before)?;
    }
    // If it was done by one who was killed, that need not be on stable storage.
    match find_before(layer, gone, &head.next, file)? {
        Some(before) => sync_folder(layer, before.undo.parent().as_ref()),
        None => Ok(()),
    }
}
