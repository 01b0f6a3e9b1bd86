#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arguments;
mod backup_item_action;
mod call;
mod error;
mod handshake;
mod hclog;
#[cfg(feature = "host")]
pub mod host;
mod item_id;
mod kind;
mod lifecycle;
mod lister;
mod name;
mod panic;
mod progress;
mod proto;
mod restore_item_action;
mod selector;
mod server;
mod socket;

pub use arguments::Arguments;
pub use async_trait::async_trait;
pub use backup_item_action::{BackupItemAction, BackupOutput};
pub use error::ActionError;
pub use hclog::HclogLayer;
pub use item_id::ItemId;
pub use kind::Kind;
pub use progress::Progress;
pub use restore_item_action::{RestoreInput, RestoreItemAction, RestoreOutput};
pub use selector::Selector;
pub use server::Server;
