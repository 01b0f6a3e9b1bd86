//! The configuration of a file server: one file for all verbs there.
//!
//! ```yaml
//! site: east
//! export: /srv/nfs/export            # points are below it in .leeward/points
//! listen: 10.77.0.1:7443             # only `serve` needs it
//! metrics: 127.0.0.1:9443            # optional: Prometheus text
//! tls: { cert: mover.crt, key: mover.key, ca: ca.crt }   # needed with peers; read again when they change
//! peers:
//!   west: { address: 10.77.0.2:7443, name: west.leeward }
//! limits: { bytesPerSecond: 0 }      # for each link; 0: none
//! keep: 3                            # optional: whole points kept of each group, where no operator removes them
//! nfs:                               # optional: the export's server, for `fence`, `unfence` and `status`
//!   url: nfs://10.77.0.1/export
//!   ganesha: { config: /etc/ganesha/ganesha.conf, pidFile: /run/ganesha.pid, exportId: 1 }
//!   # or kernel: { exports: /etc/exports.d/leeward.exports }
//! ```
//!
//! Paths are relative to the file's own folder.

use leeward_model::name::SiteName;
use rustls::pki_types::DnsName;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

mod nfs;

pub use nfs::{ExportUrl, Ganesha, Kernel, Nfs, Server};

/// What a file server's mover knows about itself and its peers. All paths in it are resolved.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The site that the file server belongs to.
    pub site: SiteName,
    /// The export's folder on this machine.
    pub export: PathBuf,
    /// Where `serve` listens for peers.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// Where metrics are served, as Prometheus text over HTTP.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Who this mover is, and whose word it takes for who others are.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// The movers that may connect, and that may be connected to.
    #[serde(default)]
    pub peers: BTreeMap<SiteName, Peer>,
    /// What a link may be used for.
    #[serde(default)]
    pub limits: Limits,
    /// Whole points kept of each group. Without it the mover removes none: an operator removes them itself, and has to know
    /// of it.
    #[serde(default)]
    pub keep: Option<NonZeroU32>,
    /// The export's NFS server.
    #[serde(default)]
    pub nfs: Option<Nfs>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// This mover's certificate, and those between it and the authority's.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of the authorities that peers' certificates come from.
    pub ca: PathBuf,
}

/// Another site's mover.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Where it listens.
    pub address: Address,
    /// The DNS name that is in its certificate.
    pub name: PeerName,
}

/// What a link may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Bytes that are sent in a second; 0: as many as go.
    #[serde(default)]
    bytes_per_second: u64,
}

impl Limits {
    /// Bytes that are sent in a second, if that is limited.
    #[must_use]
    pub fn bytes_per_second(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.bytes_per_second)
    }
}

/// A host, by name or number, and its TCP port: `west.example.org:7443`, `10.0.0.2:7443`, `[fd00::2]:7443`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(String);

impl Address {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let host_and_port = || {
            let (host, port) = text.rsplit_once(':')?;
            let port: u16 = port.parse().ok()?;
            let named = DnsName::try_from(host).is_ok();
            (port > 0 && (named || text.parse::<SocketAddr>().is_ok())).then_some(())
        };
        match host_and_port() {
            Some(()) => Ok(Self(text)),
            None => Err(format!("{text:?} is no address: write HOST:PORT, e.g. 10.0.0.2:7443")),
        }
    }
}

/// The DNS name that a mover's certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PeerName(DnsName<'static>);

impl PeerName {
    /// For the check of a certificate.
    #[must_use]
    pub fn dns(&self) -> &DnsName<'static> {
        &self.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref())
    }
}

