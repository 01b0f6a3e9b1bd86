//! Rust for the lab CSI driver's wire format, from `lab/csi/proto/csi.proto`.
//!
//! The result is committed, so that neither a build of the driver nor a reader needs a protobuf compiler.

use crate::binaries::repository;
use anyhow::{Context, Result};

/// Writes `lab/csi/src/generated/csi.v1.rs`.
///
/// # Errors
/// The .proto file does not compile, or the folder cannot be written.
pub(super) fn generate() -> Result<()> {
    let driver = repository().join("lab/csi");
    let (proto, out) = (driver.join("proto"), driver.join("src/generated"));
    let mut files = protox::compile([proto.join("csi.proto")], [&proto])
        .with_context(|| format!("compile the proto in {}", proto.display()))?;
    for file in &mut files.file {
        // The .proto's remarks speak about the file, not about the items that follow them.
        file.source_code_info = None;
    }
    fs_err::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .build_client(false)
        // Requests are compared and logged: the same map must come out in the same order.
        .btree_map(".")
        .out_dir(&out)
        .compile_fds(files)
        .with_context(|| format!("write the generated code to {}", out.display()))
}
