//! Everything the lab needs before it can start: real servers built from source, Debian packages, a guest's kernel.
//!
//! ```no_run
//! use leeward_lab_parts::{Progress, prepare};
//! let ready = prepare(&Progress::stderr())?;
//! println!("{}", ready.parts.kube.display());
//! # Ok::<(), leeward_lab_parts::PrepareError>(())
//! ```
//!
//! The first call takes about a quarter of an hour on two cores and says so; later ones a fraction of a second.

mod builder;
mod cache;
mod crds;
mod debian;
mod guest_kernel;
mod key;
mod parts;
mod preflight;
mod progress;
mod recipe;
mod run;
mod veleros;

pub use builder::BuildError;
pub use cache::{Cache, CacheError};
pub use debian::{DebianError, install_debian_packages};
pub use guest_kernel::{GuestKernel, KernelError, ensure_guest_kernel};
pub use key::KeyError;
pub use parts::{CrdFiles, Parts, PrepareError, Prepared, ensure_parts, prepare};
pub use preflight::{Failure, PreflightError, preflight};
pub use progress::{Activity, Forecast, Progress};
pub use veleros::{UnknownVelero, VeleroParts, VeleroVersion, ensure_velero};
