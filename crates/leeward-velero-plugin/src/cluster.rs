//! Every call to this site's cluster. Connects at the first one, for Velero starts each plug-in once just to ask its name,
//! and does not start itself if that fails.

use crate::group_api::GroupApi;
use crate::settings::{Settings, SettingsError};
use crate::site::{Others, Site, SiteError};
use futures::Stream;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Config};
use leeward_model::keys::{CONFIG_MAP, MAPPING_TABLE};
use leeward_model::mapping::import;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;
use velero_plugin::Arguments;

/// An API server that does not even take the connection is told soon; Velero itself sets no deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects of one answer, as Velero and `kubectl` have it: a site may have many thousands, of some KiB each.
pub(crate) const PAGE: u32 = 500;

/// A resource, as it is asked for.
#[derive(Debug)]
pub(crate) struct Resource {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

/// A resource that the plug-in comes to know only while it runs, for instance in one of several versions.
pub(crate) const fn resource(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Resource {
    Resource { group, version, kind, plural }
}

const fn core(kind: &'static str, plural: &'static str) -> Resource {
    Resource { group: "", version: "v1", kind, plural }
}

pub(crate) const CLAIMS: Resource = core("PersistentVolumeClaim", "persistentvolumeclaims");
pub(crate) const VOLUMES: Resource = core("PersistentVolume", "persistentvolumes");
pub(crate) const NAMESPACES: Resource = core("Namespace", "namespaces");
pub(crate) const PODS: Resource = core("Pod", "pods");
pub(crate) const CONFIG_MAPS: Resource = core("ConfigMap", "configmaps");
const EVENTS: Resource = core("Event", "events");
pub(crate) const STORAGE_CLASSES: Resource =
    Resource { group: "storage.k8s.io", version: "v1", kind: "StorageClass", plural: "storageclasses" };
pub(crate) const SNAPSHOTS: Resource =
    Resource { group: "snapshot.storage.k8s.io", version: "v1", kind: "VolumeSnapshot", plural: "volumesnapshots" };
pub(crate) const SNAPSHOT_CLASSES: Resource = Resource {
    group: "snapshot.storage.k8s.io",
    version: "v1",
    kind: "VolumeSnapshotClass",
    plural: "volumesnapshotclasses",
};
pub(crate) const MACHINES: Resource =
    Resource { group: "kubevirt.io", version: "v1", kind: "VirtualMachine", plural: "virtualmachines" };
pub(crate) const RUNNING_MACHINES: Resource =
    Resource { group: "kubevirt.io", version: "v1", kind: "VirtualMachineInstance", plural: "virtualmachineinstances" };
pub(crate) const MACHINE_SNAPSHOTS: Resource = Resource {
    group: "snapshot.kubevirt.io",
    version: "v1beta1",
    kind: "VirtualMachineSnapshot",
    plural: "virtualmachinesnapshots",
};
pub(crate) const MACHINE_SNAPSHOT_CONTENTS: Resource = Resource {
    group: "snapshot.kubevirt.io",
    version: "v1beta1",
    kind: "VirtualMachineSnapshotContent",
    plural: "virtualmachinesnapshotcontents",
};
pub(crate) const NETWORKS: Resource = Resource {
    group: "k8s.cni.cncf.io",
    version: "v1",
    kind: "NetworkAttachmentDefinition",
    plural: "network-attachment-definitions",
};
pub(crate) const REVISIONS: Resource =
    Resource { group: "apps", version: "v1", kind: "ControllerRevision", plural: "controllerrevisions" };
const fn template(kind: &'static str, plural: &'static str) -> Resource {
    Resource { group: "instancetype.kubevirt.io", version: "v1beta1", kind, plural }
}
pub(crate) const TYPES: Resource = template("VirtualMachineInstancetype", "virtualmachineinstancetypes");
pub(crate) const CLUSTER_TYPES: Resource =
    template("VirtualMachineClusterInstancetype", "virtualmachineclusterinstancetypes");
pub(crate) const PREFERENCES: Resource = template("VirtualMachinePreference", "virtualmachinepreferences");
pub(crate) const CLUSTER_PREFERENCES: Resource =
    template("VirtualMachineClusterPreference", "virtualmachineclusterpreferences");
pub(crate) const BACKUPS: Resource = Resource { group: "velero.io", version: "v1", kind: "Backup", plural: "backups" };

impl Resource {
    /// Its kind.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its group and version.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Its plural name.
    pub(crate) fn plural(&self) -> &'static str {
        self.plural
    }

    fn api_resource(&self) -> ApiResource {
        let gvk = kube::core::GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }
}

/// A call to the cluster did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("find this site's API server ({from}); correct the plug-in's access to the cluster [LW-0605]")]
    Connect {
        from: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "{what}; the API server did not accept it: check Velero's service account and the server, then repeat [LW-0606]"
    )]
    Call {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("watch {plural} in {namespace}: {why}; give Velero's service account the right, then repeat [LW-0606]")]
    NotWatched { plural: &'static str, namespace: String, why: String },
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// What a `create` met.
#[derive(Debug)]
pub(crate) enum Created {
    New,
    /// An object of that name was there already.
    Exists,
}

/// This site's cluster, as Velero reaches it.
pub(crate) struct Cluster {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    /// Velero's.
    namespace: String,
    client: OnceCell<Client>,
    /// Whether Velero was told to take CSI snapshots (`EnableCSI`).
    csi: bool,
    pub(crate) known: Known,
}

/// What is read once per process, which is once per backup or restore.
#[derive(Default)]
pub(crate) struct Known {
    config_map: OnceCell<Option<Value>>,
    site: OnceCell<Site>,
    settings: OnceCell<Settings>,
    deleting: OnceCell<Vec<(Value, String)>>,
    pub(crate) group_api: OnceCell<Option<&'static GroupApi>>,
}

impl Cluster {
    /// The cluster that Velero's own flags and environment name: `--kubeconfig`, else `KUBECONFIG`, else the pod's.
    pub(crate) fn new(arguments: &Arguments) -> Self {
        let env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            kubeconfig: arguments
                .value("kubeconfig")
                .map(str::to_owned)
                .or_else(|| env("KUBECONFIG"))
                .map(PathBuf::from),
            context: arguments.value("kubecontext").map(str::to_owned),
            namespace: env("VELERO_NAMESPACE").unwrap_or_else(|| "velero".to_owned()),
            csi: arguments.features().any(|feature| feature == "EnableCSI"),
            client: OnceCell::new(),
            known: Known::default(),
        }
    }

    /// For tests: a cluster that answers through `client`.
    #[cfg(test)]
    pub(crate) fn played(client: Client) -> Self {
        let namespace = "velero".to_owned();
        Self {
            kubeconfig: None,
            context: None,
            namespace,
            csi: true,
            client: OnceCell::new_with(Some(client)),
            known: Known::default(),
        }
    }

    pub(crate) async fn client(&self) -> Result<&Client, ClusterError> {
        self.client.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Client, ClusterError> {
        let from = self
            .kubeconfig
            .as_ref()
            .map_or_else(|| "the pod's service account".to_owned(), |path| format!("kubeconfig {}", path.display()));
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| ClusterError::Connect { from: from.clone(), source };
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
                let file = Kubeconfig::read_from(path).map_err(|e| failed(e.into()))?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(|e| failed(e.into()))?
            }
            None => Config::incluster().map_err(|e| failed(e.into()))?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        Client::try_from(config).map_err(|e| failed(e.into()))
    }

    pub(crate) async fn api(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<Api<DynamicObject>, ClusterError> {
        let client = self.client().await?.clone();
        let of = resource.api_resource();
        Ok(match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &of),
            None => Api::all_with(client, &of),
        })
    }

    /// Velero's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether Velero takes CSI snapshots.
    pub(crate) fn csi(&self) -> bool {
        self.csi
    }

    async fn config_map(&self) -> Result<Option<&Value>, ClusterError> {
        let read = || self.get(&CONFIG_MAPS, Some(&self.namespace), CONFIG_MAP);
        self.known.config_map.get_or_try_init(read).await.map(Option::as_ref)
    }

    /// What the ConfigMaps say about this site.
    pub(crate) async fn site(&self) -> Result<&Site, ClusterError> {
        let read = || async {
            let config_map = self.config_map().await?;
            let others = match config_map {
                Some(config_map) => self.others(config_map).await?,
                None => Others::default(),
            };
            Ok(Site::read(&self.namespace, config_map, &others)?)
        };
        self.known.site.get_or_try_init(read).await
    }

    /// The PVs whose storage goes with their claim, as they were when first asked for: [`crate::retire::address`] and name.
    /// Nothing else of them is kept: there may be thousands.
    pub(crate) async fn deleting(&self) -> Result<&[(Value, String)], ClusterError> {
        let read = || async {
            let deletes = |pv: &Value| pv["spec"]["persistentVolumeReclaimPolicy"] == "Delete";
            let storage = |pv: Value| Some((crate::retire::address(&pv)?, crate::view::name(&pv).to_owned()));
            let mut found = Vec::new();
            let take = |page: Vec<Value>| found.extend(page.into_iter().filter(deletes).filter_map(storage));
            self.pages(&VOLUMES, None, ListParams::default(), take).await?;
            Ok(found)
        };
        self.known.deleting.get_or_try_init(read).await.map(Vec::as_slice)
    }

    /// The ConfigMaps that `config_map` refers to.
    async fn others(&self, config_map: &Value) -> Result<Others, ClusterError> {
        let tables = if Site::lacks_tables(config_map) {
            self.list(&CONFIG_MAPS, Some(&self.namespace), &format!("{MAPPING_TABLE}=true")).await?
        } else {
            Vec::new()
        };
        // Where there is a mapping it is only mentioned, so then it need not be readable.
        let published = match self.get(&CONFIG_MAPS, Some(&self.namespace), import::CONFIG_MAP).await {
            Err(_) if Site::has_mapping(config_map) => None,
            published => published?,
        };
        Ok(Others { tables, published })
    }

    /// What the ConfigMap says about promotions.
    pub(crate) async fn settings(&self) -> Result<&Settings, ClusterError> {
        let read = || async { Ok(Settings::read(&self.namespace, self.config_map().await?)?) };
        self.known.settings.get_or_try_init(read).await
    }

    /// The object; `None` if it is not there.
    pub(crate) async fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let what = || format!("read {} {}", resource.kind, title(namespace, name));
        let api = self.api(resource, namespace).await?;
        Ok(api.get_opt(name).await.map_err(|e| call(what(), e))?.map(|object| raw(&object)))
    }

    /// All objects with these labels, of the namespace or of the whole cluster.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        self.list_by(resource, namespace, &ListParams::default().labels(labels)).await
    }

    /// As [`Self::list`]; nothing where the cluster does not know the resource at all.
    pub(crate) async fn list_if_known(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        match self.list(resource, namespace, labels).await {
            Err(ClusterError::Call { source, .. }) if is_not_found(&source) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn list_by(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        parameters: &ListParams,
    ) -> Result<Vec<Value>, ClusterError> {
        let mut found = Vec::new();
        self.pages(resource, namespace, parameters.clone(), |page| found.extend(page)).await?;
        Ok(found)
    }

    /// Shows `take` all objects, page by page.
    async fn pages(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        parameters: ListParams,
        mut take: impl FnMut(Vec<Value>),
    ) -> Result<(), ClusterError> {
        let api = self.api(resource, namespace).await?;
        let what = || format!("list {} in {}", resource.plural, namespace.unwrap_or("all namespaces"));
        let mut parameters = parameters.limit(PAGE);
        loop {
            let page = api.list(&parameters).await.map_err(|e| call(what(), e))?;
            take(page.items.iter().map(raw).collect());
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Creates the object unless its name is taken.
    pub(crate) async fn create(&self, resource: &Resource, object: &Value) -> Result<Created, ClusterError> {
        let (namespace, name) = (crate::view::namespace(object), crate::view::name(object));
        let what = || format!("create {} {}", resource.kind, title(Some(namespace), name));
        let object = serde_json::from_value(object.clone()).map_err(|e| call(what(), kube::Error::SerdeError(e)))?;
        match self.api(resource, Some(namespace)).await?.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(Created::New),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(Created::Exists),
            Err(e) => Err(call(what(), e)),
        }
    }

    /// Applies an RFC 7396 merge patch. The object as it is then; `None` if it is not there.
    pub(crate) async fn patch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<Option<Value>, ClusterError> {
        let api = self.api(resource, namespace).await?;
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(object) => Ok(Some(raw(&object))),
            Err(e) if is_not_found(&e) => Ok(None),
            Err(e) => Err(call(format!("patch {} {}", resource.kind, title(namespace, name)), e)),
        }
    }

    /// Deletes the object if it still is exactly as `seen`. Whether it was: no if anybody has changed it since.
    pub(crate) async fn delete(&self, resource: &Resource, seen: &Value) -> Result<bool, ClusterError> {
        let (namespace, name) = (crate::view::namespace(seen), crate::view::name(seen));
        let of = |pointer| crate::view::text(seen, pointer).map(str::to_owned);
        let exactly = Preconditions { resource_version: of("/metadata/resourceVersion"), uid: of("/metadata/uid") };
        let parameters = DeleteParams { preconditions: Some(exactly), ..DeleteParams::background() };
        match self.api(resource, Some(namespace)).await?.delete(name, &parameters).await {
            Ok(_) => Ok(true),
            Err(e) if is_not_found(&e) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(e) => Err(call(format!("delete {} {}", resource.kind, title(Some(namespace), name)), e)),
        }
    }

    /// All objects of the namespace with these labels, now and after each change. A break of the connection is bridged.
    pub(crate) async fn watch(
        &self,
        resource: &Resource,
        namespace: &str,
        labels: &str,
    ) -> Result<impl Stream<Item = Result<watcher::Event<DynamicObject>, watcher::Error>> + Send + use<>, ClusterError>
    {
        let api = self.api(resource, Some(namespace)).await?;
        Ok(watcher(api, watcher::Config::default().labels(labels)).default_backoff())
    }

    /// The events about an object.
    pub(crate) async fn events(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let about = format!("involvedObject.kind={},involvedObject.name={name}", resource.kind);
        self.list_by(&EVENTS, Some(namespace), &ListParams::default().fields(&about)).await
    }
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

pub(crate) fn call(what: String, source: kube::Error) -> ClusterError {
    ClusterError::Call { what, source: Box::new(source) }
}

fn title(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

pub(crate) fn raw(object: &DynamicObject) -> Value {
    // Metadata and JSON, read from JSON a moment ago: there is nothing in it that could fail.
    serde_json::to_value(object).unwrap_or_default()
}
