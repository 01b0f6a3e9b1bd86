//! Carries out plans on two sites: observe, plan, execute; witness and journal in the shared bucket.
//!
//! - [`engine::Engine`] is the door: look, plan, carry out.
//! - [`executor`] walks a plan's steps with intent before effect; [`perform`] does them; [`roles`] keeps a standby a standby.
//! - [`state`] is what survives: the witness (who is active, at which epoch), runs with their journals, recovery points.

pub mod engine;
pub mod error;
pub mod executor;
pub mod lock;
pub mod observe;
pub mod perform;
pub mod progress;
pub mod publication;
pub mod roles;
mod rollback;
pub mod site;
pub mod state;
pub mod vms;

#[cfg(test)]
mod testing;
