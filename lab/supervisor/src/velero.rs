//! Velero at a site.
//!
//! Facts (Velero 1.18.2):
//! - All flags stand after the word `server`: plug-ins are started with everything from the second argument on.
//! - Its credentials go to `$TMPDIR`, its client settings are read from `$HOME`: each site has its own of both.
//! - Every executable file of the plug-in folder is started once, in the order of names; any that fails ends Velero.
//! - It opens :8080 besides the ports that can be set, so two servers need two network namespaces.
//! - 1.14.1 and 1.16.2 know all the flags used here as well. The 13 CRDs of all three have the same names and the same
//!   versions of their APIs; only schemas differ, so that applying a version's CRDs is all that a change of it takes.
//!
//! A site's folder has links to its Velero and to the S3 plug-in of it. Everything starts Velero through them, so that
//! another version is another pair of links, and stays when Velero or the whole supervisor is started anew.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::error::LabError;
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

/// One version of Velero with all that belongs to it. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VeleroBuild {
    /// Server and command line.
    pub velero: PathBuf,
    /// Its plug-in for S3.
    pub velero_plugin_for_aws: PathBuf,
    /// Its CRDs, a file of YAML documents called `velero.yaml`.
    pub crds: PathBuf,
}

impl VeleroBuild {
    /// Refuses when a file is missing, naming the first.
    pub(crate) fn check(&self) -> Result<(), LabError> {
        let missing = [&self.velero, &self.velero_plugin_for_aws, &self.crds].into_iter().find(|file| !file.is_file());
        match missing {
            Some(file) => Err(LabError::MissingProgram {
                program: file.display().to_string(),
                remedy: "run `cargo xtask lab swap-velero`, which builds the Velero it is asked for".into(),
            }),
            None => Ok(()),
        }
    }
}

fn folder(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("velero")
}

/// The key file for the bucket, in the form AWS's tools read.
pub fn credentials_file(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("credentials")
}

/// The Velero of a site, server and command line: a link.
pub(crate) fn program(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("bin/velero")
}

fn plugin_for_aws(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("bin/velero-plugin-for-aws")
}

/// Makes these the site's Velero and its S3 plug-in, from the next start on.
pub(crate) fn link(root: &Root, site: Site, velero: &Path, velero_plugin_for_aws: &Path) -> Result<()> {
    fs_err::create_dir_all(folder(root, site).join("bin"))?;
    for (link, target) in [(program(root, site), velero), (plugin_for_aws(root, site), velero_plugin_for_aws)] {
        // By a rename: at no moment is the site without a Velero.
        let new = link.with_extension("new");
        match fs_err::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs_err::os::unix::fs::symlink(target, &new)?,
        }
        fs_err::rename(new, link)?;
    }
    Ok(())
}

/// What a site's Velero says its version is, such as `v1.18.2`.
pub(crate) async fn version(root: &Root, site: Site) -> Result<String> {
    let mut command = tokio::process::Command::new(program(root, site));
    // It would read its user's settings.
    command.args(["version", "--client-only"]).env("HOME", "/nonexistent");
    let output = command.output().await.with_context(|| format!("asking {site}'s Velero for its version"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.lines().find_map(|line| line.trim().strip_prefix("Version:"));
    let version = version.with_context(|| format!("{site}'s Velero tells no version, but: {}", said.trim()))?;
    Ok(version.trim().to_owned())
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
    for program in std::iter::once(&plugin_for_aws(root, site)).chain(own) {
        let name = program.file_name().unwrap_or(program.as_os_str());
        // A copy and no link: a program that is built anew while Velero runs must not change under it.
        fs_err::copy(program, plugins.join(name))?;
    }
    Ok(())
}

/// The Velero server.
pub(crate) fn process(root: &Root, site: Site) -> Process {
    let folder = folder(root, site);
    let mut process = Process::new("velero", site, Stage::Workers, &program(root, site), folder.join("home"))
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
        // 1.14 gives plug-ins, its own CSI actions among them, its log level and features and no other flag.
        .env("KUBECONFIG", root.kubeconfig(site).display().to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_what_an_interrupted_one_left_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let is = |version: &str| {
            assert_eq!(fs_err::read_link(program(&root, Site::East)).unwrap(), Path::new(version).join("velero"));
            assert_eq!(fs_err::read_link(plugin_for_aws(&root, Site::East)).unwrap(), Path::new(version).join("aws"));
        };
        let link = |version: &str| {
            let version = Path::new(version);
            link(&root, Site::East, &version.join("velero"), &version.join("aws")).unwrap();
        };
        link("/parts/1.18");
        is("/parts/1.18");
        fs_err::os::unix::fs::symlink("/nowhere", program(&root, Site::East).with_extension("new")).unwrap();
        link("/parts/1.14");
        is("/parts/1.14");
        assert!(!program(&root, Site::West).exists(), "the other site is not touched");
    }

    #[tokio::test]
    async fn the_version_is_what_the_sites_program_says() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path().join("root"));
        let played = folder.path().join("velero");
        let says = |text: &str| {
            fs_err::write(&played, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs_err::set_permissions(&played, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        says(r#"[ "$*" = "version --client-only" ] && printf 'Client:\n\tVersion: v1.16.2\n\tGit commit: -\n'"#);
        link(&root, Site::West, &played, &played).unwrap();
        assert_eq!(version(&root, Site::West).await.unwrap(), "v1.16.2");
        says("echo sorry");
        let error = version(&root, Site::West).await.unwrap_err().to_string();
        assert!(error.contains("west") && error.contains("sorry"), "{error}");
    }

    #[test]
    fn a_lab_of_another_velero_has_its_crds_and_no_others_of_velero() {
        let inputs: Inputs = serde_json::from_value(serde_json::json!({
            "kube": "/k", "velero": "/18/velero", "velero_plugin_for_aws": "/18/aws", "virt_controller": "/v",
            "snapshot_controller": "/s", "csi_snapshotter": "/s", "csi_provisioner": "/p",
            "crds": ["/18/velero.yaml", "/csi/snapshot.yaml"],
            "lab_csi": "/c", "lab_node": "/n", "lab_s3": "/3", "plugin": "/l", "mover": "/m", "guest_kernel": "/g", "guest_initrd": "/i",
        }))
        .unwrap();
        let build = VeleroBuild {
            velero: "/14/velero".into(),
            velero_plugin_for_aws: "/14/aws".into(),
            crds: "/14/velero.yaml".into(),
        };
        let other = inputs.with_velero(build);
        assert_eq!(other.crds, [Path::new("/14/velero.yaml"), Path::new("/csi/snapshot.yaml")]);
        assert_eq!((other.velero, other.velero_plugin_for_aws), ("/14/velero".into(), "/14/aws".into()));
    }

    #[test]
    fn a_build_without_its_crds_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let build =
            VeleroBuild { velero: file("velero"), velero_plugin_for_aws: file("aws"), crds: file("velero.yaml") };
        for path in [&build.velero, &build.velero_plugin_for_aws] {
            fs_err::write(path, "").unwrap();
        }
        let error = build.check().unwrap_err().to_string();
        assert!(error.contains("velero.yaml") && error.ends_with("[LW-0909]"), "{error}");
        fs_err::write(&build.crds, "").unwrap();
        build.check().unwrap();
    }
}
