//! [`Cluster`]: a site's API server, for raw objects.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::error::LabError;
use crate::place::Site;
use crate::root::Root;

/// Who owns the fields the lab applies.
const MANAGER: &str = "leeward-lab";

/// A site's API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    site: Site,
    root: Root,
}

impl Cluster {
    /// Reads the site's kubeconfig; opens no connection yet.
    pub async fn new(root: &Root, site: Site) -> Result<Self> {
        // Another part of the program may have chosen the provider before; there is only this one to choose.
        let _chosen_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let file = Kubeconfig::read_from(root.kubeconfig(site))?;
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        // The machine's proxy, if it has one, does not know the lab's network.
        config.proxy_url = None;
        config.connect_timeout = Some(Duration::from_secs(2));
        config.read_timeout = Some(Duration::from_secs(30));
        Ok(Self { client: Client::try_from(config)?, site, root: root.clone() })
    }

    /// The client itself.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether the API server says it is ready.
    pub async fn ready(&self) -> Result<()> {
        self.read("/readyz").await.map(drop)
    }

    /// What the API server says at a path of its own, such as `/metrics`.
    pub async fn read(&self, path: &str) -> Result<String> {
        Ok(self.client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// The API of a kind, for example `api("velero.io/v1", "Backup", Some("velero"))`.
    pub fn api(&self, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Applies an object, by server-side apply.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (kind, name) = (text("/kind").unwrap_or_default(), text("/metadata/name").unwrap_or_default());
        let api = self.api(text("/apiVersion").unwrap_or_default(), kind, text("/metadata/namespace"));
        api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object))
            .await
            .with_context(|| format!("applying {kind} {name} at {}", self.site))?;
        Ok(())
    }

    /// Applies objects, some at a time, in no order.
    pub async fn apply_all(&self, objects: &[Value]) -> Result<()> {
        stream::iter(objects).map(|object| self.apply(object)).buffer_unordered(4).try_collect().await
    }

    /// Looks at an object until it is as wished, or for `limit`. `what` names it in the error, `log` is whom to ask.
    pub async fn wait(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        limit: Duration,
        log: &str,
        wished: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let last = match api.get_opt(name).await {
                Ok(Some(object)) => {
                    let object = serde_json::to_value(object)?;
                    if wished(&object) {
                        return Ok(object);
                    }
                    object.get("status").map_or_else(|| "no status yet".to_owned(), Value::to_string)
                }
                Ok(None) => "it is not there".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(LabError::NotReady {
                    what: format!("{}/{name}", api.resource_url().rsplit('/').next().unwrap_or_default()),
                    place: self.site.name().into(),
                    seconds: limit.as_secs(),
                    last,
                    log: self.root.log(self.site, log),
                }
                .into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
