//! Where the two sites' file servers are and how they are reached.
//!
//! ```yaml
//! sites:
//!   east:
//!     server: 10.77.0.1
//!     export: /export
//!     path: /srv/nfs/export
//!     control: [ssh, -o, BatchMode=yes, -o, ConnectTimeout=5, root@10.77.0.1]
//!     mover: [leeward-mover, --config, /etc/leeward/mover.yaml]
//! ```

use crate::StorageError;
use leeward_model::{directory::Directory, name::SiteName, server::Server};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::{collections::BTreeMap, path::PathBuf};

/// The NFS adapter's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageConfig {
    /// Each site's file server.
    pub sites: BTreeMap<SiteName, NfsSite>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// One site's file server: a Linux machine with `leeward-mover`, GNU coreutils, findutils and libnfs's tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NfsSite {
    /// The server as PersistentVolumes name it.
    pub server: String,
    /// The directory as exported, e.g. `/export`.
    pub export: String,
    /// The same directory on the file server itself; best on a file system with reflinks (XFS, btrfs), where each recovery
    /// point is a plain copy that costs only what changed.
    pub path: PathBuf,
    /// The command that runs a program at the file server, e.g. `[ssh, -o, BatchMode=yes, root@10.77.0.1]`. `sh -s` is
    /// appended to it and the script is sent on stdin.
    pub control: Vec<String>,
    /// The command that is Leeward's mover at the file server. Its own configuration there is `/etc/leeward/mover.yaml`, unless
    /// the words say `--config` and another.
    #[serde(default = "mover")]
    pub mover: Vec<String>,
}

/// An entry as it may stand in a configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    server: String,
    export: String,
    path: PathBuf,
    control: Vec<String>,
    #[serde(default = "mover")]
    mover: Vec<String>,
    /// Where it was before the mover controlled the NFS server.
    #[serde(default, rename = "ganesha", deserialize_with = "moved")]
    _ganesha: (),
}

impl<'de> Deserialize<'de> for NfsSite {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { server, export, path, control, mover, .. } = Written::deserialize(from)?;
        Ok(Self { server, export, path, control, mover })
    }
}

/// Says where a section has gone.
fn moved<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom(
        "`ganesha` belongs into the mover's configuration at the file server now, /etc/leeward/mover.yaml: write there \
         `nfs: { url: nfs://SERVER/EXPORT, ganesha: {…} }` with this section, and remove it here",
    ))
}

fn mover() -> Vec<String> {
    vec!["leeward-mover".to_owned()]
}

/// How long to wait for what, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// For the first word of a site whose state is asked for. A lost site costs a failover this much.
    #[schemars(range(min = 1))]
    pub probe_seconds: u32,
    /// For the first word of a site that is told to do something.
    #[schemars(range(min = 1))]
    pub connect_seconds: u32,
    /// For the next sign of life of a site or a transfer at work.
    #[schemars(range(min = 5))]
    pub stall_seconds: u32,
    /// For a fence, or its removal, to take effect.
    #[schemars(range(min = 1))]
    pub fence_seconds: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { probe_seconds: 5, connect_seconds: 10, stall_seconds: 15, fence_seconds: 10 }
    }
}

impl StorageConfig {
    /// Whether every site's entry can be used.
    ///
    /// # Errors
    /// [`StorageError::InvalidConfig`] naming the first site and field that cannot.
    pub fn check(&self) -> Result<(), StorageError> {
        for (site, nfs) in &self.sites {
            let wrong = |field, reason: String| {
                Err(StorageError::InvalidConfig { field: format!("sites.{site}.{field}"), reason })
            };
            if let Err(error) = Server::parse(&nfs.server) {
                return wrong("server", error.to_string());
            }
            if let Err(error) = Directory::parse(&nfs.export) {
                return wrong("export", error.to_string());
            }
            let path = nfs.path.to_str().unwrap_or_default();
            if !path.starts_with('/') || path.chars().any(char::is_control) {
                return wrong("path", "it must be an absolute path without control characters".to_owned());
            }
            if nfs.control.is_empty() {
                return wrong("control", "it must be a command; [env] runs on this machine".to_owned());
            }
            if nfs.mover.first().is_none_or(String::is_empty) || nfs.mover.iter().any(|word| word.contains('\0')) {
                return wrong("mover", "it must be a command, e.g. [leeward-mover]".to_owned());
            }
        }
        let Timeouts { probe_seconds, connect_seconds, stall_seconds, fence_seconds } = self.timeouts;
        // A site at work gives a sign of life every two seconds.
        if probe_seconds == 0 || connect_seconds == 0 || fence_seconds == 0 || stall_seconds < 5 {
            let reason = "no time may be 0, and stallSeconds not less than 5".to_owned();
            return Err(StorageError::InvalidConfig { field: "timeouts".to_owned(), reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> serde_json::Value {
        json!({"sites": {"east": {
            "server": "10.77.0.1", "export": "/export", "path": "/srv/export", "control": ["ssh", "root@10.77.0.1"],
        }}})
    }

    #[test]
    fn times_have_defaults_and_unknown_fields_are_refused() {
        let config: StorageConfig = serde_json::from_value(good()).unwrap();
        config.check().unwrap();
        assert_eq!(config.timeouts.probe_seconds, 5);
        assert_eq!(config.sites.values().next().unwrap().mover, ["leeward-mover"]);
        let mut wrong = good();
        wrong["sites"]["east"]["user"] = json!("root");
        assert!(serde_json::from_value::<StorageConfig>(wrong).is_err());
        let mut moved = good();
        moved["sites"]["east"]["ganesha"] = json!({"config": "/c", "pidFile": "/p", "exportId": 1});
        let said = serde_json::from_value::<StorageConfig>(moved).unwrap_err().to_string();
        assert!(said.contains("/etc/leeward/mover.yaml"), "{said}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (pointer, value) in [
            ("server", json!("")),
            ("export", json!("export")),
            ("export", json!("/a/../b")),
            ("path", json!("relative")),
            ("path", json!("/a\nb")),
            ("control", json!([])),
            ("mover", json!([])),
            ("mover", json!(["", "x"])),
            ("mover", json!(["leeward-mover", "a\u{0}b"])),
        ] {
            let mut wrong = good();
            wrong["sites"]["east"][pointer] = value;
            let error = serde_json::from_value::<StorageConfig>(wrong).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(&format!("sites.east.{pointer}")), "{error}");
        }
    }
}
