//! What Leeward knows and decides, without doing anything: mapping, volume rewriting, planning, step transitions,
//! reports. No I/O, no async, no clock; every function here gives the same answer for the same input.

pub mod address;
pub mod belongings;
mod change;
pub mod check;
pub mod claim;
pub mod directory;
pub mod goregex;
pub mod group;
mod handle;
pub mod journal;
mod json;
pub mod keys;
mod landing;
mod leftover;
pub mod located;
pub mod mapping;
pub mod mover;
pub mod name;
pub mod naming;
pub mod network;
pub mod plan;
pub mod profile;
pub mod recovery;
pub mod report;
pub mod resume;
pub mod rewrite;
pub mod run;
pub mod server;
pub mod uncovered;
pub mod vm;

#[cfg(test)]
mod testing;
