//! GroupController: snapshots of several volumes at one moment.

use tonic::{Request, Response, Status};

use super::class::SnapshotClass;
use super::controller::snapshot;
use super::{Driver, invalid, needed};
use crate::handle::Export;
use crate::proto::group_controller_server::GroupController;
use crate::proto::group_controller_service_capability::{Rpc, Type, rpc};
use crate::proto::{
    CreateVolumeGroupSnapshotRequest, CreateVolumeGroupSnapshotResponse, DeleteVolumeGroupSnapshotRequest,
    DeleteVolumeGroupSnapshotResponse, GetVolumeGroupSnapshotRequest, GetVolumeGroupSnapshotResponse,
    GroupControllerGetCapabilitiesRequest, GroupControllerGetCapabilitiesResponse, GroupControllerServiceCapability,
    VolumeGroupSnapshot,
};
use crate::store::{Group, Store};

#[tonic::async_trait]
impl GroupController for Driver {
    async fn group_controller_get_capabilities(
        &self,
        _: Request<GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<GroupControllerGetCapabilitiesResponse>, Status> {
        let offered = Rpc { r#type: rpc::Type::CreateDeleteGetVolumeGroupSnapshot.into() };
        let capabilities = vec![GroupControllerServiceCapability { r#type: Some(Type::Rpc(offered)) }];
        Ok(Response::new(GroupControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<CreateVolumeGroupSnapshotResponse>, Status> {
        let CreateVolumeGroupSnapshotRequest { name, source_volume_ids, parameters } = request.into_inner();
        needed(&name, "a name")?;
        if source_volume_ids.is_empty() {
            return Err(invalid("the request lacks source volume ids"));
        }
        SnapshotClass::check(&parameters, self.store.export())?;
        let about = format!("{name} of {}", source_volume_ids.join(", "));
        let work = move |store: &Store| store.create_group(&name, &source_volume_ids);
        let made = self.run("CreateVolumeGroupSnapshot", about, work).await?;
        let group_snapshot = Some(group(made, self.store.export()));
        Ok(Response::new(CreateVolumeGroupSnapshotResponse { group_snapshot }))
    }

    async fn delete_volume_group_snapshot(
        &self,
        request: Request<DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<DeleteVolumeGroupSnapshotResponse>, Status> {
        let DeleteVolumeGroupSnapshotRequest { group_snapshot_id: id, snapshot_ids } = request.into_inner();
        needed(&id, "a group snapshot id")?;
        let about = id.clone();
        let work = move |store: &Store| store.delete_group(&id, &snapshot_ids);
        self.run("DeleteVolumeGroupSnapshot", about, work).await?;
        Ok(Response::new(DeleteVolumeGroupSnapshotResponse {}))
    }

    async fn get_volume_group_snapshot(
        &self,
        request: Request<GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<GetVolumeGroupSnapshotResponse>, Status> {
        let GetVolumeGroupSnapshotRequest { group_snapshot_id: id, snapshot_ids } = request.into_inner();
        needed(&id, "a group snapshot id")?;
        let about = id.clone();
        let work = move |store: &Store| store.find_group(&id, &snapshot_ids);
        let found = self.run("GetVolumeGroupSnapshot", about, work).await?;
        let group_snapshot = Some(group(found, self.store.export()));
        Ok(Response::new(GetVolumeGroupSnapshotResponse { group_snapshot }))
    }
}

fn group(group: Group, export: &Export) -> VolumeGroupSnapshot {
    VolumeGroupSnapshot {
        group_snapshot_id: export.group_handle(&group.record.name),
        snapshots: group.snapshots.into_iter().map(|record| snapshot(record, export)).collect(),
        creation_time: Some(group.record.created.into()),
        ready_to_use: true,
    }
}
