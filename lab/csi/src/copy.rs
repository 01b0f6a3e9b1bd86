//! Copies a volume's folder: shared extents where the file system can, else a sparse copy.
//!
//! Laws:
//! - The copy never leaves the two folders: every step is taken from an open folder, and no symbolic link in them is
//!   followed. Their content belongs to whoever mounts the export.
//! - On a file system with reflinks (XFS, Btrfs) each file is cloned in one step, at one moment, whatever its size.
//!   Elsewhere only the ranges that hold data are read, so holes stay holes; a file that is written to meanwhile then
//!   comes out as a mixture of moments.
//! - Owner, mode, times, hard links inside the folder, special files, `user.*` attributes and ACLs are kept.
//! - All is on disk when the copy returns, so that a rename afterwards publishes a whole folder even if power fails.

use std::collections::HashMap;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, SeekFrom, Uid};
use rustix::io::Errno;

/// How much is read at a time where extents cannot be shared, in bytes.
const BLOCK: usize = 1 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Their length together, holes included, in bytes.
    pub length: u64,
    /// How many of them share their extents with the original.
    pub cloned: u64,
    /// What had to be read and written, in bytes.
    pub moved: u64,
}

/// Why a copy did not come about.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something in the source could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// Where, from the source's folder on.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something in the copy could not be written.
    #[error("writing {}", path.display())]
    Write {
        /// Where, from the copy's folder on.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl CopyError {
    /// What the system said.
    pub fn io(&self) -> &io::Error {
        let (CopyError::Read { source, .. } | CopyError::Write { source, .. }) = self;
        source
    }
}

/// Copies the folder `from` to `to`, which is created.
///
/// # Errors
/// `to` exists, or something cannot be read or written. What was made of `to` then stays; the caller removes it.
pub fn copy_tree(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    let source = open_dir(CWD, from).map_err(|source| CopyError::Read { path: from.to_owned(), source })?;
    let failed = |source: io::Error| CopyError::Write { path: to.to_owned(), source };
    rustix::fs::mkdirat(CWD, to, Mode::RWXU).map_err(|e| failed(e.into()))?;
    let target = open_dir(CWD, to).map_err(failed)?;
    let mut copier = Copier { root: &target, links: HashMap::new(), copied: Copied::default() };
    copier.dir(&source, &target, Path::new(""))?;
    Ok(copier.copied)
}

/// The length of all regular files in a folder together, holes included, in bytes.
///
/// # Errors
/// Something in it cannot be read.
pub fn length_of_tree(dir: &Path) -> Result<u64, CopyError> {
    let open = open_dir(CWD, dir).map_err(|source| CopyError::Read { path: dir.to_owned(), source })?;
    length_of(&open, Path::new(""))
}

fn length_of(dir: &File, at: &Path) -> Result<u64, CopyError> {
    let mut length = 0;
    for name in names(dir, at)? {
        let path = at.join(&name);
        let failed = |source| CopyError::Read { path: path.clone(), source };
        let stat = match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.map_err(|e| failed(e.into()))?,
        };
        length += match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
            FileType::Directory => length_of(&open_dir(dir, &name).map_err(failed)?, &path)?,
            _ => 0,
        };
    }
    Ok(length)
}

/// One entry of a folder and when it was last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    inode: u64,
    bytes: i64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

/// When each entry of a folder was last changed. Whoever writes to a file changes its own.
///
/// # Errors
/// Something in it cannot be read.
pub fn stamps_of_tree(dir: &Path) -> Result<Vec<Stamp>, CopyError> {
    let open = open_dir(CWD, dir).map_err(|source| CopyError::Read { path: dir.to_owned(), source })?;
    let mut stamps = Vec::new();
    stamps_of(&open, Path::new(""), &mut stamps)?;
    Ok(stamps)
}

fn stamps_of(dir: &File, at: &Path, stamps: &mut Vec<Stamp>) -> Result<(), CopyError> {
    let mut all = names(dir, at)?;
    all.sort();
    for name in all {
        let path = at.join(&name);
        let failed = |source| CopyError::Read { path: path.clone(), source };
        let stat = match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.map_err(|e| failed(e.into()))?,
        };
        let changed = (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default());
        stamps.push(Stamp { path: path.clone(), inode: stat.st_ino, bytes: stat.st_size, changed });
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            stamps_of(&open_dir(dir, &name).map_err(failed)?, &path, stamps)?;
        }
    }
    Ok(())
}

struct Copier<'a> {
    root: &'a File,
    /// Files with several names: where the first one went.
    links: HashMap<(u64, u64), PathBuf>,
    copied: Copied,
}

