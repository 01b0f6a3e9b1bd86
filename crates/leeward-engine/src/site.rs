//! One site's cluster, as Leeward uses it: raw JSON objects, merge patches, waiting by watch.

use crate::error::SiteError;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::wait::await_condition,
};
use leeward_model::name::SiteName;
use leeward_velero::Velero;
use serde_json::Value;
use std::time::Duration;

/// Time given to a site to answer before it counts as unreachable (N6). Two seconds were not enough for a site with a load of eight
/// on two cores.
pub const PROBE: Duration = Duration::from_secs(5);
/// Name under which Leeward owns fields.
const FIELD_MANAGER: &str = "leeward";

/// A kind of object Leeward handles.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

/// KubeVirt's VirtualMachine.
pub const VM: Kind = Kind { group: "kubevirt.io", version: "v1", kind: "VirtualMachine", plural: "virtualmachines" };
/// KubeVirt's VirtualMachineInstance.
pub const VMI: Kind =
    Kind { group: "kubevirt.io", version: "v1", kind: "VirtualMachineInstance", plural: "virtualmachineinstances" };
/// PersistentVolumeClaim.
pub const PVC: Kind =
    Kind { group: "", version: "v1", kind: "PersistentVolumeClaim", plural: "persistentvolumeclaims" };
/// PersistentVolume.
pub const PV: Kind = Kind { group: "", version: "v1", kind: "PersistentVolume", plural: "persistentvolumes" };
/// ConfigMap.
pub const CONFIG_MAP: Kind = Kind { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps" };
/// CSI VolumeSnapshot.
pub const SNAPSHOT: Kind =
    Kind { group: "snapshot.storage.k8s.io", version: "v1", kind: "VolumeSnapshot", plural: "volumesnapshots" };
/// CSI VolumeSnapshotClass.
pub const SNAPSHOT_CLASS: Kind = Kind {
    group: "snapshot.storage.k8s.io",
    version: "v1",
    kind: "VolumeSnapshotClass",
    plural: "volumesnapshotclasses",
};

/// One site.
#[derive(Clone)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    client: kube::Client,
    /// Its Velero.
    pub velero: Velero,
    /// Velero's namespace, where the plug-ins read their configuration.
    pub velero_namespace: String,
}

impl Site {
    /// A site reached by `client`.
    #[must_use]
    pub fn new(name: SiteName, client: kube::Client, velero: Velero, velero_namespace: String) -> Self {
        Self { name, client, velero, velero_namespace }
    }

    /// Whether the API server answers; why not, otherwise. Takes no longer than [`PROBE`].
    pub async fn probe(&self) -> Result<(), String> {
        match tokio::time::timeout(PROBE, self.client.apiserver_version()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(crate::executor::chain(&error)),
            Err(_) => Err(format!("no answer within {} s", PROBE.as_secs())),
        }
    }

    fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    fn failed(&self, doing: String) -> impl FnOnce(kube::Error) -> SiteError {
        let site = self.name.clone();
        move |source| SiteError::Kube { site, doing, source: Box::new(source) }
    }

    /// The objects of a kind that carry the labels.
    ///
    /// # Errors
    /// [`SiteError::Kube`].
    pub async fn list(&self, kind: Kind, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>, SiteError> {
        let params = ListParams::default().labels(labels);
        let doing = format!("list {}{}", kind.plural, namespace.map(|n| format!(" in {n}")).unwrap_or_default());
        let list = self.api(kind, namespace).list(&params).await.map_err(self.failed(doing))?;
        Ok(list.items.into_iter().map(|object| as_value(&object)).collect())
    }

    /// An object, if it is there.
    ///
    /// # Errors
    /// [`SiteError::Kube`].
    pub async fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Value>, SiteError> {
        let found =
            self.api(kind, namespace).get_opt(name).await.map_err(self.failed(format!("read {} {name}", kind.kind)))?;
        Ok(found.as_ref().map(as_value))
    }

    /// Creates an object; one of that name that is there already is left alone.
    ///
    /// # Errors
    /// [`SiteError::Kube`].
    pub async fn create(&self, kind: Kind, namespace: Option<&str>, object: Value) -> Result<(), SiteError> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let doing = format!("create {} {name}", kind.kind);
        let object: DynamicObject = serde_json::from_value(object).map_err(|error| SiteError::Wrong {
            site: self.name.clone(),
            object: format!("{} {name}", kind.kind),
            problem: format!("cannot be written: {error}"),
        })?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match self.api(kind, namespace).create(&params, &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(self.failed(doing)(error)),
        }
    }

    /// Applies an object that Leeward owns whole.
    ///
    /// # Errors
    /// [`SiteError::Kube`].
    pub async fn apply(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        object: &Value,
    ) -> Result<(), SiteError> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let doing = format!("apply {} {name}", kind.kind);
        self.api(kind, namespace).patch(name, &params, &Patch::Apply(object)).await.map_err(self.failed(doing))?;
        Ok(())
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// [`SiteError::Kube`].
    pub async fn merge(&self, kind: Kind, namespace: Option<&str>, name: &str, patch: &Value) -> Result<(), SiteError> {
        let doing = format!("change {} {name}", kind.kind);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        self.api(kind, namespace).patch(name, &params, &Patch::Merge(patch)).await.map_err(self.failed(doing))?;
        Ok(())
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// [`SiteError::Kube`].
    pub async fn delete(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<(), SiteError> {
        match self.api(kind, namespace).delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(self.failed(format!("delete {} {name}", kind.kind))(error)),
        }
    }

    /// Waits until `is_so` holds for an object (`None`: it does not exist).
    ///
    /// # Errors
    /// [`SiteError::Deadline`] with what `explain` says of the object as it was seen last.
    pub async fn wait(
        &self,
        kind: Kind,
        (namespace, name): (Option<&str>, &str),
        (waiting, deadline): (&str, Duration),
        is_so: impl Fn(Option<&Value>) -> bool,
        explain: impl Fn(&Value) -> String,
    ) -> Result<(), SiteError> {
        let condition = |object: Option<&DynamicObject>| is_so(object.map(as_value).as_ref());
        let awaited = await_condition(self.api(kind, namespace), name, condition);
        match tokio::time::timeout(deadline, awaited).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SiteError::Wrong {
                site: self.name.clone(),
                object: format!("{} {name}", kind.kind),
                problem: format!("could not be watched: {}", crate::executor::chain(&error)),
            }),
            Err(_) => {
                let seen = self.get(kind, namespace, name).await?;
                Err(SiteError::Deadline {
                    site: self.name.clone(),
                    waiting: waiting.to_owned(),
                    seconds: deadline.as_secs(),
                    detail: seen
                        .map_or_else(|| format!("{} {name} does not exist", kind.kind), |object| explain(&object)),
                })
            }
        }
    }
}

fn as_value(object: &DynamicObject) -> Value {
    // A DynamicObject came from JSON; its keys are strings, so it becomes JSON again.
    serde_json::to_value(object).unwrap_or_default()
}
