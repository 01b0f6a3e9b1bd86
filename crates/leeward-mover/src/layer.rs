//! The file system as the mover uses it, so that a test can put one in its place that forgets what was not synced.

use crate::extents::Extent;
use crate::place::Place;
use std::io;
use std::ops::Range;

/// What a folder's entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else; never followed, never opened.
    Other,
}

/// How a folder is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nobody else has it.
    Alone,
    /// Others may have it like this too.
    Shared,
}

/// A folder tree. No path leads out of it, symbolic links are not followed.
///
/// Nothing is on stable storage before it was synced: bytes by [`LayerFile::sync`], names by [`Layer::sync_folder`].
pub trait Layer {
    /// An open file.
    type File: LayerFile;
    /// What is held as long as it lives: see [`Layer::lock`].
    type Lock: std::fmt::Debug;

    /// Opens a regular file for reading and writing, or only for reading where the file system is read-only.
    ///
    /// # Errors
    /// The file system; `NotFound`; `InvalidInput` for what is no regular file.
    fn open(&self, place: &Place) -> io::Result<Self::File>;
    /// Opens a regular file for reading alone.
    ///
    /// # Errors
    /// The file system; `NotFound`; `InvalidInput` for what is no regular file.
    fn open_to_read(&self, place: &Place) -> io::Result<Self::File>;
    /// Makes a new, empty file.
    ///
    /// # Errors
    /// The file system; `AlreadyExists`.
    fn create(&self, place: &Place) -> io::Result<Self::File>;
    /// Makes `to`, a new file with the bytes of `from`, without copying them.
    ///
    /// # Errors
    /// The file system; `Unsupported` where it shares no blocks.
    fn clone_file(&self, from: &Place, to: &Place) -> io::Result<()>;
    /// Makes a folder; fine if it is there.
    ///
    /// # Errors
    /// The file system.
    fn create_folder(&self, place: &Place) -> io::Result<()>;
    /// Whose a folder is.
    ///
    /// # Errors
    /// The file system; `NotFound`; `NotADirectory`.
    fn folder_owner(&self, place: &Place) -> io::Result<Owner>;
    /// Gives a folder, not what is in it, to somebody.
    ///
    /// # Errors
    /// The file system.
    fn set_folder_owner(&self, place: &Place, owner: Owner) -> io::Result<()>;
    /// Makes `to`, a second name of the file `from`.
    ///
    /// # Errors
    /// The file system; `AlreadyExists`; `Unsupported`, `PermissionDenied`, `TooManyLinks` or `CrossesDevices` where that cannot be.
    fn link(&self, from: &Place, to: &Place) -> io::Result<()>;
    /// Takes a folder for one's own ([`Hold::Alone`]) or together with others, against all who ask for the same; none if
    /// somebody else has it.
    ///
    /// # Errors
    /// The file system; `NotFound`.
    fn lock(&self, folder: &Place, hold: Hold) -> io::Result<Option<Self::Lock>>;
    /// Bytes that can still be written.
    ///
    /// # Errors
    /// The file system.
    fn free(&self) -> io::Result<u64>;
    /// Gives a file or folder another name; what had that name before must be a file or an empty folder, and is gone.
    ///
    /// # Errors
    /// The file system.
    fn rename(&self, from: &Place, to: &Place) -> io::Result<()>;
    /// Removes a file, or a folder with all that is in it; fine if it is not there.
    ///
    /// # Errors
    /// The file system.
    fn remove(&self, place: &Place) -> io::Result<()>;
    /// The entries of a folder, by name; nothing if it is not there.
    ///
    /// # Errors
    /// The file system; a name that is not UTF-8.
    fn list(&self, place: &Place) -> io::Result<Vec<(String, Kind)>>;
    /// Puts a folder's names on stable storage.
    ///
    /// # Errors
    /// The file system.
    fn sync_folder(&self, place: &Place) -> io::Result<()>;
    /// Puts the bytes of files and the names in folders on stable storage, in any order.
    ///
    /// # Errors
    /// The file system; `NotFound`.
    fn sync_all(&self, files: &[Place], folders: &[Place]) -> io::Result<()> {
        files.iter().try_for_each(|file| self.open_to_read(file)?.sync())?;
        folders.iter().try_for_each(|folder| self.sync_folder(folder))
    }
}

/// What can be read: an open file, or what stands for one.
pub trait Readable {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The file system.
    fn size(&self) -> io::Result<u64>;
    /// Reads from `offset`; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// The file system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// The next range at or behind `from` that may hold something else than zeros.
    ///
    /// # Errors
    /// The file system.
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>>;
}

/// An open file.
pub trait LayerFile: Readable {
    /// Writes all of `bytes`; the file grows if it must.
    ///
    /// # Errors
    /// The file system.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Bytes that its content takes up, holes not counted; never more than its length, in whole blocks.
    ///
    /// # Errors
    /// The file system.
    fn allocated(&self) -> io::Result<u64>;
    /// Makes a range inside the file zero, as a hole where that is possible.
    ///
    /// # Errors
    /// The file system.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;
    /// Cuts the file, or lets it grow by a hole.
    ///
    /// # Errors
    /// The file system.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Puts its bytes and its length on stable storage.
    ///
    /// # Errors
    /// The file system.
    fn sync(&self) -> io::Result<()>;
    /// Begins to put these bytes on stable storage and does not wait, so that a later sync has less to do. Promises nothing.
    fn write_behind(&self, range: Range<u64>) {
        let _nothing_to_gain = range;
    }
    /// Where its bytes lie, in order; none if that is not told.
    ///
    /// # Errors
    /// The file system.
    fn extents(&self) -> io::Result<Option<Vec<Extent>>> {
        Ok(None)
    }
    /// What changes if anybody writes the file: see [`Identity`].
    ///
    /// # Errors
    /// The file system.
    fn identity(&self) -> io::Result<Identity>;
    /// How many names lead to it.
    ///
    /// # Errors
    /// The file system.
    fn names(&self) -> io::Result<u64>;
    /// Whose it is and what they may do.
    ///
    /// # Errors
    /// The file system.
    fn owner(&self) -> io::Result<Owner>;
    /// Gives it to somebody.
    ///
    /// # Errors
    /// The file system.
    fn set_owner(&self, owner: Owner) -> io::Result<()>;
}

/// Whose a file is: QEMU runs as a user of its own, and opens its disk as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Which file it is and when it was last changed. Two that are equal before and after a reading are why the reading is of one
/// moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Bytes.
    pub size: u64,
    /// File system and inode number.
    pub inode: (u64, u64),
    /// Last change of its bytes: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Last change of anything of it.
    pub changed: (i64, u32),
}

/// Reads as many of `buffer.len()` bytes as there are. How many that is.
///
/// # Errors
/// The file system.
pub fn read_up_to(file: &impl Readable, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(offset + done as u64, &mut buffer[done..])? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

/// Reads exactly `buffer.len()` bytes.
///
/// # Errors
/// The file system; `UnexpectedEof` if the file ends before.
pub fn read_exact_at(file: &impl Readable, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    if read_up_to(file, offset, buffer)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// An open file as a stream, from a place on.
#[derive(Debug)]
pub struct Stream<F> {
    file: F,
    at: u64,
}

impl<F: LayerFile> Stream<F> {
    /// The file from `at` on.
    pub fn new(file: F, at: u64) -> Self {
        Self { file, at }
    }

    /// The file again.
    pub fn into_file(self) -> F {
        self.file
    }
}

impl<F: LayerFile> io::Read for Stream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<F: LayerFile> io::Write for Stream<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
