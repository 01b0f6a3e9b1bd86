//! The lab's S3 server: `s3s` over a folder, with writes put in order so that conditional writes can be trusted.
//!
//! It is for tests only: s3s-fs says of itself that it gives no security protection.

mod ordered;
mod server;

pub use ordered::Ordered;
pub use server::{Credentials, Server};
