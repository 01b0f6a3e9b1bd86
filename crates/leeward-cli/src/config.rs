//! The configuration file: two sites, the bucket they share, their storage, the protection groups.
//!
//! Reading checks everything that can be checked without talking to anyone, and names line and field of what is wrong.

use leeward_engine::publication::Publication;
use leeward_model::{
    group::GroupSpec,
    located,
    mapping::{Mapping, MappingErrors},
    name::{GroupName, SiteName},
};
use leeward_storage::nfs::StorageConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Version of the file's form.
const API_VERSION: &str = "leeward.io/v1alpha1";
/// Kind of the file.
const KIND: &str = "LeewardConfig";

/// The configuration file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// `leeward.io/v1alpha1`.
    api_version: String,
    /// `LeewardConfig`.
    kind: String,
    /// The two sites by name.
    pub(crate) sites: BTreeMap<SiteName, SiteConfig>,
    /// The bucket that both sites share.
    pub(crate) object_store: ObjectStoreConfig,
    /// The site mapping, a file; relative to this file's folder.
    pub(crate) mapping: PathBuf,
    /// The storage of the sites.
    pub(crate) storage: Storage,
    /// The protection groups by name.
    pub(crate) groups: BTreeMap<GroupName, GroupSpec>,
}

/// One site.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SiteConfig {
    /// Its kubeconfig, a file; relative to this file's folder.
    pub(crate) kubeconfig: PathBuf,
    /// The context in it; the current one if left out.
    #[serde(default)]
    pub(crate) context: Option<String>,
    /// Velero's namespace (OADP: `openshift-adp`).
    #[serde(default = "velero")]
    pub(crate) velero_namespace: String,
    /// Name of the BackupStorageLocation that both sites share.
    #[serde(default = "default_location")]
    pub(crate) storage_location: String,
}

fn velero() -> String {
    "velero".to_owned()
}

fn default_location() -> String {
    "default".to_owned()
}

/// The bucket.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ObjectStoreConfig {
    /// Its endpoint, e.g. `https://s3.example.org`; AWS if left out.
    #[serde(default)]
    pub(crate) endpoint: Option<String>,
    /// Its region.
    #[serde(default = "region")]
    pub(crate) region: String,
    /// The bucket's name.
    pub(crate) bucket: String,
    /// Where Leeward keeps its own records. Must lie outside Velero's prefix.
    #[serde(default = "own_prefix")]
    pub(crate) prefix: String,
    /// Velero's prefix in the bucket, as in its BackupStorageLocation.
    #[serde(default)]
    pub(crate) velero_prefix: String,
    /// An AWS credentials file with a `[default]` profile; relative to this file's folder. The usual environment
    /// variables if left out.
    #[serde(default)]
    pub(crate) credentials_file: Option<PathBuf>,
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn own_prefix() -> String {
    "leeward".to_owned()
}

/// The storage of the sites.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Storage {
    /// NFS file servers.
    pub(crate) nfs: StorageConfig,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: cannot be read ({cause}): name the file with --config, or correct the path [LW-0501]", path = path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// The file is not what it should be.
    #[error("{path}: {message} [LW-0502]", path = path.display())]
    Form { path: PathBuf, message: String },
    /// A value cannot be.
    #[error("{path}: {at}{field}: {problem} [LW-0503]", path = path.display())]
    Value { path: PathBuf, at: String, field: String, problem: String },
    /// The mapping is wrong.
    #[error("{path}: {cause}", path = path.display())]
    Mapping { path: PathBuf, cause: MappingErrors },
    /// A kubeconfig is wrong.
    #[error("{path}: {at}sites.{site}.kubeconfig: {problem} [LW-0504]", path = path.display())]
    Kubeconfig { path: PathBuf, at: String, site: SiteName, problem: String },
}

/// The configuration with everything that it refers to.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) mapping: Mapping,
    pub(crate) publication: Publication,
    pub(crate) kubeconfigs: BTreeMap<SiteName, kube::config::Kubeconfig>,
    /// Access key and secret, if the configuration names a credentials file.
    pub(crate) credentials: Option<(String, String)>,
}

