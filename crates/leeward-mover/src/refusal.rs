//! Errors as a program reads them.

use crate::config::ConfigError;
use crate::error::PointError;
use crate::fence::FenceError;
use crate::peer::PeerError;
use crate::place::Place;
use crate::present::PresentError;
use crate::send::SendError;
use crate::serve::ServeError;
use crate::target::TargetError;
use crate::volumes::VolumeError;
use leeward_model::mover::{Refusal, RefusalKind};
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// A verb that was not done.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// A recovery point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// What was to be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// What was to be presented.
    #[error(transparent)]
    Present(#[from] PresentError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another site's mover.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The export's NFS server.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A folder that the verb works in, or a file of the machine that it needs.
    #[error("{doing} {path:?}; check that it is there and that the mover may use it [LW-0721]")]
    Machine {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The request cannot be read.
    #[error("the request in {path:?} is not one of this verb's [LW-0722]")]
    Unreadable {
        /// The file; `-` for stdin.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// What is known of an error beside its text.
#[derive(Debug, Default)]
struct Known {
    volume: Option<String>,
    file: Option<String>,
    needed: Option<u64>,
    free: Option<u64>,
}

impl Known {
    fn disk(disk: &Place) -> Self {
        let (volume, file) = disk.as_str().split_once('/').unwrap_or((disk.as_str(), ""));
        Self::file(volume, file)
    }

    fn volume(volume: &str) -> Self {
        Self { volume: Some(volume.to_owned()), ..Self::default() }
    }

    fn file(volume: &str, file: &str) -> Self {
        Self { file: Some(file.to_owned()), ..Self::volume(volume) }
    }
}

impl VerbError {
    /// The same for a program. `free`: how many bytes are free where points are made.
    #[must_use]
    pub fn refusal(&self, free: Option<u64>) -> Refusal {
        let (kind, known) = match self {
            Self::Point(error) => of_point(error),
            Self::Send(error) => of_send(error),
            Self::Present(error) => of_present(error),
            Self::Config(_) => (RefusalKind::Request, Known::default()),
            Self::Peer(error) => of_peer(error),
            Self::Serve(error) => (error.kind(), Known::default()),
            Self::Fence(error) => (of_fence(error), Known::default()),
            Self::Machine { source, .. } => (of_io(source), Known::default()),
            Self::Unreadable { .. } => (RefusalKind::Request, Known::default()),
        };
        whole(kind, known, text(self), free)
    }
}

fn whole(kind: RefusalKind, known: Known, text: String, free: Option<u64>) -> Refusal {
    let code = code(&text).unwrap_or_default().to_owned();
    let Known { volume, file, needed, free: known } = known;
    let free_bytes = known.or_else(|| free.filter(|_| kind == RefusalKind::Full));
    Refusal { kind, code, text, volume, file, needed_bytes: needed, free_bytes }
}

/// An error of the side that receives, for the one that sends.
#[must_use]
pub fn of_target(error: &PointError, free: Option<u64>) -> Refusal {
    let (kind, known) = of_point(error);
    whole(kind, known, text(error), free)
}

/// An error of which nothing is known but its kind.
#[must_use]
pub fn plain(kind: RefusalKind, error: &dyn Error) -> Refusal {
    whole(kind, Known::default(), text(error), None)
}

/// Whether the same request may succeed when it is repeated.
#[must_use]
pub fn is_worth_repeating(kind: RefusalKind) -> bool {
    match kind {
        RefusalKind::Full | RefusalKind::Busy | RefusalKind::Link | RefusalKind::Failed => true,
        RefusalKind::Request
        | RefusalKind::Absent
        | RefusalKind::Empty
        | RefusalKind::NotAFile
        | RefusalKind::Changed
        | RefusalKind::NoPoint
        | RefusalKind::Exists
        | RefusalKind::Differs
        | RefusalKind::OldEpoch
        | RefusalKind::Peer => false,
    }
}

fn of_point(error: &PointError) -> (RefusalKind, Known) {
    match error {
        PointError::Files { source, .. } => (of_io(source), Known::default()),
        PointError::Manifest { .. } | PointError::Record { .. } => (RefusalKind::Differs, Known::default()),
        PointError::Request { .. } => (RefusalKind::Request, Known::default()),
        PointError::OldEpoch { .. } => (RefusalKind::OldEpoch, Known::default()),
        PointError::Other { .. } => (RefusalKind::Exists, Known::default()),
        PointError::Missing { .. } => (RefusalKind::NoPoint, Known::default()),
        PointError::NotHeld { volume, .. } => (RefusalKind::NoPoint, Known::volume(volume)),
        // What is here is mended by the next attempt.
        PointError::Differs { .. } | PointError::Shrunk { .. } => (RefusalKind::Failed, Known::default()),
        PointError::Touched { disk, .. } => (RefusalKind::Differs, Known::disk(disk)),
        PointError::Full { needed, free } => {
            (RefusalKind::Full, Known { needed: Some(*needed), free: Some(*free), ..Known::default() })
        }
        PointError::Busy { .. } => (RefusalKind::Busy, Known::default()),
    }
}

fn of_send(error: &SendError) -> (RefusalKind, Known) {
    match error {
        SendError::Request { .. } => (RefusalKind::Request, Known::default()),
        SendError::Volume(error) => of_volume(error),
        SendError::Manifest { source, .. } => {
            (crate::peer::of_peer(source).map_or(RefusalKind::Failed, PeerError::kind), Known::default())
        }
        SendError::Target { source: TargetError::Here(error), .. } => of_point(error),
        SendError::Target { source: TargetError::Peer(error), .. } => of_peer(error),
    }
}

fn of_peer(error: &PeerError) -> (RefusalKind, Known) {
    let known = match error {
        PeerError::Refused { refusal, .. } => Known {
            volume: refusal.volume.clone(),
            file: refusal.file.clone(),
            needed: refusal.needed_bytes,
            free: refusal.free_bytes,
        },
        _ => Known::default(),
    };
    (error.kind(), known)
}

fn of_volume(error: &VolumeError) -> (RefusalKind, Known) {
    match error {
        VolumeError::Files { volume, source, .. } => (of_io(source), Known::volume(volume)),
        VolumeError::Absent { volume, .. } => (RefusalKind::Absent, Known::volume(volume)),
        VolumeError::Empty { volume, .. } => (RefusalKind::Empty, Known::volume(volume)),
        VolumeError::NotAFile { volume, file, .. } => (RefusalKind::NotAFile, Known::file(volume, file)),
        VolumeError::Changed { volume, file, .. } => (RefusalKind::Changed, Known::file(volume, file)),
    }
}

fn of_present(error: &PresentError) -> (RefusalKind, Known) {
    match error {
        PresentError::Request(error) => of_send(error),
        PresentError::Point(error) => of_point(error),
        PresentError::Name { volume, .. } => (RefusalKind::Request, Known::volume(volume)),
        PresentError::Files { volume, source, .. } => (of_io(source), Known::volume(volume)),
        PresentError::InTheWay { volume, file, .. } => (RefusalKind::NotAFile, Known::file(volume, file)),
        PresentError::Differs { volume, file, .. } => (RefusalKind::Differs, Known::file(volume, file)),
        // It may have forgotten by the next time.
        PresentError::Stale { volume, file } => (RefusalKind::Failed, Known::file(volume, file)),
    }
}

fn of_fence(error: &FenceError) -> RefusalKind {
    match error {
        FenceError::NoServer => RefusalKind::Request,
        FenceError::Config { .. } => RefusalKind::Differs,
        FenceError::Busy { .. } => RefusalKind::Busy,
        FenceError::Files { source, .. } | FenceError::Export { source, .. } => of_io(source),
        FenceError::NotTold { .. } | FenceError::Unproven { .. } | FenceError::NotLifted { .. } => RefusalKind::Failed,
    }
}

fn of_io(error: &io::Error) -> RefusalKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RefusalKind::Full,
        _ => RefusalKind::Failed,
    }
}

/// An error and its causes.
#[must_use]
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The first code in a text.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("[LW-")?;
    let end = rest.find(']')?;
    text.get(text.len() - rest.len() - 3..text.len() - rest.len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_model::name::{Epoch, GroupName, PointId};

    fn place(text: &str) -> Place {
        Place::parse(text).unwrap()
    }

    #[test]
    fn a_refusal_says_what_a_program_wants_to_know() {
        let source =
            PointError::OldEpoch { group: GroupName::parse("shop").unwrap(), asked: Epoch(1), newest: Epoch(2) };
        let error =
            VerbError::from(SendError::Target { point: PointId::parse("rp-1").unwrap(), source: source.into() });
        let refusal = error.refusal(Some(7));
        assert_eq!((refusal.kind, refusal.code.as_str(), refusal.free_bytes), (RefusalKind::OldEpoch, "LW-0705", None));
        assert!(refusal.text.starts_with("making point rp-1: group shop is at epoch 2 here"), "{}", refusal.text);
        let touched = PointError::Touched { disk: place("pv-1/a/b"), place: place("x"), how: "so".to_owned() };
        let refusal = VerbError::from(touched).refusal(None);
        assert_eq!((refusal.volume.as_deref(), refusal.file.as_deref()), (Some("pv-1"), Some("a/b")));
    }

    #[test]
    fn a_file_system_that_is_full_is_told_from_one_that_fails() {
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, RefusalKind::Full),
            (io::ErrorKind::QuotaExceeded, RefusalKind::Full),
            (io::ErrorKind::PermissionDenied, RefusalKind::Failed),
        ] {
            let error = VerbError::from(PointError::files("writing", &place("x"))(kind.into()));
            let refusal = error.refusal(Some(7));
            assert_eq!((refusal.kind, refusal.code.as_str()), (expected, "LW-0701"));
            assert_eq!(refusal.free_bytes, (expected == RefusalKind::Full).then_some(7));
            assert!(is_worth_repeating(refusal.kind));
        }
    }
}
