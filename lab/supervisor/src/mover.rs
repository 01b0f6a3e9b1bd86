//! Leeward's mover at a site's file server: it takes recovery points from the other site's by mutual TLS, with certificates
//! of the lab only.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::ganesha::{self, EXPORT_ID};
use crate::inputs::Inputs;
use crate::place::Site;
use crate::process::{Probe, Process, Stage};
use crate::root::{Root, write_private};

/// Where the mover of a site takes points.
const PORT: u16 = 7443;
/// Where it tells its metrics, at its site's address.
const METRICS_PORT: u16 = 9443;

fn folder(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("mover")
}

/// The mover's configuration at a site's file server.
pub(crate) fn config_file(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("mover.yaml")
}

/// The DNS name in a site's certificate.
fn name(site: Site) -> String {
    format!("{site}.leeward")
}

/// The text of [`config_file`].
pub(crate) fn config(root: &Root, site: Site) -> String {
    let peer = site.other();
    format!(
        "site: {site}\nexport: {export}\nlisten: {address}:{PORT}\nmetrics: {address}:{METRICS_PORT}\n\
         tls: {{ cert: mover.crt, key: mover.key, ca: ca.crt }}\n\
         peers:\n  {peer}: {{ address: '{peer_address}:{PORT}', name: {peer_name} }}\n\
         nfs:\n  url: nfs://{address}{share}\n  ganesha: {{ config: {ganesha}, pidFile: {pid}, exportId: {EXPORT_ID} }}\n",
        export = root.export(site).display(),
        address = site.address(),
        peer_address = peer.address(),
        peer_name = name(peer),
        share = site.share(),
        ganesha = ganesha::config_file(root, site).display(),
        pid = ganesha::pid_file(root, site).display(),
    )
}

/// Writes both sites' configuration, and a certificate for each from one authority, whose key is kept nowhere.
pub(crate) fn prepare(root: &Root) -> Result<()> {
    let authority = authority()?;
    for site in Site::ALL {
        let folder = folder(root, site);
        fs_err::create_dir_all(&folder)?;
        let key = KeyPair::generate()?;
        let mut wanted = CertificateParams::new([name(site)])?;
        wanted.distinguished_name.push(DnType::CommonName, name(site));
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        fs_err::write(folder.join("mover.crt"), wanted.signed_by(&key, &authority)?.pem())?;
        write_private(&folder.join("mover.key"), key.serialize_pem().as_bytes())?;
        fs_err::write(folder.join("ca.crt"), authority.pem())?;
        fs_err::write(config_file(root, site), config(root, site))?;
    }
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "leeward-lab-movers");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// The mover.
pub(crate) fn process(root: &Root, inputs: &Inputs, site: Site) -> Process {
    Process::new("mover", site, Stage::Base, &inputs.mover, folder(root, site))
        .args(["serve".to_owned(), format!("--config={}", config_file(root, site).display())])
        .ready(Probe::Tcp((site.address(), PORT).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_a_site_names_the_other() {
        let text = config(&Root::at("/lab"), Site::West);
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["site"], "west");
        assert_eq!(read["export"], "/lab/west/export");
        assert_eq!(read["listen"], "10.77.0.2:7443");
        assert_eq!(read["peers"]["east"]["address"], "10.77.0.1:7443");
        assert_eq!(read["peers"]["east"]["name"], "east.leeward");
        assert_eq!(read["nfs"]["url"], "nfs://10.77.0.2/vault");
        assert_eq!(read["nfs"]["ganesha"]["config"], "/lab/west/ganesha/ganesha.conf");
        assert_eq!(read["nfs"]["ganesha"]["exportId"], 1);
    }

    #[test]
    fn only_the_owner_reads_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        prepare(&root).unwrap();
        for site in Site::ALL {
            let folder = super::folder(&root, site);
            let mode = fs_err::metadata(folder.join("mover.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
            let text = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap();
            assert_eq!(
                text("ca.crt"),
                fs_err::read_to_string(super::folder(&root, Site::East).join("ca.crt")).unwrap()
            );
            assert_ne!(text("ca.crt"), text("mover.crt"));
        }
    }
}
