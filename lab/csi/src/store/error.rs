//! What can go wrong in the store, and which gRPC code that is.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use tonic::{Code, Status};

use crate::copy::CopyError;
use crate::handle::{Export, HandleError};
use crate::name::{EntryName, NameError};
use crate::record::RecordError;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be served.
    #[error("cannot serve the folder {} [LW-0989]", root.display())]
    Open {
        /// The export's folder.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another driver serves it.
    #[error("the folder {} is already served by another lab-csi: stop that one first [LW-0989]", root.display())]
    Served {
        /// The export's folder.
        root: PathBuf,
    },
    /// The name asked for is not usable.
    #[error("the {what} cannot be made: choose another name [LW-0980]")]
    Name {
        /// `volume` or `snapshot`.
        what: &'static str,
        /// Why.
        #[source]
        source: NameError,
    },
    /// A handle that is none of this export's.
    #[error("the handle does not fit this driver; the PersistentVolume or StorageClass must be corrected [LW-0981]")]
    Handle(#[source] HandleError),
    /// No such volume or snapshot.
    #[error("{what} {name:?} does not exist on {export} [LW-0982]")]
    NotFound {
        /// `volume` or `snapshot`.
        what: &'static str,
        /// Its name or handle.
        name: String,
        /// The export served.
        export: Export,
    },
    /// It exists, but is not what was asked for.
    #[error("{what} {name} exists, but {difference}: choose another name, or remove what is there [LW-0983]")]
    Conflict {
        /// `volume` or `snapshot`.
        what: &'static str,
        /// Its name.
        name: EntryName,
        /// In what it differs.
        difference: String,
    },
    /// Someone works on it.
    #[error("another request is working on {what} {name}: try again [LW-0984]")]
    Busy {
        /// `volume` or `snapshot`.
        what: &'static str,
        /// Its name.
        name: EntryName,
    },
    /// The capacity range cannot be met.
    #[error("volume {name}: {reason} [LW-0985]")]
    Capacity {
        /// The volume asked for.
        name: EntryName,
        /// Why not, in bytes.
        reason: String,
    },
    /// A copy failed.
    #[error("cannot copy {from} into {to}{} [{}]", hint(source.io()), code(source.io()))]
    Copy {
        /// What was read.
        from: String,
        /// What was to be made.
        to: String,
        /// Where it failed.
        #[source]
        source: CopyError,
    },
    /// A record could not be read or written.
    #[error("the driver's records cannot be used{} [{}]", .0.io().map_or("", hint), .0.io().map_or("LW-0987", code))]
    Record(#[from] RecordError),
    /// A folder could not be made, renamed or deleted.
    #[error("cannot {what} {}{} [{}]", path.display(), hint(source), code(source))]
    Folder {
        /// What was being done.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Volumes of a group were written to whenever they were cut.
    #[error("somebody writes to the volumes of snapshot group {name} without a pause: try again [LW-0993]")]
    NotOneMoment {
        /// The group asked for.
        name: EntryName,
    },
    /// Some of a group's snapshots, or others.
    #[error("the snapshots of group {group} come and go together: name all of them, or delete the group [LW-0994]")]
    Together {
        /// The group.
        group: EntryName,
    },
    /// A page token that was never given out.
    #[error("starting token {token:?} was not given out by this driver: list from the beginning [LW-0988]")]
    Token {
        /// The token as received.
        token: String,
    },
}

impl StoreError {
    /// The gRPC code CSI asks for.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Name { .. } | StoreError::Handle(_) | StoreError::Together { .. } => Code::InvalidArgument,
            StoreError::NotFound { .. } => Code::NotFound,
            StoreError::Conflict { .. } => Code::AlreadyExists,
            StoreError::Busy { .. } | StoreError::NotOneMoment { .. } | StoreError::Token { .. } => Code::Aborted,
            StoreError::Capacity { .. } => Code::OutOfRange,
            StoreError::Copy { source, .. } => io_code(source.io()),
            StoreError::Record(source) => source.io().map_or(Code::Internal, io_code),
            StoreError::Folder { source, .. } => io_code(source),
            StoreError::Open { .. } | StoreError::Served { .. } => Code::Internal,
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Status {
        Status::new(error.code(), chain(&error))
    }
}

/// An error and its causes in one line: a status carries nothing but text.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn is_full(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT].iter().any(|full| error.raw_os_error() == Some(full.raw_os_error()))
}

fn io_code(error: &io::Error) -> Code {
    if is_full(error) { Code::ResourceExhausted } else { Code::Internal }
}

fn code(error: &io::Error) -> &'static str {
    if is_full(error) { "LW-0986" } else { "LW-0987" }
}

fn hint(error: &io::Error) -> &'static str {
    if is_full(error) { ": the export is full; free space on it or enlarge it" } else { "" }
}
