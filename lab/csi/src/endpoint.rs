//! The unix socket on which the driver is called.
//!
//! Laws: a socket left by a driver that was killed is replaced, anything else at that path is not touched. The socket
//! is removed when the driver goes.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An endpoint as the sidecars write it, `unix:///run/csi.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

/// A socket that is listened on; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a unix socket's address.
    #[error("endpoint {text:?} is not unix:// followed by an absolute path [LW-0990]")]
    Form {
        /// The endpoint as given.
        text: String,
    },
    /// Something else is in the way.
    #[error("{} exists and is not a socket: give another --endpoint [LW-0990]", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {} [LW-0990]", path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Endpoint {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Listens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The path is taken by something that is not a socket, or cannot be bound.
    pub fn listen(&self) -> Result<(tokio::net::UnixListener, Socket), EndpointError> {
        let failed = |source| EndpointError::Listen { path: self.0.clone(), source };
        match std::fs::symlink_metadata(&self.0) {
            Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(&self.0).map_err(failed)?,
            Ok(_) => return Err(EndpointError::NotASocket { path: self.0.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = tokio::net::UnixListener::bind(&self.0).map_err(failed)?;
        Ok((listener, Socket { path: self.0.clone() }))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        match path {
            Some(path) if path.starts_with('/') => Ok(Endpoint(PathBuf::from(path))),
            _ => Err(EndpointError::Form { text: text.to_owned() }),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_the_sidecars_write_them() {
        for text in ["unix:///run/csi.sock", "unix:/run/csi.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().path(), Path::new("/run/csi.sock"));
        }
        for text in ["tcp://127.0.0.1:1", "/run/csi.sock", "unix://csi.sock", ""] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("csi.sock");
        let endpoint: Endpoint = format!("unix://{}", path.display()).parse().unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a killed driver leaves its socket");
        let (listener, socket) = endpoint.listen().unwrap();
        drop((listener, socket));
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(endpoint.listen(), Err(EndpointError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
