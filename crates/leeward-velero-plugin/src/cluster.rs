//! Every call to this site's cluster. Connects at the first one, for Velero starts each plug-in once just to ask its name,
//! and does not start itself if that fails.

use crate::site::{Site, SiteError};
use futures::{Stream, StreamExt as _};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Client, Config};
use leeward_model::keys::CONFIG_MAP;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;
use velero_plugin::Arguments;

/// An API server that does not even take the connection is told soon; Velero itself sets no deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A resource, as it is asked for.
#[derive(Debug)]
pub(crate) struct Resource {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

pub(crate) const CLAIMS: Resource =
    Resource { group: "", version: "v1", kind: "PersistentVolumeClaim", plural: "persistentvolumeclaims" };
pub(crate) const VOLUMES: Resource =
    Resource { group: "", version: "v1", kind: "PersistentVolume", plural: "persistentvolumes" };
pub(crate) const SNAPSHOTS: Resource =
    Resource { group: "snapshot.storage.k8s.io", version: "v1", kind: "VolumeSnapshot", plural: "volumesnapshots" };
const CONFIG_MAPS: Resource = Resource { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps" };
const EVENTS: Resource = Resource { group: "", version: "v1", kind: "Event", plural: "events" };

impl Resource {
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
    #[error(transparent)]
    Site(#[from] SiteError),
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
    /// Read once per process, which is once per backup or restore.
    site: OnceCell<Site>,
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
            client: OnceCell::new(),
            site: OnceCell::new(),
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
            client: OnceCell::new_with(Some(client)),
            site: OnceCell::new(),
        }
    }

    async fn client(&self) -> Result<&Client, ClusterError> {
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

    async fn api(&self, resource: &Resource, namespace: Option<&str>) -> Result<Api<DynamicObject>, ClusterError> {
        let client = self.client().await?.clone();
        let of = resource.api_resource();
        Ok(match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &of),
            None => Api::all_with(client, &of),
        })
    }

    /// What the ConfigMap says about this site.
    pub(crate) async fn site(&self) -> Result<&Site, ClusterError> {
        let read = || async {
            let config_map = self.get(&CONFIG_MAPS, Some(&self.namespace), CONFIG_MAP).await?;
            Ok(Site::read(&self.namespace, config_map.as_ref())?)
        };
        self.site.get_or_try_init(read).await
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

    /// All objects of the namespace with these labels.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        self.list_by(resource, namespace, &ListParams::default().labels(labels)).await
    }

    async fn list_by(
        &self,
        resource: &Resource,
        namespace: &str,
        parameters: &ListParams,
    ) -> Result<Vec<Value>, ClusterError> {
        let api = self.api(resource, Some(namespace)).await?;
        let found =
            api.list(parameters).await.map_err(|e| call(format!("list {} in {namespace}", resource.plural), e))?;
        Ok(found.items.iter().map(raw).collect())
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

    /// Applies an RFC 7396 merge patch to a cluster-scoped object.
    pub(crate) async fn patch(&self, resource: &Resource, name: &str, patch: &Value) -> Result<(), ClusterError> {
        let api = self.api(resource, None).await?;
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|e| call(format!("patch {} {name}", resource.kind), e))
    }

    /// The object now and after each change, `None` while it is not there. A break of the connection is bridged.
    pub(crate) async fn follow(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<impl Stream<Item = Result<Option<Value>, watcher::Error>> + Send + use<>, ClusterError> {
        let api = self.api(resource, Some(namespace)).await?;
        Ok(watch_object(api, name).default_backoff().map(|seen| seen.map(|object| object.as_ref().map(raw))))
    }

    /// The events about a claim.
    pub(crate) async fn events(&self, namespace: &str, claim: &str) -> Result<Vec<Value>, ClusterError> {
        let about = format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim}");
        self.list_by(&EVENTS, namespace, &ListParams::default().fields(&about)).await
    }
}

fn call(what: String, source: kube::Error) -> ClusterError {
    ClusterError::Call { what, source: Box::new(source) }
}

fn title(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

fn raw(object: &DynamicObject) -> Value {
    // Metadata and JSON, read from JSON a moment ago: there is nothing in it that could fail.
    serde_json::to_value(object).unwrap_or_default()
}
