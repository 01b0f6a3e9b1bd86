//! What a site's control plane needs on disk: certificates, tokens, keys and the kubeconfig.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::place::Site;
use crate::root::{Root, write_private};
use crate::secrets::Secrets;

/// The API server's port.
pub const API_PORT: u16 = 6443;

/// The folder of keys and certificates.
pub(crate) fn certs(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("certs")
}

/// Makes keys, certificates, the token file and the kubeconfig.
pub(crate) async fn prepare(root: &Root, site: Site, secrets: &Secrets) -> Result<()> {
    let folder = certs(root, site);
    fs_err::create_dir_all(&folder)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for key in ["ca.key", "server.key", "sa.key"] {
        root.run("openssl", [&["genpkey"], &curve[..], &["-out", &path(key)]].concat()).await?;
    }
    root.run("openssl", ["pkey", "-in", &path("sa.key"), "-pubout", "-out", &path("sa.pub")]).await?;
    let name = format!("/CN=leeward-lab-{site}-ca");
    root.run(
        "openssl",
        ["req", "-x509", "-new", "-key", &path("ca.key"), "-subj", &name, "-days", "30", "-out", &path("ca.crt")],
    )
    .await?;
    root.run(
        "openssl",
        ["req", "-new", "-key", &path("server.key"), "-subj", "/CN=server", "-out", &path("server.csr")],
    )
    .await?;
    fs_err::write(
        folder.join("server.ext"),
        // 10.96.0.1 is the service `kubernetes`; 127.0.0.1 is for whoever looks from inside.
        format!(
            "subjectAltName=IP:{},IP:10.96.0.1,IP:127.0.0.1,DNS:kubernetes.default.svc\n\
             extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n",
            site.address()
        ),
    )?;
    root.run(
        "openssl",
        [
            "x509",
            "-req",
            "-in",
            &path("server.csr"),
            "-CA",
            &path("ca.crt"),
            "-CAkey",
            &path("ca.key"),
            "-CAcreateserial",
            "-extfile",
            &path("server.ext"),
            "-days",
            "30",
            "-out",
            &path("server.crt"),
        ],
    )
    .await?;
    let tokens = format!("{},admin,1,system:masters\n", secrets.admin_token);
    write_private(&folder.join("tokens.csv"), tokens.as_bytes())?;
    // The certificate lies in the kubeconfig itself, so that a copy of the file works anywhere.
    let ca = root.run("openssl", ["base64", "-A", "-in", &path("ca.crt")]).await?;
    write_private(&root.kubeconfig(site), &serde_json::to_vec_pretty(&kubeconfig(site, ca.trim(), secrets))?)
}

/// The kubeconfig; JSON is YAML.
fn kubeconfig(site: Site, ca: &str, secrets: &Secrets) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": site.name(), "cluster": {
            "server": format!("https://{}:{API_PORT}", site.address()),
            "certificate-authority-data": ca,
        } }],
        "users": [{ "name": "admin", "user": { "token": secrets.admin_token } }],
        "contexts": [{ "name": site.name(), "context": { "cluster": site.name(), "user": "admin" } }],
        "current-context": site.name(),
    })
}
