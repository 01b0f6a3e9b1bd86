//! Builds the engine out of the configuration. Connects to nobody yet.

use crate::config::{Loaded, ObjectStoreConfig, SiteConfig};
use anyhow::Context;
use kube::config::KubeConfigOptions;
use leeward_engine::{engine::Engine, site::Site, state::State};
use leeward_model::name::SiteName;
use leeward_storage::nfs::NfsAdapter;
use leeward_velero::{BackupStore, Velero};
use object_store::{ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Time to reach a cluster or the bucket.
const CONNECT: Duration = Duration::from_secs(5);
const NO_BUCKET: &str = "the object store's description cannot be used";

/// The engine for a configuration.
///
/// # Errors
/// A kubeconfig or a bucket description that cannot be used.
pub(crate) async fn engine(loaded: Loaded) -> anyhow::Result<Engine> {
    let Loaded { config, mapping, publication, kubeconfigs, credentials } = loaded;
    let store = bucket(&config.object_store, credentials).context(NO_BUCKET)?;
    let backups = BackupStore::new(store.clone(), &config.object_store.velero_prefix);
    let mut sites = BTreeMap::new();
    for (name, kubeconfig) in kubeconfigs {
        let Some(entry) = config.sites.get(&name) else { continue };
        let client = client(&name, entry, kubeconfig).await?;
        let velero =
            Velero::new(client.clone(), name.clone(), entry.velero_namespace.clone(), entry.storage_location.clone())
                .with_store(backups.clone());
        sites.insert(name.clone(), Site::new(name, client, velero, entry.velero_namespace.clone()));
    }
    let place = config.object_store.endpoint.clone().unwrap_or_default();
    Ok(Engine {
        sites,
        storage: Arc::new(NfsAdapter::new(config.storage.nfs)?),
        state: State::new(store, &config.object_store.prefix),
        mapping,
        publication,
        scope: format!("{place}-{}-{}", config.object_store.bucket, config.object_store.prefix),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        clock: jiff::Timestamp::now,
    })
}

/// Velero's part of the bucket.
///
/// # Errors
/// A bucket description that cannot be used.
pub(crate) fn backups(loaded: &Loaded) -> anyhow::Result<BackupStore> {
    let config = &loaded.config.object_store;
    let store = bucket(config, loaded.credentials.clone()).context(NO_BUCKET)?;
    Ok(BackupStore::new(store, &config.velero_prefix))
}

/// A site's cluster.
///
/// # Errors
/// A kubeconfig that cannot be used.
pub(crate) async fn client(
    name: &SiteName,
    entry: &SiteConfig,
    kubeconfig: kube::config::Kubeconfig,
) -> anyhow::Result<kube::Client> {
    let unusable = || format!("the kubeconfig of site {name} cannot be used [LW-0504]");
    let options = KubeConfigOptions { context: entry.context.clone(), ..KubeConfigOptions::default() };
    let mut client = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(unusable)?;
    client.connect_timeout = Some(CONNECT);
    kube::Client::try_from(client).with_context(unusable)
}

fn bucket(
    config: &ObjectStoreConfig,
    credentials: Option<(String, String)>,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = match credentials {
        Some((key, secret)) => AmazonS3Builder::new().with_access_key_id(key).with_secret_access_key(secret),
        None => AmazonS3Builder::from_env(),
    };
    builder = builder.with_bucket_name(&config.bucket).with_region(&config.region);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let client = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_timeout(Duration::from_secs(30))
        .with_allow_http(config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")));
    // A store that is down is told to the operator soon; the journal makes a repeat cheap.
    let retry = RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
    Ok(Arc::new(builder.with_client_options(client).with_retry(retry).build()?))
}
