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
mod merge;
mod name;
mod object;
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
pub use merge::Ambiguous;
pub use object::{ObjectExt, ViewError};
pub use progress::Progress;
pub use restore_item_action::{RestoreInput, RestoreItemAction, RestoreOutput};
pub use selector::Selector;
pub use server::Server;

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_example_as_it_is() {
        let (readme, example) = (include_str!("../README.md"), include_str!("../examples/note.rs"));
        assert!(readme.contains(&format!("```rust,no_run\n{example}```")), "copy examples/note.rs into README.md");
        assert!(example.lines().count() <= 60);
    }
}
