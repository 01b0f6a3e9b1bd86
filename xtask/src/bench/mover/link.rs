//! What two movers need to speak to each other: certificates, configurations, and the one that receives, running.

use super::free_port;
use super::subject::Mover;
use super::wait_for_port;
use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The mover of west, serving until it is dropped.
pub(super) struct Server {
    child: Child,
    files: tempfile::TempDir,
}

impl Server {
    /// Certifies both sites and starts west's mover.
    pub(super) fn start(mover: &Mover) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let port = free_port()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let pem = authority.self_signed(&key)?.pem();
        let issuer = Issuer::new(authority, key);
        for (site, export, peer) in [("east", &mover.east, "west"), ("west", &mover.west, "east")] {
            let folder = files.path().join(site);
            fs_err::create_dir(&folder)?;
            certify(&folder, site, &issuer)?;
            fs_err::write(folder.join("ca.crt"), &pem)?;
            let address = format!("127.0.0.1:{port}");
            let config = json!({
                "site": site, "export": export, "listen": address, "keep": 3,
                "tls": {"cert": "mover.crt", "key": "mover.key", "ca": "ca.crt"},
                "peers": {peer: {"address": address, "name": format!("{peer}.leeward")}},
            });
            // JSON is YAML.
            fs_err::write(folder.join("mover.yaml"), config.to_string())?;
        }
        let log = fs_err::File::create(files.path().join("serve.log"))?.into_file();
        let mut command = Command::new(&mover.program);
        command.arg("serve").arg("--config").arg(files.path().join("west/mover.yaml"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("serve")?;
        let server = Self { child, files };
        wait_for_port(port).with_context(|| server.said())?;
        Ok(server)
    }

    /// East's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.files.path().join("east/mover.yaml")
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.files.path().join("serve.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = kill_process(self.pid(), Signal::TERM);
        drop(self.child.wait());
    }
}

fn certify(folder: &Path, site: &str, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let mut params = CertificateParams::new(vec![format!("{site}.leeward")])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    fs_err::write(folder.join("mover.crt"), params.signed_by(&key, issuer)?.pem())?;
    Ok(fs_err::write(folder.join("mover.key"), key.serialize_pem())?)
}
