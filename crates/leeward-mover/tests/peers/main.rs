//! Two file servers: real processes, mutual TLS, real sockets on loopback.
//!
//! `LEEWARD_KILLS` is how often each side is killed, 4 if it is not set.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod cut;
mod hostile;
mod kills;
mod proxy;
mod raw;
mod site;
mod sync;
mod trust;
