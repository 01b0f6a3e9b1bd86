//! Whether clients of the export can write: a write over NFS is tried.
//!
//! Laws: a write counts if its word has arrived in the export's folder, so it cannot have gone to another export. A refusal counts
//! if it is the server's own word for a read-only file system, and if what a client reads there is in the export's folder; any
//! other failure proves nothing.

use super::FenceError;
use crate::disk::{Disk, DiskFile};
use crate::layer::{Kind, Layer, LayerFile, Owner, Stream};
use crate::paths::name;
use crate::place::Place;
use crate::sync::OWN;
use jiff::Timestamp;
use leeward_model::mover::Access;
use std::io::{self, Read, Write};

/// A probe that was cut off leaves its word behind. Seconds after which it is removed.
const STALE: i64 = 600;
/// The refusal of a read-only file system, as libnfs calls it in NFSv3 and NFSv4.
const READ_ONLY: [&str; 2] = ["NFS3ERR_ROFS", "NFS4ERR_ROFS"];

/// Why a file cannot be left in the export on this machine either.
const NO_ROOM: [io::ErrorKind; 3] =
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];

/// A client of the NFS server.
pub trait Client {
    /// Writes a new file.
    ///
    /// # Errors
    /// What the server, or the tool, said.
    fn write(&self, url: &str, version: u8, word: &str) -> Result<(), String>;

    /// Reads a file.
    ///
    /// # Errors
    /// What the server, or the tool, said.
    fn read(&self, url: &str, version: u8) -> Result<Vec<u8>, String>;
}

/// What a probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) access: Access,
    /// What the server, or the tool, said.
    pub(super) answer: String,
}

/// Tries to write a file into `.leeward/probe` in the export through the server.
pub(super) fn probe(export: &Disk, site: &str, url: &str, client: &dyn Client) -> Result<Probed, FenceError> {
    let folder = folder(export)?;
    clear(export, &folder);
    // A new name each time: libnfs does not write to a file that is there.
    let word = format!("{site}-{}", Timestamp::now().as_nanosecond());
    let place = folder.join(&name(&word));
    let url = format!("{url}/{folder}/{word}");
    let found = look(export, &place, &url, &word, client);
    // What stays is cleared away later.
    let _ = export.remove(&place);
    found
}

fn look(export: &Disk, place: &Place, url: &str, word: &str, client: &dyn Client) -> Result<Probed, FenceError> {
    let unknown = |answer| Ok(Probed { access: Access::Unknown, answer });
    let mut answers = Vec::new();
    // A server that speaks the other version only does not even mount.
    for version in [3, 4] {
        match client.write(url, version, word) {
            Ok(()) if holds(export, place, word) => {
                return Ok(Probed { access: Access::Rw, answer: "a write succeeded".to_owned() });
            }
            Ok(()) => {
                return unknown(format!(
                    "a write to {url} succeeded, but not in the export's folder: another one is exported"
                ));
            }
            Err(said) => {
                let read_only = READ_ONLY.iter().any(|refusal| said.contains(refusal));
                answers.push(format!("NFSv{version}: {said}"));
                if !read_only {
                    continue;
                }
                return refused(export, place, word, answers.join(" "), || client.read(url, version));
            }
        }
    }
    unknown(answers.join(" "))
}

/// What a refusal of a read-only file system is worth: another export may be read-only, and not ours.
fn refused(
    export: &Disk,
    place: &Place,
    word: &str,
    answer: String,
    read: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Probed, FenceError> {
    match leave(export, place, word) {
        Ok(()) => {}
        // Where nothing can be written at all the refusal has to do alone.
        Err(error) if NO_ROOM.contains(&error.kind()) => return Ok(Probed { access: Access::Ro, answer }),
        Err(error) => return Err(files("writing", place)(error)),
    }
    let but = match read() {
        Ok(read) if read == word.as_bytes() => return Ok(Probed { access: Access::Ro, answer }),
        Ok(_) => "what a client reads there is not in the export's folder".to_owned(),
        Err(said) => format!("whether it is the export's folder that is read-only cannot be told: {said}"),
    };
    Ok(Probed { access: Access::Unknown, answer: format!("{answer}; but {but}") })
}

/// Makes the folder for probes. They are written as clients write, and the export may take root's rights away.
fn folder(export: &Disk) -> Result<Place, FenceError> {
    let own = name(OWN);
    let probe = own.join(&name("probe"));
    // Nobody but root may see what else is in ours.
    for (folder, mode) in [(&own, 0o711), (&probe, 0o777)] {
        export.create_folder(folder).map_err(files("making", folder))?;
        let owner = export.folder_owner(folder).map_err(files("reading", folder))?;
        export.set_folder_owner(folder, Owner { mode, ..owner }).map_err(files("changing", folder))?;
    }
    Ok(probe)
}

/// Removes what probes left that were cut off. Their names end with the moment they were made. What cannot be removed stays:
/// clients may have left anything there, and it keeps nobody from fencing.
fn clear(export: &Disk, folder: &Place) {
    let oldest = Timestamp::now().as_nanosecond() - i128::from(STALE) * 1_000_000_000;
    for (entry, kind) in export.list(folder).unwrap_or_default() {
        let made: Option<i128> = entry.rsplit('-').next().and_then(|made| made.parse().ok());
        if kind == Kind::File && made.is_none_or(|made| made < oldest) {
            let _ = Place::parse(&entry).map(|entry| export.remove(&folder.join(&entry)));
        }
    }
}

fn holds(export: &Disk, place: &Place, word: &str) -> bool {
    let mut held = Vec::new();
    let longest = word.len() as u64 + 1;
    let read = export.open_to_read(place).and_then(|file| Stream::new(file, 0).take(longest).read_to_end(&mut held));
    read.is_ok() && held == word.as_bytes()
}

/// Puts the word where a client of the server must find it.
fn leave(export: &Disk, place: &Place, word: &str) -> io::Result<()> {
    let file: DiskFile = export.create(place)?;
    let owner = file.owner()?;
    file.set_owner(Owner { mode: 0o644, ..owner })?;
    Stream::new(file, 0).write_all(word.as_bytes())
}

fn files<'a>(doing: &'static str, place: &'a Place) -> impl Fn(io::Error) -> FenceError + 'a {
    move |source| FenceError::Files { doing, place: place.clone(), source }
}
