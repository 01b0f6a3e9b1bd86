//! Exit codes. They are part of the interface: scripts and Ansible decide by them.

/// Done.
pub(crate) const DONE: u8 = 0;
/// Failed on the way; what was done stays recorded, and a repeat goes on from there.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage or configuration. clap uses the same code.
pub(crate) const USAGE: u8 = 2;
/// Refused before any effect.
pub(crate) const REFUSED: u8 = 3;
/// Interrupted by Ctrl-C, as a shell would report it.
pub(crate) const INTERRUPTED: u8 = 130;
