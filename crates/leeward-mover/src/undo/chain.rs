//! Points that have a file together: which logs lead from one to the tip, and how the next one joins.

use super::{Head, Log, gone, sync_folder};
use crate::error::PointError;
use crate::layer::{Hold, Kind, Layer, LayerFile};
use crate::paths::{Paths, name};
use crate::place::Place;
use crate::points::{GONE, PARTIAL, lock};
use leeward_model::name::PointId;
use rand::Rng;
use std::io;

/// How often a chain is looked at again that somebody changes just then.
const TRIES: usize = 1000;
/// In a group's folder: what who changes which logs there are has for its own.
const LOCK: &str = ".undo";

/// Logs, and the disks that they are of.
pub(crate) type Logs<F> = Vec<(Paths, Log<F>)>;

/// What is asked of a disk's image; none if there is none.
fn look<L: Layer, T>(
    layer: &L,
    paths: &Paths,
    ask: impl FnOnce(L::File) -> io::Result<T>,
) -> Result<Option<T>, PointError> {
    match layer.open_to_read(&paths.image) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        opened => Ok(Some(opened.and_then(ask).map_err(PointError::files("looking at", &paths.image))?)),
    }
}

/// Which file a disk's image is; none if there is none.
pub(super) fn inode<L: Layer>(layer: &L, paths: &Paths) -> Result<Option<(u64, u64)>, PointError> {
    look(layer, paths, |image| Ok(image.identity()?.inode))
}

/// The same disk in the other points of its group, those that are going among them.
fn beside<L: Layer>(layer: &L, paths: &Paths) -> Result<Vec<Paths>, PointError> {
    let Some(group) = paths.group() else { return Ok(Vec::new()) };
    let entries = layer.list(&group).map_err(PointError::files("listing", &group))?;
    let is_other =
        |entry: &str| entry != paths.point.name() && PointId::parse(entry.strip_suffix(GONE).unwrap_or(entry)).is_ok();
    let others = entries.iter().filter(|(entry, kind)| *kind == Kind::Folder && is_other(entry));
    Ok(others.map(|(entry, _)| paths.of(entry)).collect())
}

/// The folder of the point with one of these suffixes in which the disk is this very file.
fn find<L: Layer>(
    layer: &L,
    paths: &Paths,
    point: &PointId,
    suffixes: [&str; 2],
    file: (u64, u64),
) -> Result<Option<Paths>, PointError> {
    for suffix in suffixes {
        // A point that is just withdrawn goes from the first name to the second.
        let there = paths.of(&format!("{point}{suffix}"));
        if inode(layer, &there)? == Some(file) {
            return Ok(Some(there));
        }
    }
    Ok(None)
}

/// The heads of the logs from a disk on.
pub(crate) fn walk<L: Layer>(layer: &L, paths: &Paths, file: (u64, u64)) -> Result<Vec<(Paths, Head)>, PointError> {
    let mut found: Vec<(Paths, Head)> = Vec::new();
    let mut next = Some(paths.clone());
    while let Some(paths) = next.take() {
        let Some(head) = Head::load(layer, &paths)? else { break };
        if found.iter().any(|(before, _)| *before == paths) {
            return Err(PointError::Record { place: paths.undo, why: "its logs lead in a circle".to_owned() });
        }
        // One that is being made has no log.
        next = find(layer, &paths, &head.next, ["", GONE], file)?;
        found.push((paths, head));
    }
    Ok(found)
}

/// The logs from a disk on, as they are at one moment.
pub(crate) fn logs<L: Layer>(layer: &L, paths: &Paths, file: (u64, u64)) -> Result<Logs<L::File>, PointError> {
    for _ in 0..TRIES {
        let heads = walk(layer, paths, file)?;
        let mut logs = Vec::new();
        for (paths, head) in &heads {
            let log =
                Log::look(layer, paths, head).map_err(PointError::files("opening the undo log of", &paths.image))?;
            logs.extend(log.map(|log| (paths.clone(), log)));
        }
        if logs.len() == heads.len() && walk(layer, paths, file)? == heads {
            return Ok(logs);
        }
    }
    Err(paths.touched("its undo log is gone, or changes all the time".to_owned()))
}

/// Has the logs of a group for its own, or with others who change none that these change.
pub(crate) fn lock_logs<L: Layer>(layer: &L, group: &Place, hold: Hold) -> Result<L::Lock, PointError> {
    let folder = group.join(&name(LOCK));
    layer.create_folder(&folder).map_err(PointError::files("making", &folder))?;
    let lock = lock(layer, &folder, hold)?;
    lock.ok_or_else(|| PointError::Busy { what: format!("the undo logs in {group}") })
}

