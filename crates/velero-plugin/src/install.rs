//! `--install-to DIR`: the plug-in copies itself into a directory.
//!
//! Velero starts a plug-in's image as an init container that has to put the program into `/target`. An image made of
//! nothing but the program has no `cp`; so the program does it: `ENTRYPOINT ["/my-plugin", "--install-to", "/target"]`.
//!
//! Velero does not start if anything executable in that directory is no plug-in, half of one, or the same one twice. So the
//! copy is executable only once it is whole, and its temporary name is always the same: what a killed container has left
//! there, its next run takes away.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The flag.
const FLAG: &str = "--install-to";
/// Velero may run as any user.
const MODE: u32 = 0o755;

/// The program could not be put there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("{FLAG} needs a directory: {FLAG} /target")]
    NoDirectory,
    #[error("find this program's own file")]
    Myself(#[source] io::Error),
    #[error("write {path:?}; the directory has to exist and be writable, and have room for this program")]
    Write { path: PathBuf, source: io::Error },
}

/// Where the command line says this program shall be copied to. `None` if it does not.
pub(crate) fn directory(mut arguments: impl Iterator<Item = OsString>) -> Option<Result<PathBuf, InstallError>> {
    while let Some(argument) = arguments.next() {
        let given = if argument == FLAG {
            arguments.next()
        } else {
            let Some(value) = argument.to_str().and_then(|a| a.strip_prefix(FLAG)?.strip_prefix('=')) else { continue };
            Some(value.into())
        };
        let directory = given.filter(|directory| !directory.is_empty());
        return Some(directory.map(PathBuf::from).ok_or(InstallError::NoDirectory));
    }
    None
}

/// Copies this program's file into `directory`, under its own name. Returns the new path.
pub(crate) fn install(directory: &Path) -> Result<PathBuf, InstallError> {
    let myself = std::env::current_exe().map_err(InstallError::Myself)?;
    let name = myself.file_name().ok_or_else(|| InstallError::Myself(io::Error::other("it has no name")))?;
    copy(&myself, name, directory)
}

fn copy(from: &Path, name: &OsStr, directory: &Path) -> Result<PathBuf, InstallError> {
    let mut source = File::open(from).map_err(InstallError::Myself)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let (new, path) = (directory.join(hidden), directory.join(name));
    let mut write = || -> io::Result<()> {
        if let Err(e) = fs::remove_file(&new)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        io::copy(&mut source, &mut copy)?;
        copy.set_permissions(Permissions::from_mode(MODE))?;
        copy.sync_all()?;
        fs::rename(&new, &path)
    };
    match write() {
        Ok(()) => Ok(path),
        Err(source) => {
            // What is not whole must not stay; that it cannot be removed is no news after the first error.
            let _ = fs::remove_file(&new);
            Err(InstallError::Write { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Option<Option<PathBuf>> {
        directory(arguments.iter().map(OsString::from)).map(Result::ok)
    }

    #[test]
    fn the_directory_is_read_in_either_form_and_has_to_be_there() {
        assert_eq!(asked(&["--log-level", "debug", "--install-too=/x"]), None);
        assert_eq!(asked(&["--install-to", "/target"]), Some(Some("/target".into())));
        assert_eq!(asked(&["--x", "--install-to=/target"]), Some(Some("/target".into())));
        assert_eq!(asked(&["--install-to"]), Some(None));
        assert_eq!(asked(&["--install-to="]), Some(None));
    }

    #[test]
    fn takes_away_what_a_killed_run_left_and_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::write(&from, "new").unwrap();
        let target = dir.path().join("target");
        fs::create_dir(&target).unwrap();
        for left in [".plugin.new", "plugin"] {
            fs::write(target.join(left), "old").unwrap();
            fs::set_permissions(target.join(left), Permissions::from_mode(0o755)).unwrap();
        }
        let path = copy(&from, OsStr::new("plugin"), &target).unwrap();
        assert_eq!((fs::read(&path).unwrap(), path), (b"new".to_vec(), target.join("plugin")));
        assert_eq!(fs::metadata(target.join("plugin")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = install(Path::new("/nowhere/target")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/target"), "{error}");
    }
}
