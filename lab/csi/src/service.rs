//! The CSI services over a [`Store`].
//!
//! Laws: requests are checked here and carried out by the store on a thread of their own, to the end, even if the caller
//! hangs up. What is not offered (attach, expand, stage, stats, list volumes) is not in the .proto, so gRPC itself
//! answers UNIMPLEMENTED.

mod class;
mod controller;
mod group;
mod identity;
mod mount;
mod node;

use std::sync::Arc;

use tonic::Status;

pub use self::mount::MountError;
use crate::proto::controller_server::ControllerServer;
use crate::proto::group_controller_server::GroupControllerServer;
use crate::proto::identity_server::IdentityServer;
use crate::proto::node_server::NodeServer;
use crate::proto::{VolumeCapability, volume_capability::AccessType, volume_capability::access_mode::Mode};
use crate::store::Store;

/// The driver: one store behind four services.
#[derive(Clone, Debug)]
pub struct Driver {
    store: Arc<Store>,
    node_id: Arc<str>,
}

impl Driver {
    /// A driver that names its node `node_id`.
    pub fn new(store: Store, node_id: &str) -> Self {
        Driver { store: Arc::new(store), node_id: node_id.into() }
    }

    /// What to serve.
    pub fn router(self) -> tonic::service::Routes {
        tonic::service::Routes::new(IdentityServer::new(self.clone()))
            .add_service(ControllerServer::new(self.clone()))
            .add_service(GroupControllerServer::new(self.clone()))
            .add_service(NodeServer::new(self))
    }

    /// Runs a blocking piece of work of the method `rpc`, and logs how it ended.
    async fn run<T, E>(
        &self,
        rpc: &'static str,
        about: String,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        E: Send + 'static,
        Status: From<E>,
    {
        let store = Arc::clone(&self.store);
        // The log line is written by the work and not by its caller: the caller may be gone by then.
        let work = move || {
            let done = work(&store).map_err(Status::from);
            match &done {
                Ok(_) => tracing::info!(rpc, about, "done"),
                Err(status) => tracing::warn!(rpc, about, code = ?status.code(), reason = status.message(), "refused"),
            }
            done
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panic) => {
                Err(Status::internal(format!("{rpc} ended abruptly: {panic}; see the driver's log [LW-0987]")))
            }
        }
    }
}

fn invalid(message: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{message} [LW-0980]"))
}

fn needed<'a>(value: &'a str, field: &str) -> Result<&'a str, Status> {
    if value.is_empty() { Err(invalid(format!("the request lacks {field}"))) } else { Ok(value) }
}

/// Whether a folder can serve as a volume of that capability.
fn supported(capability: &VolumeCapability) -> Result<(), &'static str> {
    match &capability.access_type {
        Some(AccessType::Mount(_)) => {}
        Some(AccessType::Block(_)) => return Err("block volumes are not offered: use volumeMode Filesystem"),
        None => return Err("the volume capability lacks an access type"),
    }
    match capability.access_mode.map(|mode| mode.mode()) {
        None | Some(Mode::Unknown) => Err("the volume capability lacks an access mode this driver knows"),
        Some(_) => Ok(()),
    }
}

fn all_supported(capabilities: &[VolumeCapability]) -> Result<(), Status> {
    if capabilities.is_empty() {
        return Err(invalid("the request lacks volume capabilities"));
    }
    capabilities.iter().try_for_each(supported).map_err(invalid)
}
