//! Where the two sites' file servers are and how they are reached.
//!
//! ```yaml
//! sites:
//!   east:
//!     server: 10.77.0.1
//!     export: /export
//!     path: /srv/nfs/export
//!     control: [ssh, -o, BatchMode=yes, -o, ConnectTimeout=5, root@10.77.0.1]
//!     rsync: rsync://10.77.0.1/leeward
//!     ganesha: { config: /etc/ganesha/ganesha.conf, pidFile: /run/ganesha.pid, exportId: 1 }
//! ```

use crate::StorageError;
use leeward_model::{directory::Directory, name::SiteName, server::Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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

/// One site's file server: a Linux machine with GNU coreutils, findutils, `flock`, rsync and libnfs's `nfs-cp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NfsSite {
    /// The server as PersistentVolumes name it.
    pub server: String,
    /// The directory as exported, e.g. `/export`.
    pub export: String,
    /// The same directory on the file server itself; best on a file system with reflinks (XFS, btrfs), where a recovery
    /// point costs only what changed.
    pub path: PathBuf,
    /// The command that runs a program at the file server, e.g. `[ssh, -o, BatchMode=yes, root@10.77.0.1]`. `sh -s` is
    /// appended to it and the script is sent on stdin.
    pub control: Vec<String>,
    /// rsync daemon module that is the export's directory, writable, as the other site's file server reaches it, e.g.
    /// `rsync://10.77.0.2/leeward`.
    pub rsync: String,
    /// How to fence the site.
    pub ganesha: GaneshaControl,
}

/// How to make the export of an nfs-ganesha server read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GaneshaControl {
    /// The server's configuration file, on the file server.
    pub config: PathBuf,
    /// The server's pid file, on the file server.
    pub pid_file: PathBuf,
    /// `Export_Id` of the site's export in it.
    pub export_id: u16,
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
        Self { probe_seconds: 2, connect_seconds: 10, stall_seconds: 15, fence_seconds: 10 }
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
            let files = [
                ("path", &nfs.path),
                ("ganesha.config", &nfs.ganesha.config),
                ("ganesha.pidFile", &nfs.ganesha.pid_file),
            ];
            for (field, path) in files {
                let text = path.to_str().unwrap_or_default();
                if !text.starts_with('/') || text.chars().any(char::is_control) {
                    return wrong(field, "it must be an absolute path without control characters".to_owned());
                }
            }
            if nfs.control.is_empty() {
                return wrong("control", "it must be a command; [env] runs on this machine".to_owned());
            }
            if !nfs.rsync.starts_with("rsync://") || nfs.rsync.chars().any(char::is_control) {
                return wrong("rsync", "it must be rsync://server/module".to_owned());
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
            "rsync": "rsync://10.77.0.1/leeward",
            "ganesha": {"config": "/etc/ganesha.conf", "pidFile": "/run/ganesha.pid", "exportId": 1}
        }}})
    }

    #[test]
    fn times_have_defaults_and_unknown_fields_are_refused() {
        let config: StorageConfig = serde_json::from_value(good()).unwrap();
        config.check().unwrap();
        assert_eq!(config.timeouts.probe_seconds, 2);
        let mut wrong = good();
        wrong["sites"]["east"]["user"] = json!("root");
        assert!(serde_json::from_value::<StorageConfig>(wrong).is_err());
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
            ("rsync", json!("10.77.0.1::leeward")),
        ] {
            let mut wrong = good();
            wrong["sites"]["east"][pointer] = value;
            let error = serde_json::from_value::<StorageConfig>(wrong).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(&format!("sites.east.{pointer}")), "{error}");
        }
    }
}
