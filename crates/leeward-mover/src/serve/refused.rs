//! What the server says no to, and what its peer is told.

use crate::error::PointError;
use crate::place::Place;
use crate::refusal::{of_target, plain};
use crate::target::TargetError;
use crate::wire::refusal;
use crate::wire::version::{SPOKEN, Versions};
use leeward_model::mover::RefusalKind;
use leeward_model::name::{GroupName, SiteName};
use std::fmt;
use tonic::Status;

/// A call that is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Point(#[from] PointError),
    #[error("another sender is making a point of group {group}; repeat when it has ended [LW-0753]")]
    Busy { group: GroupName },
    #[error(
        "the order is for disks of site {from}, and comes from the mover of site {peer}: a mover sends what is at its own site [LW-0754]"
    )]
    NotItsOwn { from: SiteName, peer: SiteName },
    #[error("the point is no longer being made here; repeat to go on [LW-0755]")]
    NoSession,
    #[error("the mover of site {site} is being stopped; repeat when it runs again, to go on [LW-0756]")]
    Stopping { site: SiteName },
    #[error(
        "site {site} speaks version {SPOKEN} of the movers' protocol, the caller {theirs}; install the same release at both [LW-0743]"
    )]
    Version { site: SiteName, theirs: String },
    #[error("the system refuses what a transfer needs [LW-0752]")]
    System(#[source] std::io::Error),
}

impl Refused {
    /// What no sender of ours says.
    pub(super) fn request(what: impl Into<String>) -> Self {
        Self::Point(PointError::Request { what: what.into() })
    }

    /// A place that leads elsewhere, a name that is none.
    pub(super) fn unparsed(error: impl fmt::Display) -> Self {
        Self::request(refusal::clean(&error.to_string()))
    }

    pub(super) fn unannounced(disk: &Place) -> Self {
        Self::request(format!("disk {disk} twice at the same time"))
    }

    pub(super) fn version(site: &SiteName, theirs: Versions) -> Self {
        Self::Version { site: site.clone(), theirs: theirs.to_string() }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Point(_) | Self::System(_) => RefusalKind::Failed,
            Self::Busy { .. } => RefusalKind::Busy,
            Self::NotItsOwn { .. } => RefusalKind::Request,
            Self::NoSession | Self::Stopping { .. } => RefusalKind::Link,
            Self::Version { .. } => RefusalKind::Peer,
        }
    }
}

impl From<TargetError> for Refused {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Here(error) => Self::Point(error),
            // What is made here needs no peer.
            TargetError::Peer(error) => Self::unparsed(error),
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let refusal = match &refused {
            Refused::Point(error) => of_target(error, None),
            refused => plain(refused.kind(), refused),
        };
        refusal::status(&refusal)
    }
}