impl TryFrom<String> for PeerName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let named = DnsName::try_from(text.clone());
        named.map(Self).map_err(|_| format!("{text:?} is no DNS name: write the one that is in the peer's certificate"))
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read; name the mover's configuration with --config [LW-0731]", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It has not the right form.
    #[error("{path}: {message} [LW-0732]", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A field cannot be so.
    #[error("{path}: {field}: {problem} [LW-0733]", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file and the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = serde_saphyr::from_str(text).map_err(|error| ConfigError::Form {
            path: path.to_owned(),
            message: error.without_snippet().to_string(),
        })?;
        config.check().map_err(|(field, problem)| ConfigError::Value { path: path.to_owned(), field, problem })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.tls.is_none() && (self.listen.is_some() || !self.peers.is_empty()) {
            return Err(("tls".to_owned(), "is missing; peers are only spoken to by mutual TLS".to_owned()));
        }
        if let Some(nfs) = &self.nfs {
            nfs.check()?;
        }
        if self.peers.contains_key(&self.site) {
            return Err((format!("peers.{}", self.site), "is this site itself".to_owned()));
        }
        let mut names = HashMap::new();
        for (site, peer) in &self.peers {
            if let Some(other) = names.insert(&peer.name, site) {
                let problem = format!("{} is the name of {other} too; who connects could be either", peer.name);
                return Err((format!("peers.{site}.name"), problem));
            }
        }
        Ok(())
    }

    fn resolve(&mut self, folder: &Path) {
        self.export = folder.join(&self.export);
        if let Some(tls) = &mut self.tls {
            for file in [&mut tls.cert, &mut tls.key, &mut tls.ca] {
                *file = folder.join(&*file);
            }
        }
        if let Some(nfs) = &mut self.nfs {
            nfs.resolve(folder, &self.export);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "
site: east
export: /srv/nfs/export
listen: 10.77.0.1:7443
metrics: 127.0.0.1:9443
tls: { cert: mover.crt, key: secret/mover.key, ca: /etc/ca.crt }
peers:
  west: { address: 10.77.0.2:7443, name: west.leeward }
limits: { bytesPerSecond: 1000 }
keep: 5
nfs: { url: 'nfs://10.77.0.1/export', kernel: { exports: /etc/exports } }
";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/leeward/mover.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn all_fields_and_the_least() {
        let full = parse(FULL).unwrap();
        let west = &full.peers[&SiteName::parse("west").unwrap()];
        assert_eq!((west.address.as_str(), west.name.to_string().as_str()), ("10.77.0.2:7443", "west.leeward"));
        let Some(Nfs { server: Server::Kernel(kernel), .. }) = &full.nfs else { panic!("{:?}", full.nfs) };
        assert_eq!(kernel.path, Path::new("/srv/nfs/export"));
        assert_eq!(full.tls.unwrap().key, Path::new("/etc/leeward/secret/mover.key"));
        assert_eq!((full.limits.bytes_per_second(), full.keep), (NonZeroU64::new(1000), NonZeroU32::new(5)));
        let least = parse("{site: east, export: data}").unwrap();
        assert_eq!(least.export, Path::new("/etc/leeward/data"));
        assert_eq!((least.limits.bytes_per_second(), least.keep, least.listen), (None, None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, says) in [
            ("keep: 5", "keep: 0", "LW-0732"),
            ("keep: 5", "kept: 5", "kept"),
            ("site: east", "site: East", "LW-0732"),
            ("site: east", "site: west", "peers.west: is this site itself"),
            ("10.77.0.2:7443", "10.77.0.2", "is no address"),
            ("10.77.0.2:7443", "west:0", "is no address"),
            ("10.77.0.2:7443", "a b:7443", "is no address"),
            ("name: west.leeward", "name: 'west leeward'", "is no DNS name"),
            ("name: west.leeward }", "name: n.l }\n  south: { address: 's:1', name: N.l }", "is the name of"),
            ("tls: { cert: mover.crt, key: secret/mover.key, ca: /etc/ca.crt }", "", "tls: is missing"),
            ("listen: 10.77.0.1:7443", "listen: 7443", "LW-0732"),
            ("{ exports: /etc/exports }", "{ exports: /etc/passwd }", "LW-0733"),
            ("kernel: { exports: /etc/exports }", "", "LW-0732"),
        ] {
            let text = FULL.replace(from, to);
            assert_ne!(text, FULL, "{from}");
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says) && error.starts_with("/etc/leeward/mover.yaml"), "{to}: {error}");
        }
        assert!(Config::read(Path::new("/nowhere/mover.yaml")).unwrap_err().to_string().contains("LW-0731"));
    }

    #[test]
    fn hosts_have_names_or_numbers() {
        for good in ["west:7443", "west.example.org:1", "10.0.0.2:7443", "[fd00::2]:7443"] {
            assert_eq!(Address::try_from(good.to_owned()).unwrap().as_str(), good);
        }
        for bad in ["", ":1", "west", "fd00::2", "fd00::2:x", "west:70000"] {
            assert!(Address::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
