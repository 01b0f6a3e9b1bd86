//! Velero's objects and its backup store as Leeward uses them.
//!
//! - [`Velero`] makes one site's Velero back up, restore and delete, and waits for the end.
//! - [`Look`] looks at what a site has, before a backup is restored there.
//! - [`BackupStore`] reads what Velero wrote into the bucket: results, and the objects inside a backup as raw JSON.
//!
//! The builders ([`backup`], [`restore`], [`sync`]) and the readers of status are pure; only [`velero`] and [`store`] do I/O.

mod api;
pub mod backup;
mod bring;
pub mod error;
pub mod excluded;
pub mod items;
pub mod location;
pub mod phase;
pub mod present;
mod request;
pub mod restore;
pub mod results;
pub mod store;
pub mod sync;
pub mod velero;
mod wait;

pub use backup::{BackupOutcome, BackupRequest};
pub use error::VeleroError;
pub use items::BackupItems;
pub use location::LocationState;
pub use phase::Verdict;
pub use present::Look;
pub use restore::{RestoreOutcome, RestoreRequest};
pub use results::Results;
pub use store::{BackupStore, BackupSummary, StoreError};
pub use velero::{Progress, Velero};
