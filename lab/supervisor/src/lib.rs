//! The lab: two real sites on one machine, for tests and for trying Leeward out.
//!
//! Each site is a network namespace with its own etcd, kube-apiserver, controller-manager, Velero, CSI, KubeVirt
//! controller and NFS server; a third one holds the object store. Pulling a site's cable is the disaster.
//!
//! ```no_run
//! # async fn example(inputs: leeward_lab::Inputs) -> anyhow::Result<()> {
//! use leeward_lab::{Lab, Lines, Root, Site};
//! let root = Root::from_env();
//! let lab = Lab::up(&root, &inputs, &Lines::default(), tokio::signal::ctrl_c()).await?;
//! lab.kill_site(Site::East).await?;
//! Lab::down(&root, &Lines::default()).await
//! # }
//! ```

mod cluster;
mod error;
mod export;
pub mod ganesha;
mod inputs;
mod lab;
mod mover;
mod network;
mod objects;
mod place;
mod probe;
mod process;
mod progress;
mod record;
mod root;
mod run;
mod secrets;
pub mod seed;
mod site;
pub mod sshd;
mod start;
mod sweep;
mod topology;
pub mod velero;

pub use cluster::Cluster;
pub use error::LabError;
pub use inputs::Inputs;
pub use lab::{Lab, ProcStatus};
pub use objects::{CLASS, DRIVER, condition};
pub use place::{BRIDGE, HOST_ADDRESS, Place, Site};
pub use process::{OWNER, Probe, Process, Stage, Stop};
pub use progress::{Lines, Progress, Quiet};
pub use record::Record;
pub use root::Root;
pub use secrets::Secrets;
pub use seed::seed_shop;
pub use site::API_PORT;
pub use topology::Topology;
pub use velero::{PluginSet, VeleroBuild};
