//! The real file system under a folder.

use crate::crew::{Stop, work_off};
use crate::extents::Extent;
use crate::fiemap;
use crate::layer::{Hold, Identity, Kind, Layer, LayerFile, Owner, Readable};
use crate::place::Place;
use rustix::fs::{
    self, Advice, AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, SeekFrom, Stat,
};
use rustix::io::Errno;
use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The kernel resolves every path inside the folder, and follows no link: openat2(2).
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
/// Read, write, execute: a disk image needs no other bits, and set-user-id is not taken over from anybody.
const PERMISSIONS: u32 = 0o777;
/// The same, and those two that concern names in the folder and give nobody a right.
const FOLDER_PERMISSIONS: u32 = 0o3777;
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);
/// Bytes of the longest hole that is punched in one call: some servers do not finish longer ones and say so by no error.
const HOLE: u64 = 64 << 20;
/// Bytes of what stat(2) counts in `st_blocks`.
const STAT_BLOCK: u64 = 512;
/// Bytes of a block of XFS and ext4 as they are made by default.
const PAGE: u64 = 4096;
/// Bytes of zeros that are written at a time where no hole can be punched.
const ZEROS: usize = 64 << 10;

/// Files that are put on stable storage at the same time: the file system then writes its log, and the disk its cache, once for
/// several.
const SYNCS: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// A folder of the real file system.
#[derive(Debug)]
pub struct Disk {
    top: OwnedFd,
}

/// An open file in it.
#[derive(Debug)]
pub struct DiskFile {
    fd: OwnedFd,
}

