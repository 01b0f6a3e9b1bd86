//! What a lab guest writes to its disks, and how to prove afterwards that nothing of it was lost.
//!
//! Every disk carries a *chain*: block 0 is a [`block::Header`], each later 4096-byte block one [`block::Record`] that
//! names the one before it by its hash. [`chain::scan`] finds every way in which a copy of such a disk can be wrong:
//! records missing, half written, in the wrong order, or of another disk. The guest itself (`lab-guest`, the first
//! and only process of a real virtual machine) scans its disks before it writes to them, so a wrong copy never gets a
//! new record; the same functions read image files on the host.
//!
//! What the guest says on its serial console is [`console::Line`]; both ends use that type.

pub mod block;
pub mod chain;
pub mod console;
pub mod image;
pub mod initramfs;
