#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arguments;
mod backup_item_action;
mod call;
mod delete_item_action;
mod error;
mod handshake;
#[cfg(feature = "harness")]
pub mod harness;
mod hclog;
mod install;
mod item_block_action;
mod item_id;
mod kind;
mod known_kinds;
mod lifecycle;
mod lister;
mod name;
mod panic;
mod progress;
mod proto;
mod registered;
mod restore_item_action;
mod selector;
mod server;
mod socket;
mod stderr;
pub mod v1;

pub use arguments::Arguments;
pub use async_trait::async_trait;
pub use backup_item_action::{BackupItemAction, BackupOutput, is_finalizing};
pub use delete_item_action::DeleteItemAction;
pub use error::ActionError;
pub use hclog::HclogLayer;
pub use item_block_action::ItemBlockAction;
pub use item_id::ItemId;
pub use kind::Kind;
pub use progress::Progress;
pub use restore_item_action::{RestoreInput, RestoreItemAction, RestoreOutput};
pub use selector::Selector;
pub use server::Server;
