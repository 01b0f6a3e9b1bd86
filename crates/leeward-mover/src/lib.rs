//! Replicates disk images between two sites: only consistency points, only what changed, at the price of one read.
//!
//! A disk image is cut into [`block::BLOCK`]s. Of every image at every point there is a [`manifest`]: one digest for each
//! block that is not all zero. [`scan`] reads a source and compares it with the manifest of the last point, so the target is
//! not read to find out what changed; what comes out are [`scan::Change`]s and the manifest of the new point. [`working`] writes
//! them to a working copy at the target, and [`points`] turns working copies into a recovery point, all disks at once.
//!
//! Laws:
//! - **A point is whole or not there.** It gets its name by one rename, after every disk's bytes are on stable storage and
//!   its fingerprint is that of the source.
//! - **The target's manifest is the authority.** It describes bytes that were received and written, digested by the receiver
//!   itself.
//! - **What is not known to be right is not built upon.** A working copy that was open when the machine died is digested
//!   anew before it is gone on with.

pub mod answer;
#[cfg(test)]
mod bed;
pub mod block;
pub mod cache;
pub mod compare;
pub mod config;
pub mod crew;
pub mod disk;
mod duplicate;
pub mod error;
pub mod extents;
pub mod fence;
mod fiemap;
pub mod journal;
pub mod layer;
pub mod limit;
pub mod manifest;
pub mod metrics;
mod paths;
pub mod peer;
pub mod place;
pub mod plan;
pub mod points;
pub mod present;
pub mod refusal;
pub mod remembered;
pub mod retention;
pub mod scan;
pub mod send;
pub mod serve;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod sim;
pub mod sync;
pub mod target;
pub mod tls;
mod undo;
mod view;
pub mod volumes;
pub mod watch;
pub mod wire;
pub mod working;
pub mod writers;
