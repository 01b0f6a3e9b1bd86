//! Reading and writing objects as raw JSON, so that no field that this program does not know is ever lost.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::Value;

/// VirtualMachineInstances.
pub(crate) fn vmi_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachineInstance");
    ApiResource::from_gvk_with_plural(&kind, "virtualmachineinstances")
}

/// PersistentVolumeClaims.
pub(crate) fn claim_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("", "v1", "PersistentVolumeClaim"),
        "persistentvolumeclaims",
    )
}

/// PersistentVolumes.
pub(crate) fn volume_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "PersistentVolume"), "persistentvolumes")
}

/// Objects of one kind in a namespace; of no namespace if it is empty.
pub(crate) fn api(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    match namespace {
        "" => Api::all_with(client.clone(), resource),
        _ => Api::namespaced_with(client.clone(), namespace, resource),
    }
}

/// An object, or `None` if the server says that there is none of this name. A server that does not even know the kind
/// (its definitions may not be loaded yet) is an error: nobody must take that for a deleted object.
pub(crate) async fn get(api: &Api<DynamicObject>, name: &str) -> kube::Result<Option<Value>> {
    match api.get(name).await {
        Ok(object) => Ok(Some(to_value(&object))),
        Err(kube::Error::Api(status)) if status.reason == "NotFound" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The object as JSON.
pub(crate) fn to_value(object: &DynamicObject) -> Value {
    // Made of JSON, so it can become JSON again; an object of nothing is refused by every reader.
    serde_json::to_value(object).unwrap_or_default()
}

/// Writes the status fields in `changes` into an object, unless it has changed since `seen` was read (conflict).
///
/// The whole object is put, as virt-handler does: the API server's merge patch drops every `null` in a list that it
/// replaces (`lastProbeTime`), and virt-controller, whose own patches test the list with its nulls, then fails for ever.
pub(crate) async fn put_status(api: &Api<DynamicObject>, seen: &DynamicObject, changes: Value) -> kube::Result<()> {
    let mut object = seen.clone();
    if let Value::Object(changes) = changes {
        for (field, value) in changes {
            object.data["status"][field] = value;
        }
    }
    let name = object.metadata.name.clone().unwrap_or_default();
    api.replace(&name, &PostParams::default(), &object).await.map(|_| ())
}