impl Disk {
    /// The folder at `path`. Links on the way to it are followed, below it none is.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn open_folder(path: &Path) -> io::Result<Self> {
        let top = fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { top })
    }

    fn open_at(&self, place: &Place, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        fs::openat2(&self.top, place.as_str(), flags | OFlags::CLOEXEC, mode, INSIDE)
    }

    /// The folder that `place` is in, open, and its name there.
    fn parent<'a>(&self, place: &'a Place) -> rustix::io::Result<(OwnedFd, &'a str)> {
        let parent = match place.parent() {
            Some(parent) => self.open_at(&parent, OFlags::DIRECTORY, Mode::empty())?,
            None => fs::openat(&self.top, c".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
        };
        Ok((parent, place.name()))
    }

    fn regular(fd: OwnedFd) -> io::Result<DiskFile> {
        if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) == FileType::RegularFile {
            return Ok(DiskFile { fd });
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

impl Layer for Disk {
    type File = DiskFile;
    type Lock = OwnedFd;

    fn open(&self, place: &Place) -> io::Result<DiskFile> {
        // Without NONBLOCK the opening of a named pipe would wait for a writer.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.open_at(place, flags | OFlags::RDWR, Mode::empty()) {
            Ok(fd) => Self::regular(fd),
            Err(Errno::ROFS | Errno::ACCESS | Errno::TXTBSY) => {
                Self::regular(self.open_at(place, flags | OFlags::RDONLY, Mode::empty())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn open_to_read(&self, place: &Place) -> io::Result<DiskFile> {
        Self::regular(self.open_at(place, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?)
    }

    fn create(&self, place: &Place) -> io::Result<DiskFile> {
        let fd = self.open_at(place, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, FILE_MODE)?;
        Ok(DiskFile { fd })
    }

    fn clone_file(&self, from: &Place, to: &Place) -> io::Result<()> {
        let from = self.open_to_read(from)?;
        let made = self.create(to)?;
        if let Err(error) = fs::ioctl_ficlone(&made.fd, &from.fd) {
            self.remove(to)?;
            return Err(match error {
                Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS => {
                    io::ErrorKind::Unsupported.into()
                }
                error => error.into(),
            });
        }
        Ok(())
    }

    fn create_folder(&self, place: &Place) -> io::Result<()> {
        let (parent, name) = self.parent(place)?;
        match fs::mkdirat(parent, name, FOLDER_MODE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                self.open_at(place, OFlags::DIRECTORY, Mode::empty())?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn folder_owner(&self, place: &Place) -> io::Result<Owner> {
        let folder = self.open_at(place, OFlags::DIRECTORY, Mode::empty())?;
        Ok(owner(&fs::fstat(folder)?, FOLDER_PERMISSIONS))
    }

    fn set_folder_owner(&self, place: &Place, owner: Owner) -> io::Result<()> {
        give(&self.open_at(place, OFlags::DIRECTORY, Mode::empty())?, owner, FOLDER_PERMISSIONS)
    }

    fn link(&self, from: &Place, to: &Place) -> io::Result<()> {
        let ((from, old), (to, new)) = (self.parent(from)?, self.parent(to)?);
        Ok(fs::linkat(from, old, to, new, AtFlags::empty())?)
    }

    fn lock(&self, folder: &Place, hold: Hold) -> io::Result<Option<OwnedFd>> {
        let folder = self.open_at(folder, OFlags::DIRECTORY, Mode::empty())?;
        let how = match hold {
            Hold::Alone => FlockOperation::NonBlockingLockExclusive,
            Hold::Shared => FlockOperation::NonBlockingLockShared,
        };
        match rustix::io::retry_on_intr(|| fs::flock(&folder, how)) {
            Ok(()) => Ok(Some(folder)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn free(&self) -> io::Result<u64> {
        let found = fs::fstatvfs(&self.top)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        let ((from, old), (to, new)) = (self.parent(from)?, self.parent(to)?);
        Ok(fs::renameat(from, old, to, new)?)
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        match self.parent(place) {
            Ok((parent, name)) => remove_in(&parent, name),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self, place: &Place) -> io::Result<Vec<(String, Kind)>> {
        match self.open_at(place, OFlags::DIRECTORY, Mode::empty()) {
            Ok(folder) => entries(&folder),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_folder(&self, place: &Place) -> io::Result<()> {
        Ok(fs::fsync(self.open_at(place, OFlags::DIRECTORY, Mode::empty())?)?)
    }

    fn sync_all(&self, files: &[Place], folders: &[Place]) -> io::Result<()> {
        let files = files.iter().map(|file| (file, OFlags::NONBLOCK | OFlags::NOCTTY));
        let folders = folders.iter().map(|folder| (folder, OFlags::DIRECTORY));
        let jobs = files.chain(folders).map(|job| (0, job)).collect();
        let sync = |(place, flags)| Ok::<_, io::Error>(fs::fsync(self.open_at(place, flags, Mode::empty())?)?);
        work_off(jobs, SYNCS, &Stop::default(), sync).map(drop)
    }
}

fn owner(stat: &Stat, permissions: u32) -> Owner {
    Owner { user: stat.st_uid, group: stat.st_gid, mode: stat.st_mode & permissions }
}

fn give(fd: &OwnedFd, wanted: Owner, permissions: u32) -> io::Result<()> {
    let wanted = Owner { mode: wanted.mode & permissions, ..wanted };
    if owner(&fs::fstat(fd)?, permissions) == wanted {
        return Ok(());
    }
    // The mode comes second: a change of owner takes some of its bits away.
    fs::fchown(fd, Some(fs::Uid::from_raw(wanted.user)), Some(fs::Gid::from_raw(wanted.group)))?;
    Ok(fs::fchmod(fd, Mode::from_raw_mode(wanted.mode))?)
}

fn entries(folder: &OwnedFd) -> io::Result<Vec<(String, Kind)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            let name = entry.file_name().to_string_lossy();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is not UTF-8")));
        };
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Not every file system tells it here.
            FileType::Unknown => FileType::from_raw_mode(fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        let kind = match kind {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            _ => Kind::Other,
        };
        found.push((name.to_owned(), kind));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn remove_in(parent: &OwnedFd, name: &str) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Another process may be about to remove the same.
    let folder = match fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        folder => folder?,
    };
    for (entry, _) in entries(&folder)? {
        remove_in(&folder, &entry)?;
    }
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Readable for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(fs::fstat(&self.fd)?.st_size.unsigned_abs())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buffer, offset))?)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let start = match fs::seek(self.fd.as_fd(), SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // No SEEK_DATA here (NFSv3): all of it may be data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                let size = self.size()?;
                return Ok((from < size).then_some(from..size));
            }
            Err(error) => return Err(error.into()),
        };
        let end = fs::seek(self.fd.as_fd(), SeekFrom::Hole(start))?;
        Ok(Some(start..end))
    }
}

impl LayerFile for DiskFile {
    fn allocated(&self) -> io::Result<u64> {
        let stat = fs::fstat(&self.fd)?;
        // XFS gives a file that grows more than it has, for a while.
        let longest = stat.st_size.unsigned_abs().next_multiple_of(PAGE);
        Ok(stat.st_blocks.unsigned_abs().saturating_mul(STAT_BLOCK).min(longest))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            match rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.fd, &bytes[done..], at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => done += written,
            }
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let range = range.start..range.end.min(self.size()?);
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(HOLE);
            match fs::fallocate(&self.fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, length) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => {
                    for at in (at..at + length).step_by(ZEROS) {
                        let zeros = [0; ZEROS];
                        let length = usize::try_from(range.end - at).unwrap_or(ZEROS).min(ZEROS);
                        self.write_at(at, &zeros[..length])?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
            at += length;
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        Ok(fs::ftruncate(&self.fd, size)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.fd)?)
    }

    fn write_behind(&self, range: Range<u64>) {
        // To forget them the kernel has to write them first. It begins that at once, and forgets only what is written by then.
        if let Some(length) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _promises_nothing = fs::fadvise(&self.fd, range.start, Some(length), Advice::DontNeed);
        }
    }

    fn extents(&self) -> io::Result<Option<Vec<Extent>>> {
        fiemap::extents(self.fd.as_fd())
    }

    fn identity(&self) -> io::Result<Identity> {
        let stat = fs::fstat(&self.fd)?;
        let nanoseconds = |value| u32::try_from(value).unwrap_or(0);
        Ok(Identity {
            size: stat.st_size.unsigned_abs(),
            inode: (stat.st_dev, stat.st_ino),
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        })
    }

    #[allow(clippy::useless_conversion, reason = "not every machine counts links in 64 bits")]
    fn names(&self) -> io::Result<u64> {
        Ok(fs::fstat(&self.fd)?.st_nlink.into())
    }

    fn owner(&self) -> io::Result<Owner> {
        Ok(owner(&fs::fstat(&self.fd)?, PERMISSIONS))
    }

    fn set_owner(&self, owner: Owner) -> io::Result<()> {
        give(&self.fd, owner, PERMISSIONS)
    }
}

#[cfg(test)]
mod tests;
