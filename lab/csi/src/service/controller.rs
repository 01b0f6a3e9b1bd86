//! Controller: volumes and snapshots.

use tonic::{Request, Response, Status};

use super::class::{SnapshotClass, StorageClass};
use super::{Driver, all_supported, invalid, needed, supported};
use crate::handle::Export;
use crate::proto::controller_server::Controller;
use crate::proto::controller_service_capability::{Rpc, Type, rpc};
use crate::proto::{
    CapacityRange, ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability,
    CreateSnapshotRequest, CreateSnapshotResponse, CreateVolumeRequest, CreateVolumeResponse, DeleteSnapshotRequest,
    DeleteSnapshotResponse, DeleteVolumeRequest, DeleteVolumeResponse, ListSnapshotsRequest, ListSnapshotsResponse,
    Snapshot, ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, Volume, VolumeContentSource,
    list_snapshots_response, validate_volume_capabilities_response, volume_content_source,
};
use crate::record::{ContentSource, SnapshotRecord};
use crate::store::{NewVolume, SnapshotFilter, Store};

#[tonic::async_trait]
impl Controller for Driver {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        needed(&request.name, "a name")?;
        all_supported(&request.volume_capabilities)?;
        let class = StorageClass::read(&request.parameters, self.store.export())?;
        let (required_bytes, limit_bytes) = range(request.capacity_range)?;
        let wanted = NewVolume {
            name: request.name.clone(),
            required_bytes,
            limit_bytes,
            on_delete: class.on_delete,
            mode: class.mode,
            pace: class.pace,
            source: request.volume_content_source.as_ref().map(content_source).transpose()?,
        };
        let volume = self.run("CreateVolume", request.name, |store| store.create_volume(wanted)).await?;

        // As csi-driver-nfs: all parameters come back, and `subdir`, from which it mounts.
        let mut volume_context = request.parameters;
        volume_context.insert("subdir".to_owned(), volume.name.to_string());
        Ok(Response::new(CreateVolumeResponse {
            volume: Some(Volume {
                capacity_bytes: signed(volume.capacity_bytes),
                volume_id: self.store.export().volume_handle(&volume.name, volume.on_delete),
                volume_context,
                content_source: request.volume_content_source,
            }),
        }))
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        let id = request.into_inner().volume_id;
        needed(&id, "a volume id")?;
        self.run("DeleteVolume", id.clone(), move |store| store.delete_volume(&id)).await?;
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        let id = needed(&request.volume_id, "a volume id")?.to_owned();
        if request.volume_capabilities.is_empty() {
            return Err(invalid("the request lacks volume capabilities"));
        }
        self.run("ValidateVolumeCapabilities", id.clone(), move |store| store.find_volume(&id)).await?;
        let mut response = ValidateVolumeCapabilitiesResponse::default();
        match request.volume_capabilities.iter().try_for_each(supported) {
            Err(reason) => response.message = reason.to_owned(),
            Ok(()) => {
                response.confirmed = Some(validate_volume_capabilities_response::Confirmed {
                    volume_context: request.volume_context,
                    volume_capabilities: request.volume_capabilities,
                    parameters: request.parameters,
                });
            }
        }
        Ok(Response::new(response))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        use rpc::Type::{CloneVolume, CreateDeleteSnapshot, CreateDeleteVolume, ListSnapshots};
        let capability =
            |r#type: rpc::Type| ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: r#type.into() })) };
        let offered = [CreateDeleteVolume, CreateDeleteSnapshot, ListSnapshots, CloneVolume];
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: offered.map(capability).to_vec() }))
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        let CreateSnapshotRequest { name, source_volume_id, parameters } = request.into_inner();
        needed(&name, "a name")?;
        needed(&source_volume_id, "a source volume id")?;
        SnapshotClass::check(&parameters, self.store.export())?;
        let about = format!("{name} of {source_volume_id}");
        let work = move |store: &Store| store.create_snapshot(&name, &source_volume_id);
        let made = self.run("CreateSnapshot", about, work).await?;
        Ok(Response::new(CreateSnapshotResponse { snapshot: Some(snapshot(made, self.store.export())) }))
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        let id = request.into_inner().snapshot_id;
        needed(&id, "a snapshot id")?;
        self.run("DeleteSnapshot", id.clone(), move |store| store.delete_snapshot(&id)).await?;
        Ok(Response::new(DeleteSnapshotResponse {}))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let ListSnapshotsRequest { max_entries, starting_token, source_volume_id, snapshot_id } = request.into_inner();
        let limit = usize::try_from(max_entries).map_err(|_| invalid("max_entries is negative"))?;
        let given = |text: String| (!text.is_empty()).then_some(text);
        let filter = SnapshotFilter { snapshot: given(snapshot_id), source: given(source_volume_id) };
        let work = move |store: &Store| store.list_snapshots(&filter, limit, &starting_token);
        let page = self.run("ListSnapshots", String::new(), work).await?;
        let entry = |record| list_snapshots_response::Entry { snapshot: Some(snapshot(record, self.store.export())) };
        Ok(Response::new(ListSnapshotsResponse {
            entries: page.snapshots.into_iter().map(entry).collect(),
            next_token: page.next,
        }))
    }
}

fn range(range: Option<CapacityRange>) -> Result<(u64, u64), Status> {
    let CapacityRange { required_bytes, limit_bytes } = range.unwrap_or_default();
    let unsigned = |bytes: i64| u64::try_from(bytes).map_err(|_| invalid("the capacity range is negative"));
    Ok((unsigned(required_bytes)?, unsigned(limit_bytes)?))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn content_source(source: &VolumeContentSource) -> Result<ContentSource, Status> {
    use volume_content_source::Type;
    match &source.r#type {
        Some(Type::Snapshot(from)) => {
            Ok(ContentSource::Snapshot(needed(&from.snapshot_id, "a snapshot id")?.to_owned()))
        }
        Some(Type::Volume(from)) => {
            Ok(ContentSource::Volume(needed(&from.volume_id, "a source volume id")?.to_owned()))
        }
        None => Err(invalid("the volume content source is neither a snapshot nor a volume")),
    }
}

pub(super) fn snapshot(record: SnapshotRecord, export: &Export) -> Snapshot {
    // The source as the handle names it: csi-driver-nfs prefers the handle's uuid to its folder.
    let source = export.parse_volume(&record.source_handle);
    let source = source.as_ref().map_or(record.source_name.as_str(), |volume| volume.as_source());
    Snapshot {
        size_bytes: signed(record.size_bytes),
        snapshot_id: export.snapshot_handle(&record.name, source),
        source_volume_id: record.source_handle.clone(),
        creation_time: Some(record.created.into()),
        ready_to_use: true,
        group_snapshot_id: record.group.as_ref().map_or_else(String::new, |group| export.group_handle(group)),
    }
}