/// Reads the configuration and what it refers to.
///
/// # Errors
/// [`ConfigError`] naming file, line and field.
pub(crate) fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let text = read(path)?;
    let config: Config = serde_saphyr::from_str(&text)
        .map_err(|error| ConfigError::Form { path: path.into(), message: error.without_snippet().to_string() })?;
    let checker = Checker { path, text: &text };
    checker.check(&config)?;
    let folder = path.parent().unwrap_or(Path::new("."));

    let mapping_path = folder.join(&config.mapping);
    let text = read(&mapping_path)?;
    // Tables in files of their own lie beside the mapping; one that is missing is a fault of the mapping, with its place.
    let beside = mapping_path.parent().unwrap_or(folder).to_owned();
    let tables = Mapping::documents(&text).into_iter();
    let tables = tables.filter_map(|name| Some((name.clone(), read(&beside.join(name)).ok()?))).collect();
    let mapping =
        Mapping::parse_with(&text, &tables).map_err(|cause| ConfigError::Mapping { path: mapping_path, cause })?;
    for site in config.sites.keys() {
        if !mapping.has(site) {
            let sites: Vec<_> = mapping.sites().iter().map(SiteName::as_str).collect();
            let problem = format!("site {site} is not in the site mapping, which is for {}", sites.join(" and "));
            return Err(checker.value(&format!("sites.{site}"), problem));
        }
    }
    let publication = Publication { text, tables };
    publication.check().map_err(|cause| checker.value("mapping", cause.to_string()))?;
    let mut kubeconfigs = BTreeMap::new();
    for (site, entry) in &config.sites {
        let file = folder.join(&entry.kubeconfig);
        let kubeconfig = kube::config::Kubeconfig::read_from(&file).map_err(|error| ConfigError::Kubeconfig {
            path: path.into(),
            at: checker.at(&format!("sites.{site}.kubeconfig")),
            site: site.clone(),
            problem: format!("{} cannot be used: {}", file.display(), leeward_engine::executor::chain(&error)),
        })?;
        kubeconfigs.insert(site.clone(), kubeconfig);
    }
    let credentials = match &config.object_store.credentials_file {
        Some(file) => Some(credentials(&folder.join(file))?),
        None => None,
    };
    Ok(Loaded { config, mapping, publication, kubeconfigs, credentials })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable { path: path.into(), cause })
}

/// The `[default]` profile of an AWS credentials file. Nothing of its content appears in an error.
fn credentials(path: &Path) -> Result<(String, String), ConfigError> {
    let text = read(path)?;
    let mut in_default = false;
    let (mut key, mut secret) = (None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_default = line == "[default]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| in_default) {
            match name.trim() {
                "aws_access_key_id" => key = Some(value.trim().to_owned()),
                "aws_secret_access_key" => secret = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    key.zip(secret).ok_or_else(|| ConfigError::Form {
        path: path.into(),
        message: "there is no [default] profile with aws_access_key_id and aws_secret_access_key".to_owned(),
    })
}

struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Checker<'_> {
    fn at(&self, field: &str) -> String {
        located::find(self.text, field).map(|position| format!("{position}, ")).unwrap_or_default()
    }

    fn value(&self, field: &str, problem: String) -> ConfigError {
        ConfigError::Value { path: self.path.into(), at: self.at(field), field: field.to_owned(), problem }
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let known = config.sites.keys().map(SiteName::as_str).collect::<Vec<_>>().join(", ");
        let unknown = |site: &SiteName| format!("there is no site {site}; the sites are {known}");
        if config.api_version != API_VERSION {
            return Err(self.value("apiVersion", format!("must be {API_VERSION}")));
        }
        if config.kind != KIND {
            return Err(self.value("kind", format!("must be {KIND}")));
        }
        if config.sites.len() != 2 {
            return Err(self.value("sites", format!("there must be two sites, there are {}", config.sites.len())));
        }
        if let Some(site) = config.storage.nfs.sites.keys().find(|site| !config.sites.contains_key(site)) {
            return Err(self.value(&format!("storage.nfs.sites.{site}"), unknown(site)));
        }
        if let Some(site) = config.sites.keys().find(|site| !config.storage.nfs.sites.contains_key(site)) {
            return Err(self.value("storage.nfs.sites", format!("site {site} is missing")));
        }
        config.storage.nfs.check().map_err(|error| self.value("storage.nfs", error.to_string()))?;
        let (own, velero) =
            (config.object_store.prefix.trim_matches('/'), config.object_store.velero_prefix.trim_matches('/'));
        if own.is_empty() || velero.is_empty() || own == velero || own.starts_with(&format!("{velero}/")) {
            let problem = "must name a folder outside veleroPrefix, and both must be set: a foreign folder under Velero's prefix \
                           makes its location unavailable"
                .to_owned();
            return Err(self.value("objectStore.prefix", problem));
        }
        if config.groups.is_empty() {
            return Err(self.value("groups", "there is no protection group".to_owned()));
        }
        for (name, group) in &config.groups {
            if group.namespaces.is_empty() {
                return Err(self.value(&format!("groups.{name}.namespaces"), "names no namespace".to_owned()));
            }
            if !config.sites.contains_key(&group.home) {
                return Err(self.value(&format!("groups.{name}.home"), unknown(&group.home)));
            }
            if let Some((vm, priority)) = group.priorities.iter().find(|(_, priority)| !(1..=5).contains(*priority)) {
                let problem = format!("{priority} is not a priority; they go from 1 (first) to 5");
                return Err(self.value(&format!("groups.{name}.priorities.{vm}"), problem));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
