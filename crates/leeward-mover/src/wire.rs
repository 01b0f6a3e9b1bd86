//! What movers say to each other: `proto/mover.proto` as Rust, and what both sides of it agree on.

pub mod refusal;
pub mod squeeze;
pub mod stream;
pub mod version;

/// The messages, the client and the server.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod proto {
    include!("wire/generated/leeward.mover.v1.rs");
}

use std::time::Duration;

/// Bytes of the longest message. An order or a point of 10,000 disks fits; a write takes [`squeeze::LONGEST`].
pub const LONGEST_MESSAGE: usize = 4 << 20;
/// Bytes of a manifest that are sent in one message.
pub const MANIFEST_PART: usize = 256 << 10;
/// Bytes that may be under way of one disk: what a 10 Gbit/s link with 3 ms takes, and four disks together one with 13 ms.
pub const DISK_WINDOW: u32 = 4 << 20;
/// Bytes that may be under way of all disks of a link. With [`DISK_WINDOW`] this is what a slow receiver's memory is bounded by.
pub const LINK_WINDOW: u32 = 16 << 20;
/// Bytes of an HTTP/2 frame: far fewer turns of the loop than with its default of 16 KiB.
pub const FRAME: u32 = 256 << 10;
/// After so much silence the other side is asked whether it lives …
pub const ASK_AFTER: Duration = Duration::from_secs(5);
/// … and has so much time to answer. Both together are when a dead peer is noticed.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Messages of one disk that wait at either side, each at most a write.
pub const QUEUE: usize = 2;
