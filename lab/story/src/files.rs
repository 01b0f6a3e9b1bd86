//! The files that a user of the lab's two sites would write: configuration, mapping and credentials.

use anyhow::Result;
use leeward_lab::{Lab, Site};
use leeward_model::keys::{CONFIG_MAP, CONFIG_MAP_MAPPING, CONFIG_MAP_SITE};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Writes configuration, mapping and credentials into the lab's folder and returns the configuration's path.
///
/// # Errors
/// A file cannot be written.
pub fn write(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.root().path();
    let credentials = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        lab.secrets().s3_access_key,
        lab.secrets().s3_secret_key
    );
    private(&folder.join("credentials"), &credentials)?;
    fs_err::write(folder.join("mapping.yaml"), mapping())?;
    let path = folder.join("leeward.yaml");
    fs_err::write(&path, config(lab)?)?;
    Ok(path)
}

fn private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    std::io::Write::write_all(&mut options.open(path)?, text.as_bytes())?;
    Ok(())
}

/// The site mapping of the lab.
#[must_use]
pub fn mapping() -> String {
    let side =
        |site: Site| format!("    {site}: {{ nfs: {{ server: {}, path: {} }} }}\n", site.address(), site.share());
    format!(
        "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - name: nas\n{}{}",
        side(Site::East),
        side(Site::West)
    )
}

/// What the plug-in of a Velero in `namespace` reads at a site.
#[must_use]
pub fn plugin_config(site: Site, namespace: &str, mapping: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": CONFIG_MAP},
        "data": {CONFIG_MAP_SITE: site.name(), CONFIG_MAP_MAPPING: mapping},
    })
}

fn config(lab: &Lab) -> Result<String> {
    let mut sites = String::new();
    let mut servers = String::new();
    for site in Site::ALL {
        sites.push_str(&format!("  {site}: {{ kubeconfig: {} }}\n", lab.kubeconfig(site).display()));
        servers.push_str(&format!(
            "      {site}:\n        server: {address}\n        export: {share}\n        path: {path}\n        control: {control}\n        \
             mover: {mover}\n",
            address = site.address(),
            share = site.share(),
            path = lab.export(site).display(),
            control = serde_json::to_string(&lab.ssh(site))?,
            mover = serde_json::to_string(&lab.mover(site))?,
        ));
    }
    Ok(format!(
        "apiVersion: leeward.io/v1alpha1\nkind: LeewardConfig\nsites:\n{sites}objectStore:\n  endpoint: http://10.77.0.3:8014\n  \
         bucket: leeward\n  prefix: leeward\n  veleroPrefix: velero\n  credentialsFile: credentials\nmapping: mapping.yaml\n\
         storage:\n  nfs:\n    sites:\n{servers}groups:\n  shop:\n    namespaces: [shop]\n    home: east\n    \
         priorities: {{ db: 1, web: 2 }}\n    confirm: guestAgent\n"
    ))
}