/// Makes that a disk has no log, unless the point behind it is there. Whether its file is free to be written over by the next one.
/// Nobody else may make a point of the group meanwhile, but other disks may be settled.
pub(crate) fn settle<L: Layer>(layer: &L, base: &Paths) -> Result<bool, PointError> {
    let Some(group) = base.group() else { return Ok(false) };
    if Head::load(layer, base)?.is_none() {
        return Ok(!has_stray(layer, base)?);
    }
    let _logs = loop {
        let logs = lock_logs(layer, &group, Hold::Shared)?;
        // The way to a point behind may lead through one that is going.
        let Some(gone) = gone::first(layer, &group)? else { break logs };
        drop(logs);
        let _logs = lock_logs(layer, &group, Hold::Alone)?;
        gone::remove(layer, &gone)?;
    };
    let Some(log) = Log::open(layer, base)? else { return Ok(true) };
    let Some(file) = inode(layer, base)? else { return Ok(false) };
    if find(layer, base, &log.head.next, ["", PARTIAL], file)?.is_some() || has_stray(layer, base)? {
        return Ok(false);
    }
    // A crash must not bring it back under its old name.
    sync_folder(layer, Some(&group))?;
    log.roll_back(layer, base)?;
    Ok(true)
}

/// Whether a whole point beside this one has its file, and no log. That is only so where a log was damaged.
fn has_stray<L: Layer>(layer: &L, paths: &Paths) -> Result<bool, PointError> {
    let Some((file, names)) = look(layer, paths, |image| Ok((image.identity()?.inode, image.names()?)))? else {
        return Ok(false);
    };
    // So it is wherever files share blocks: nobody else has this one.
    if names == 1 {
        return Ok(false);
    }
    for other in beside(layer, paths)? {
        if other.point.name().ends_with(GONE) {
            continue;
        }
        if inode(layer, &other)? == Some(file) {
            match Head::load(layer, &other) {
                Ok(None) => return Ok(true),
                // It cannot be read any more, whatever becomes of the file.
                Ok(Some(_)) | Err(PointError::Record { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(false)
}

/// Makes a disk's file that of the base's, and gives that a log. None where a file can have one name only.
pub(crate) fn join<L: Layer>(
    layer: &L,
    base: &Paths,
    disk: &Paths,
    size: u64,
) -> Result<Option<Log<L::File>>, PointError> {
    let Some(next) = disk.name() else { return Ok(None) };
    let image = layer.open_to_read(&base.image).map_err(|error| base.unopened(&base.image, error))?;
    let owner = image.owner().map_err(PointError::files("looking at", &base.image))?;
    let log = Log::create(layer, base, Head { id: rand::rng().random(), next, size, owner })?;
    match layer.link(&base.image, &disk.image) {
        Ok(()) => Ok(Some(log)),
        Err(error) if is_refused(&error) => {
            Log::<L::File>::remove(layer, base)?;
            Ok(None)
        }
        Err(source) => Err(PointError::Files { doing: "giving a second name to", place: base.image.clone(), source }),
    }
}

fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// The log that saves what is written over in a working copy that has its base's file.
pub(crate) fn joined<L: Layer>(
    layer: &L,
    base: &Paths,
    disk: &Paths,
    image: &L::File,
) -> Result<Option<Log<L::File>>, PointError> {
    let file = image.identity().map_err(PointError::files("looking at", &disk.image))?.inode;
    if inode(layer, base)? != Some(file) {
        return Ok(None);
    }
    let Some(log) = Log::open(layer, base)?.filter(|log| Some(&log.head.next) == disk.name().as_ref()) else {
        return Ok(None);
    };
    log.settle().map_err(PointError::files("putting on stable storage the undo log of", &base.image))?;
    Ok(Some(log))
}

/// The disk in a point, whole or going, whose log leads to this other one, and that is the same file.
pub(super) fn find_before<L: Layer>(
    layer: &L,
    paths: &Paths,
    next: &PointId,
    file: (u64, u64),
) -> Result<Option<Paths>, PointError> {
    for other in beside(layer, paths)? {
        let leads_here = Head::load(layer, &other)?.is_some_and(|head| head.next == *next);
        if leads_here && inode(layer, &other)? == Some(file) {
            return Ok(Some(other));
        }
    }
    Ok(None)
}
