//! Generates the gRPC code of `velero-plugin` from its `.proto` files.
//!
//! The result is committed, so that building the crate needs neither a build script nor `protoc`.

use crate::binaries::repository;
use anyhow::{Context, Result};

const FILES: [&str; 11] = [
    "go_plugin/plugin.proto",
    "grpc/health.proto",
    "grpc/status.proto",
    "velero/backup_item_action_v1.proto",
    "velero/backup_item_action_v2.proto",
    "velero/delete_item_action.proto",
    "velero/item_block_action_v1.proto",
    "velero/lister.proto",
    "velero/restore_item_action_v1.proto",
    "velero/restore_item_action_v2.proto",
    "velero/shared.proto",
];

/// Writes `crates/velero-plugin/src/proto/generated/*.rs` anew.
///
/// # Errors
/// If a `.proto` file does not compile or the result cannot be written.
pub(super) fn generate() -> Result<()> {
    let krate = repository().join("crates/velero-plugin");
    let sources = krate.join("proto");
    let out = krate.join("src/proto/generated");
    fs_err::create_dir_all(&out)?;
    let descriptors =
        protox::compile(FILES, [&sources]).with_context(|| format!("compile the protos in {}", sources.display()))?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .build_transport(false)
        // A plug-in only serves; the clients are for the crate's `harness`.
        .client_mod_attribute(".", "#[cfg(feature = \"harness\")]")
        .compile_fds(descriptors)
        .with_context(|| format!("write the generated code to {}", out.display()))
}
