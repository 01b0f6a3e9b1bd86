//! The way to a site's file server: sshd in the site's network, with keys of the lab only.

use std::path::PathBuf;

use anyhow::Result;

use crate::inputs::system;
use crate::place::Site;
use crate::process::{Probe, Process, Stage};
use crate::root::{Root, write_private};

/// The folder with the client's key, the known hosts and the client's configuration.
fn client(root: &Root) -> PathBuf {
    root.path().join("ssh")
}

/// The private key that opens both file servers.
pub fn key_file(root: &Root) -> PathBuf {
    client(root).join("id_ed25519")
}

/// The client's configuration: `ssh -F FILE east` is all that is needed.
pub fn client_config_file(root: &Root) -> PathBuf {
    client(root).join("config")
}

fn server(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("ssh")
}

/// The text of [`client_config_file`].
pub fn client_config(root: &Root) -> String {
    let mut text = String::new();
    for site in Site::ALL {
        text.push_str(&format!("Host {site} {address}\n  HostName {address}\n", address = site.address()));
    }
    text.push_str(&format!(
        "Host *\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  \
         GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  PasswordAuthentication no\n  BatchMode yes\n  \
         ConnectTimeout 3\n  ServerAliveInterval 2\n  ServerAliveCountMax 3\n  LogLevel ERROR\n",
        key = key_file(root).display(),
        known = client(root).join("known_hosts").display(),
    ));
    text
}

/// The text of the server's configuration.
pub fn server_config(root: &Root, site: Site) -> String {
    // No PAM: a session of the host's login system is none of the lab's business, and costs half a second each.
    format!(
        "ListenAddress {address}:22\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\nPidFile none\nUsePAM no\n\
         StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nUseDNS no\nPrintMotd no\nMaxStartups 100\nMaxSessions 100\n\
         ClientAliveInterval 5\nClientAliveCountMax 3\n",
        address = site.address(),
        host_key = server(root, site).join("host_ed25519").display(),
        authorized = client(root).join("id_ed25519.pub").display(),
    )
}

/// Makes the client's key and configuration, once for both sites.
pub(crate) async fn prepare_client(root: &Root) -> Result<()> {
    fs_err::create_dir_all(client(root))?;
    if !key_file(root).exists() {
        keygen(root, key_file(root)).await?;
    }
    let mut known = String::new();
    for site in Site::ALL {
        fs_err::create_dir_all(server(root, site))?;
        let key = server(root, site).join("host_ed25519");
        if !key.exists() {
            keygen(root, key.clone()).await?;
        }
        let public = fs_err::read_to_string(key.with_extension("pub"))?;
        known.push_str(&format!("{} {public}", site.address()));
        fs_err::write(server(root, site).join("sshd_config"), server_config(root, site))?;
    }
    fs_err::write(client(root).join("known_hosts"), known)?;
    write_private(&client_config_file(root), client_config(root).as_bytes())
}

async fn keygen(root: &Root, path: PathBuf) -> Result<()> {
    root.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "leeward-lab", "-f", &path.display().to_string()])
        .await?;
    Ok(())
}

/// sshd.
pub(crate) fn process(root: &Root, site: Site) -> Process {
    let config = server(root, site).join("sshd_config");
    let mut process = Process::new("sshd", site, Stage::Base, &system("sshd"), server(root, site))
        .args(["-D", "-e", "-f"])
        .args([config.display().to_string()])
        .ready(Probe::Tcp((site.address(), 22).into()));
    // It insists on /run/sshd.
    process.private_run = Some(root.place(site).join("run"));
    process
}

/// sshd's privileged folder.
pub(crate) fn prepare(root: &Root, site: Site) -> Result<()> {
    fs_err::create_dir_all(root.place(site).join("run/sshd"))?;
    Ok(())
}
