//! Velero at a site.
//!
//! Facts (Velero 1.18.2):
//! - All flags stand after the word `server`: plug-ins are started with everything from the second argument on.
//! - Its credentials go to `$TMPDIR`, its client settings are read from `$HOME`: each site has its own of both.
//! - Every executable file of the plug-in folder is started once, in the order of names; any that fails ends Velero.
//! - It opens :8080 besides the ports that can be set, so two servers need two network namespaces.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::inputs::Inputs;
use crate::place::{Place, Site};
use crate::process::{Probe, Process, Stage};
use crate::root::{Root, write_private};
use crate::secrets::Secrets;

/// The bucket both sites share.
pub const BUCKET: &str = "leeward";
/// Velero's prefix in the bucket.
pub const PREFIX: &str = "velero";
/// Velero's namespace.
pub const NAMESPACE: &str = "velero";
/// The port of the S3 server.
pub const S3_PORT: u16 = 8014;

/// The object store's address, from every place and from the host.
pub fn s3_url() -> String {
    format!("http://{}:{S3_PORT}", Place::Object.address())
}

/// Which plug-ins Velero loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PluginSet {
    /// The one for S3 and Leeward's.
    Leeward,
    /// Only the one for S3: Velero as it is without Leeward.
    Plain,
    /// The one for S3 and these programs.
    With(Vec<PathBuf>),
}

fn folder(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("velero")
}

/// The key file for the bucket, in the form AWS's tools read.
pub fn credentials_file(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("credentials")
}

/// Writes Velero's folders and key file, and puts exactly the plug-ins of `set` into its plug-in folder.
pub(crate) fn prepare(root: &Root, site: Site, inputs: &Inputs, set: &PluginSet, secrets: &Secrets) -> Result<()> {
    let folder = folder(root, site);
    for name in ["home", "tmp", "scratch"] {
        fs_err::create_dir_all(folder.join(name))?;
    }
    let key = format!(
        "[default]\naws_access_key_id={}\naws_secret_access_key={}\n",
        secrets.s3_access_key, secrets.s3_secret_key
    );
    write_private(&credentials_file(root, site), key.as_bytes())?;
    let plugins = folder.join("plugins");
    if plugins.exists() {
        fs_err::remove_dir_all(&plugins)?;
    }
    fs_err::create_dir_all(&plugins)?;
    let own: &[PathBuf] = match set {
        PluginSet::Leeward => std::slice::from_ref(&inputs.plugin),
        PluginSet::Plain => &[],
        PluginSet::With(programs) => programs,
    };
    for program in std::iter::once(&inputs.velero_plugin_for_aws).chain(own) {
        let name = program.file_name().unwrap_or(program.as_os_str());
        // A copy and no link: a program that is built anew while Velero runs must not change under it.
        fs_err::copy(program, plugins.join(name))?;
    }
    Ok(())
}

/// The Velero server.
pub(crate) fn process(root: &Root, site: Site, inputs: &Inputs) -> Process {
    let folder = folder(root, site);
    let mut process = Process::new("velero", site, Stage::Workers, &inputs.velero, folder.join("home"))
        .args(["server", "--features=EnableCSI"])
        .args([
            format!("--kubeconfig={}", root.kubeconfig(site).display()),
            format!("--namespace={NAMESPACE}"),
            format!("--plugin-dir={}", folder.join("plugins").display()),
        ])
        // A test waits for each of these; in production they are a minute or ten seconds.
        .args(["--backup-sync-period=2s", "--store-validation-frequency=5s", "--item-operation-sync-frequency=1s"])
        .args(["--client-qps=200", "--client-burst=400", "--terminating-resource-timeout=1m", "--resource-timeout=1m"])
        // Not in the lab: what needs a kubelet that runs containers.
        .args(["--disable-controllers=backup-repo"])
        .args(["--metrics-address=127.0.0.1:8085", "--profiler-address=127.0.0.1:6060", "--log-level=info"])
        .env("TMPDIR", folder.join("tmp").display().to_string())
        .env("VELERO_NAMESPACE", NAMESPACE)
        .env("VELERO_SCRATCH_DIR", folder.join("scratch").display().to_string())
        .env("AWS_SHARED_CREDENTIALS_FILE", credentials_file(root, site).display().to_string())
        // Otherwise the S3 plug-in asks a cloud's metadata service, which is not there, for half a minute.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .ready(Probe::Running);
    process.grace_s = 10;
    process
}
