//! The unix socket on which a plug-in listens, removed when it goes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io, process};
use tokio::net::UnixListener;

/// `sun_path` holds 108 bytes, the last of them zero.
const MAX_PATH: usize = 107;
const MAX_ATTEMPTS: u32 = 100;

/// A bound socket file. Only its own user can connect.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("the path {0:?} is longer than the {MAX_PATH} bytes a socket may have; set TMPDIR to a shorter directory")]
    TooLong(PathBuf),
    #[error("listen on a socket in {dir:?}; the directory that TMPDIR names has to exist and be writable")]
    Bind { dir: PathBuf, source: io::Error },
}

impl SocketFile {
    /// Listens on a new socket in `dir`.
    pub(crate) fn bind(dir: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |source| SocketError::Bind { dir: dir.to_owned(), source };
        let mut attempt = 0;
        loop {
            // A process id comes round again, and a killed plug-in leaves its socket behind.
            let path = dir.join(format!("plugin{}-{attempt}", process::id()));
            if path.as_os_str().len() > MAX_PATH {
                return Err(SocketError::TooLong(path));
            }
            match UnixListener::bind(&path) {
                Ok(listener) => {
                    let file = Self(path);
                    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                    return Ok((file, listener));
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && attempt < MAX_ATTEMPTS => attempt += 1,
                Err(e) => return Err(failed(e)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_sockets_of_one_process_differ_and_both_vanish() {
        let dir = tempfile::tempdir().unwrap();
        let (a, _a) = SocketFile::bind(dir.path()).unwrap();
        let (b, _b) = SocketFile::bind(dir.path()).unwrap();
        assert_ne!(a.path(), b.path());
        assert_eq!(fs::metadata(a.path()).unwrap().permissions().mode() & 0o777, 0o600);
        drop((a, b));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_path_too_long_is_named() {
        let dir = PathBuf::from(format!("/{}", "x".repeat(120)));
        assert!(matches!(SocketFile::bind(&dir), Err(SocketError::TooLong(_))));
    }
}