impl Copier<'_> {
    fn dir(&mut self, source: &File, target: &File, at: &Path) -> Result<(), CopyError> {
        for name in names(source, at)? {
            self.entry(source, target, &name, &at.join(&name))?;
        }
        let meta = source.metadata().map_err(|source| CopyError::Read { path: at.to_owned(), source })?;
        attributes(source, target, &meta)
            .and_then(|()| target.sync_all())
            .map_err(|source| CopyError::Write { path: at.to_owned(), source })
    }

    fn entry(&mut self, from: &File, to: &File, name: &Path, path: &Path) -> Result<(), CopyError> {
        let read = |source: io::Error| CopyError::Read { path: path.to_owned(), source };
        let write = |source: io::Error| CopyError::Write { path: path.to_owned(), source };
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Deleted since the folder was listed: the copy is of the moment after.
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(|e| read(e.into()))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let identity = (stat.st_dev, stat.st_ino);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                return rustix::fs::linkat(self.root, first, to, name, AtFlags::empty()).map_err(|e| write(e.into()));
            }
            self.links.insert(identity, path.to_owned());
        }
        match kind {
            FileType::Directory => {
                let source = open_dir(from, name).map_err(read)?;
                rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(|e| write(e.into()))?;
                let target = open_dir(to, name).map_err(write)?;
                self.dir(&source, &target, path)
            }
            FileType::RegularFile => {
                // NONBLOCK: should the name have become a pipe meanwhile, opening it must not wait for a writer.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
                    Err(Errno::NOENT) => return Ok(()),
                    source => File::from(source.map_err(|e| read(e.into()))?),
                };
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR);
                let target = File::from(target.map_err(|e| write(e.into()))?);
                self.file(&source, &target, path)
            }
            FileType::Symlink => {
                let points_to = rustix::fs::readlinkat(from, name, Vec::new()).map_err(|e| read(e.into()))?;
                rustix::fs::symlinkat(points_to, to, name).map_err(|e| write(e.into()))?;
                own(to, name, stat.st_uid, stat.st_gid).map_err(write)
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev).map_err(|e| write(e.into()))?;
                own(to, name, stat.st_uid, stat.st_gid).map_err(write)
            }
        }
    }

    fn file(&mut self, source: &File, target: &File, path: &Path) -> Result<(), CopyError> {
        let write = |source| CopyError::Write { path: path.to_owned(), source };
        let meta = source.metadata().map_err(|source| CopyError::Read { path: path.to_owned(), source })?;
        match rustix::fs::ioctl_ficlone(target, source) {
            Ok(()) => self.copied.cloned += 1,
            // What file systems say that have no reflinks, or not for this file.
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
                self.copied.moved += copy_data(source, target, meta.len(), path)?;
            }
            Err(error) => return Err(write(error.into())),
        }
        attributes(source, target, &meta).and_then(|()| target.sync_all()).map_err(write)?;
        self.copied.files += 1;
        self.copied.length += meta.len();
        Ok(())
    }
}

/// Copies the ranges of `source` that hold data; returns how many bytes those were.
fn copy_data(source: &File, target: &File, length: u64, path: &Path) -> Result<u64, CopyError> {
    let read = |source: io::Error| CopyError::Read { path: path.to_owned(), source };
    let write = |source: io::Error| CopyError::Write { path: path.to_owned(), source };
    target.set_len(length).map_err(write)?;
    let mut block = vec![0; BLOCK];
    let mut moved = 0;
    let mut at = 0;
    while at < length {
        let (start, end) = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => (start, rustix::fs::seek(source, SeekFrom::Hole(start)).map_err(|e| read(e.into()))?),
            // Nothing but a hole from here to the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(read(error.into())),
        };
        at = start;
        let end = end.min(length);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let got = source.read_at(&mut block[..want], at).map_err(read)?;
            if got == 0 {
                // Cut short by someone since its length was taken.
                return Ok(moved);
            }
            target.write_all_at(&block[..got], at).map_err(write)?;
            at += got as u64;
            moved += got as u64;
        }
    }
    Ok(moved)
}

/// Gives an open file or folder the owner, mode, attributes and times of another.
fn attributes(source: &File, target: &File, meta: &Metadata) -> io::Result<()> {
    fchown(target, Some(meta.uid()), Some(meta.gid()))?;
    extended_attributes(source.as_fd(), target.as_fd())?;
    // After the owner: changing it takes setuid and setgid away.
    target.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
    target.set_times(FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?))
}

fn extended_attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let mut list = match rustix::fs::flistxattr_query(source) {
        Ok(bytes) => vec![0; bytes],
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let used = rustix::fs::flistxattr(source, &mut list[..])?;
    for name in list[..used].split(|byte| *byte == 0) {
        if !name.starts_with(b"user.") && !name.starts_with(b"system.posix_acl_") {
            continue;
        }
        let mut value = vec![0; rustix::fs::fgetxattr_query(source, name)?];
        let used = rustix::fs::fgetxattr(source, name, &mut value[..])?;
        rustix::fs::fsetxattr(target, name, &value[..used], rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

fn own(dir: &File, name: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn open_dir(at: impl AsFd, name: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?.into())
}

fn names(dir: &File, at: &Path) -> Result<Vec<PathBuf>, CopyError> {
    let failed = |error: Errno| CopyError::Read { path: at.to_owned(), source: error.into() };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
