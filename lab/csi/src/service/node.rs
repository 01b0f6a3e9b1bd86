//! Node: a volume's folder, bound to where the caller wants it.
//!
//! The lab's guests reach their disks over NFS and never call this; csi-sanity does. The bind mount is seen in the mount
//! namespace the driver runs in and nowhere else.

use std::path::{Path, PathBuf};

use tonic::{Request, Response, Status};

use super::{Driver, all_supported, invalid, mount, needed};
use crate::proto::node_server::Node;
use crate::proto::{
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
};
use crate::store::Store;

#[tonic::async_trait]
impl Node for Driver {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let NodePublishVolumeRequest { volume_id, target_path, volume_capability, readonly } = request.into_inner();
        needed(&volume_id, "a volume id")?;
        let target = target(&target_path)?;
        all_supported(volume_capability.as_slice())?;
        let about = format!("{volume_id} at {target_path}");
        let work = move |store: &Store| {
            let folder = store.volume_path(&store.find_volume(&volume_id)?.name);
            Ok::<_, Status>(mount::bind(&folder, &target, readonly)?)
        };
        self.run("NodePublishVolume", about, work).await?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let NodeUnpublishVolumeRequest { volume_id, target_path } = request.into_inner();
        needed(&volume_id, "a volume id")?;
        let target = target(&target_path)?;
        // The volume itself may be gone; what is bound must come off all the same.
        let work = move |_: &Store| mount::unbind(&target);
        self.run("NodeUnpublishVolume", format!("{volume_id} at {target_path}"), work).await?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        Ok(Response::new(NodeGetCapabilitiesResponse::default()))
    }

    async fn node_get_info(&self, _: Request<NodeGetInfoRequest>) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.node_id.to_string(), max_volumes_per_node: 0 }))
    }
}

fn target(path: &str) -> Result<PathBuf, Status> {
    let path = Path::new(needed(path, "a target path")?);
    if path.is_absolute() && path.file_name().is_some() {
        Ok(path.to_owned())
    } else {
        Err(invalid(format!("the target path {} is not the absolute path of a folder", path.display())))
    }
}
