//! The real file system as a process sees it that is killed: after so many effects nothing is done any more.

use leeward_mover::disk::{Disk, DiskFile};
use leeward_mover::layer::{Hold, Identity, Kind, Layer, LayerFile, Owner, Readable};
use leeward_mover::place::Place;
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// Effects that are still to come; none behind the one at which the process died.
#[derive(Debug, Clone)]
struct Left(Rc<Cell<Option<u64>>>);

impl Left {
    fn effect(&self) -> io::Result<()> {
        let left = self.0.get().and_then(|left| left.checked_sub(1));
        self.0.set(left);
        left.map(drop).ok_or_else(|| io::Error::other("killed"))
    }

    fn dies_next(&self) -> bool {
        self.0.get() == Some(0)
    }
}

/// A folder. Its files never share blocks, on whatever file system it is.
#[derive(Debug)]
pub(super) struct Cut {
    disk: Disk,
    left: Left,
}

/// A file in it.
#[derive(Debug)]
pub(super) struct CutFile {
    file: DiskFile,
    left: Left,
}

impl Cut {
    pub(super) fn new(disk: Disk, effects: u64) -> Self {
        Self { disk, left: Left(Rc::new(Cell::new(Some(effects)))) }
    }

    fn file(&self, file: DiskFile) -> CutFile {
        CutFile { file, left: self.left.clone() }
    }
}

impl Layer for Cut {
    type File = CutFile;
    type Lock = <Disk as Layer>::Lock;

    fn open(&self, place: &Place) -> io::Result<CutFile> {
        self.disk.open(place).map(|file| self.file(file))
    }

    fn open_to_read(&self, place: &Place) -> io::Result<CutFile> {
        self.disk.open_to_read(place).map(|file| self.file(file))
    }

    fn create(&self, place: &Place) -> io::Result<CutFile> {
        self.left.effect()?;
        self.disk.create(place).map(|file| self.file(file))
    }

    fn clone_file(&self, _: &Place, _: &Place) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create_folder(&self, place: &Place) -> io::Result<()> {
        self.left.effect()?;
        self.disk.create_folder(place)
    }

    fn folder_owner(&self, place: &Place) -> io::Result<Owner> {
        self.disk.folder_owner(place)
    }

    fn set_folder_owner(&self, place: &Place, owner: Owner) -> io::Result<()> {
        self.left.effect()?;
        self.disk.set_folder_owner(place, owner)
    }

    fn link(&self, from: &Place, to: &Place) -> io::Result<()> {
        self.left.effect()?;
        self.disk.link(from, to)
    }

    fn lock(&self, folder: &Place, hold: Hold) -> io::Result<Option<Self::Lock>> {
        self.disk.lock(folder, hold)
    }

    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }

    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        self.left.effect()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        // A folder goes file by file, and may be left half there.
        for (entry, _) in self.disk.list(place).unwrap_or_default() {
            if let Ok(entry) = Place::parse(&entry) {
                self.remove(&place.join(&entry))?;
            }
        }
        self.left.effect()?;
        self.disk.remove(place)
    }

    fn list(&self, place: &Place) -> io::Result<Vec<(String, Kind)>> {
        self.disk.list(place)
    }

    fn sync_folder(&self, place: &Place) -> io::Result<()> {
        self.left.effect()?;
        self.disk.sync_folder(place)
    }
}

impl Readable for CutFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.file.next_data(from)
    }
}

impl LayerFile for CutFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.left.dies_next() {
            // It may have come half-way.
            self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
        }
        self.left.effect()?;
        self.file.write_at(offset, bytes)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.left.effect()?;
        self.file.zero(range)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.left.effect()?;
        self.file.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.left.effect()
    }

    fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }

    fn names(&self) -> io::Result<u64> {
        self.file.names()
    }

    fn owner(&self) -> io::Result<Owner> {
        self.file.owner()
    }

    fn set_owner(&self, owner: Owner) -> io::Result<()> {
        self.left.effect()?;
        self.file.set_owner(owner)
    }
}
