//! Rust for what movers say to each other, from `crates/leeward-mover/proto/mover.proto`.
//!
//! The result is committed, so that building the mover needs no protobuf compiler.

use crate::binaries::repository;
use anyhow::{Context, Result};

/// Writes `crates/leeward-mover/src/wire/generated/leeward.mover.v1.rs`.
///
/// # Errors
/// The .proto file does not compile, or the folder cannot be written.
pub(super) fn generate() -> Result<()> {
    let mover = repository().join("crates/leeward-mover");
    let (proto, out) = (mover.join("proto"), mover.join("src/wire/generated"));
    let files = protox::compile([proto.join("mover.proto")], [&proto])
        .with_context(|| format!("compile the proto in {}", proto.display()))?;
    fs_err::create_dir_all(&out)?;
    tonic_prost_build::configure()
        // The bytes of disks are not copied out of the message they came in.
        .bytes(".")
        .build_transport(false)
        .out_dir(&out)
        .compile_fds(files)
        .with_context(|| format!("write the generated code to {}", out.display()))
}
