//! A program's configuration file is changed in place.
//!
//! Laws: the new text and its name are on stable storage before [`change`] returns, also if nothing had to be changed: an earlier
//! attempt may have died in between. A change that somebody else makes meanwhile is not lost: the edit begins again. Owner, mode and
//! extended attributes (SELinux's label is one) stay as they are.

use rustix::fs::{FlockOperation, XattrFlags, fgetxattr, flistxattr, flock, fsetxattr};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often an edit is begun again because somebody else changed the file meanwhile.
const EDITS: u32 = 5;
/// How often the lock is tried, and how long is waited between: 5 s together.
const LOCK_TRIES: u32 = if cfg!(test) { 3 } else { 100 };
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// After the name of the new file while it is written. No server reads files that are called so.
const NEW: &str = ".leeward";
/// Bytes of the longest extended attribute, and of the longest list of them: xattr(7).
const LONGEST: usize = 64 << 10;

/// A file that was not changed.
#[derive(Debug)]
pub(super) enum Unchanged {
    /// The edit refused.
    Refused(String),
    /// The file system did.
    Files(io::Error),
    /// Another process of the mover has it.
    Busy,
    /// It was another one each time.
    Restless,
}

impl From<io::Error> for Unchanged {
    fn from(error: io::Error) -> Self {
        Self::Files(error)
    }
}

/// Reads the file, following links, changes it as `edit` says, and puts it on stable storage.
pub(super) fn change(path: &Path, edit: &dyn Fn(&str) -> Result<String, String>) -> Result<(), Unchanged> {
    let path = fs::canonicalize(path)?;
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    lock(&folder)?;
    for _ in 0..EDITS {
        let old = fs::read_to_string(&path)?;
        let new = edit(&old).map_err(Unchanged::Refused)?;
        if new == old {
            File::open(&path)?.sync_all()?;
        } else if !replace(&path, &old, &new)? {
            continue;
        }
        folder.sync_all()?;
        return Ok(());
    }
    Err(Unchanged::Restless)
}

/// The folder is ours until it is closed: two exports may stand in one file.
fn lock(folder: &File) -> Result<(), Unchanged> {
    for _ in 0..LOCK_TRIES {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Unchanged::Files(error.into())),
        }
    }
    Err(Unchanged::Busy)
}

/// Puts `new` in the file's place, if that still holds `old`.
fn replace(path: &Path, old: &str, new: &str) -> io::Result<bool> {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    let beside = PathBuf::from(name);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(new.as_bytes())?;
    be_like(&file, &File::open(path)?)?;
    file.sync_all()?;
    if fs::read_to_string(path)? != old {
        fs::remove_file(&beside)?;
        return Ok(false);
    }
    fs::rename(&beside, path)?;
    Ok(true)
}

/// Gives `file` what belongs to `other` beside its bytes.
fn be_like(file: &File, other: &File) -> io::Result<()> {
    let about = other.metadata()?;
    fchown(file, Some(about.uid()), Some(about.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(about.mode() & 0o7777))?;
    let mut names = vec![0; LONGEST];
    let length = match flistxattr(other, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; LONGEST];
        let length = fgetxattr(other, name, value.as_mut_slice())?;
        fsetxattr(file, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::fs::symlink;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.conf");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_keeps_what_belongs_to_it() {
        let (folder, path) = file("old");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let marked = rustix::fs::setxattr(&path, "user.leeward", b"kept", XattrFlags::empty()).is_ok();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        fs::write(folder.path().join("server.conf.leeward"), "left by one that died").unwrap();
        change(&link, &|text| Ok(format!("{text} and new"))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old and new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o604);
        let mut value = [0; 8];
        assert!(!marked || rustix::fs::getxattr(&path, "user.leeward", &mut value[..]) == Ok(4));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn what_somebody_else_writes_meanwhile_is_not_lost() {
        let (_folder, path) = file("a");
        let times = Cell::new(0);
        change(&path, &|text| {
            times.set(times.get() + 1);
            if times.get() == 1 {
                fs::write(&path, "ab").unwrap();
            }
            Ok(format!("{text}!"))
        })
        .unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), times.get()), ("ab!", 2));
        let restless = change(&path, &|text| {
            fs::write(&path, format!("{text}b")).unwrap();
            Ok("!".to_owned())
        });
        assert!(matches!(restless, Err(Unchanged::Restless)), "{restless:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "ab!bbbbb");
    }

    #[test]
    fn what_cannot_be_changed_stays() {
        let (folder, path) = file("old");
        let refused = change(&path, &|_| Err("so".to_owned()));
        assert!(matches!(refused, Err(Unchanged::Refused(why)) if why == "so"));
        let absent = change(&folder.path().join("none"), &|text| Ok(text.to_owned()));
        assert!(matches!(absent, Err(Unchanged::Files(error)) if error.kind() == io::ErrorKind::NotFound));
        let other = File::open(folder.path()).unwrap();
        lock(&other).unwrap();
        assert!(matches!(change(&path, &|_| Ok("new".to_owned())), Err(Unchanged::Busy)));
        drop(other);
        fs::write(&path, b"\xff").unwrap();
        let binary = change(&path, &|_| Ok("new".to_owned()));
        assert!(matches!(binary, Err(Unchanged::Files(error)) if error.kind() == io::ErrorKind::InvalidData));
    }
}
