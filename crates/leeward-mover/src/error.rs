//! What can go wrong at the side that receives.

use crate::manifest::ManifestError;
use crate::place::Place;
use leeward_model::name::{Epoch, GroupName, PointId};
use std::io;

/// A point that is not made, or not read.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// The file system refused.
    #[error("{doing} {place} [LW-0701]")]
    Files {
        /// What it should do.
        doing: &'static str,
        /// With what.
        place: Place,
        /// Why it did not.
        #[source]
        source: io::Error,
    },
    /// A block manifest of ours cannot be used.
    #[error("the block manifest of {place} [LW-0702]")]
    Manifest {
        /// The disk.
        place: Place,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A record of ours cannot be read.
    #[error("the record {place} is not one of this program: {why}; remove its folder if you know what it is [LW-0703]")]
    Record {
        /// The file.
        place: Place,
        /// What is wrong.
        why: String,
    },
    /// The other side asks for what cannot be.
    #[error("the sender asks for what cannot be: {what} [LW-0704]")]
    Request {
        /// What.
        what: String,
    },
    /// A newer epoch was seen.
    #[error(
        "group {group} is at epoch {newest} here; the sender has epoch {asked} and is refused. The other site has become \
         active: see `leeward status` [LW-0705]"
    )]
    OldEpoch {
        /// The group.
        group: GroupName,
        /// The sender's.
        asked: Epoch,
        /// The highest seen.
        newest: Epoch,
    },
    /// There is a point of that name, and it is another.
    #[error("group {group} has a point {point} here already, and it is another: {how} [LW-0706]")]
    Other {
        /// The group.
        group: GroupName,
        /// The point.
        point: PointId,
        /// How it is different.
        how: String,
    },
    /// There is no such point.
    #[error("group {group} has no point {point} here [LW-0707]")]
    Missing {
        /// The group.
        group: GroupName,
        /// The point.
        point: PointId,
    },
    /// What was received is not what was sent.
    #[error(
        "{place} has fingerprint {found} after everything was received, the source has {sent}; the next attempt reads what is here anew [LW-0708]"
    )]
    Differs {
        /// The disk.
        place: Place,
        /// Of the source.
        sent: String,
        /// Of what is here.
        found: String,
    },
    /// A file of a whole point was changed by somebody.
    #[error("{place} was changed by somebody since it was received: {how} [LW-0709]")]
    Touched {
        /// The disk: `<volume>/<file>`.
        disk: Place,
        /// The file.
        place: Place,
        /// How it is known.
        how: String,
    },
    /// A file of ours became shorter while it was read.
    #[error("{place} became shorter while it was read; find out who writes there, then repeat [LW-0713]")]
    Shrunk {
        /// The file.
        place: Place,
    },
    /// A point does not hold a volume.
    #[error("{} does not hold volume {volume}: replicate the volume itself [LW-0714]", point.as_ref().map_or_else(|| format!("no point of group {group} was named that could be carried on, and so it"), |point| format!("point {point} of group {group}")))]
    NotHeld {
        /// The group.
        group: GroupName,
        /// The point, if one is there.
        point: Option<PointId>,
        /// The volume.
        volume: String,
    },
    /// There is not enough room for a new point.
    #[error(
        "the new point needs at least {needed} bytes more and {free} are free here; withdraw old points or enlarge the file system, then repeat [LW-0715]"
    )]
    Full {
        /// Bytes that will be new at least.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Another process has it.
    #[error("another process is busy with {what}; wait until it has ended, then repeat [LW-0716]")]
    Busy {
        /// With what.
        what: String,
    },
}

impl PointError {
    pub(crate) fn files<'a>(doing: &'static str, place: &'a Place) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Files { doing, place: place.clone(), source }
    }

    pub(crate) fn manifest(place: &Place) -> impl Fn(ManifestError) -> Self + '_ {
        move |source| Self::Manifest { place: place.clone(), source }
    }
}
