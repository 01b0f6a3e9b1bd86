//! Where a volume's folder is in an export, and what its failures mean.

use super::remote::{Failure, Remote};
use crate::StorageError;
use leeward_model::{address::VolumeAddress, directory::Directory, server::Server};

/// Leeward's own folder in each export.
pub(super) const OWN: &str = ".leeward";

/// A volume's folder, relative to the export: never empty, no `.` or `..` parts, never in Leeward's own folder.
///
/// # Errors
/// [`StorageError::ForeignAddress`] if it is elsewhere; [`StorageError::UnsafePath`] for the export itself or a path that
/// climbs.
pub(super) fn place(remote: Remote<'_>, key: &str, address: &VolumeAddress) -> Result<String, StorageError> {
    let nfs = remote.nfs;
    let foreign = || StorageError::ForeignAddress {
        site: remote.site.clone(),
        volume: key.to_owned(),
        address: address.to_string(),
        expected: format!("nfs://{}{}/…", nfs.server, nfs.export),
    };
    let location = address.nfs().ok_or_else(foreign)?;
    let same_server = match (Server::parse(&nfs.server), Server::parse(&location.server)) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        _ => false,
    };
    let unsafe_path = |reason: String| StorageError::UnsafePath {
        site: remote.site.clone(),
        volume: key.to_owned(),
        path: location.directory.clone(),
        reason,
    };
    let export = Directory::parse(&nfs.export).map_err(|error| StorageError::InvalidConfig {
        field: format!("sites.{}.export", remote.site),
        reason: error.to_string(),
    })?;
    let directory = Directory::parse(&location.directory).map_err(|error| unsafe_path(error.to_string()))?;
    let below = directory.below(&export).filter(|_| same_server);
    let below = below.ok_or_else(foreign)?;
    match below.split('/').next() {
        Some("") | None => Err(unsafe_path("it is the whole export".to_owned())),
        Some(OWN) => Err(unsafe_path("it is Leeward's own".to_owned())),
        Some(_) => Ok(below.to_owned()),
    }
}

/// What a script or verb was about, to say in an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) remote: Remote<'a>,
    /// The group, or what else is done by one at a time.
    pub(super) group: &'a str,
    pub(super) key: &'a str,
    pub(super) doing: &'static str,
}

impl About<'_> {
    /// The failure of a script as an error.
    pub(super) fn error(&self, failure: Failure) -> StorageError {
        let site = self.remote.site.clone();
        let words = match failure {
            Failure::Unreachable(error) => return error,
            Failure::Died { talk, .. } if is_full(&talk) => {
                return StorageError::Full { site, doing: self.doing, needed: 0, free: 0 };
            }
            Failure::Died { code, talk, .. } => {
                let code = code.map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
                return StorageError::Remote { site, doing: self.doing, reason: format!("{code}: {talk}") };
            }
            Failure::Said(words) => words,
        };
        let word = |at: usize| words.get(at).cloned().unwrap_or_default();
        let volume = self.key.to_owned();
        match words.first().map(String::as_str) {
            Some("unsafe") => StorageError::UnsafePath { site, volume, path: word(1), reason: word(2) },
            Some("no-export") => StorageError::InvalidConfig {
                field: format!("sites.{site}.path"),
                reason: format!("{:?} is not a folder on the file server", word(1)),
            },
            Some("nul") => StorageError::BadRequest { key: volume, reason: "holds a NUL character".into() },
            _ => StorageError::Remote { site, doing: self.doing, reason: words.join(" ") },
        }
    }
}

/// Whether a tool's last words mean that there is no space left.
fn is_full(talk: &str) -> bool {
    talk.contains("No space left on device") || talk.contains("Disk quota exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfs::config::{NfsSite, Timeouts};
    use leeward_model::name::SiteName;
    use serde_json::json;

    fn placed(export: &str, server: &str, path: &str) -> Result<String, StorageError> {
        let nfs = NfsSite {
            server: "10.77.0.1".into(),
            export: export.into(),
            path: "/srv".into(),
            control: vec!["env".into()],
            mover: vec!["leeward-mover".into()],
        };
        let site = SiteName::parse("east").unwrap();
        let remote = Remote { site: &site, nfs: &nfs, timeouts: Timeouts::default() };
        let pv = json!({"metadata": {"name": "a"}, "spec": {"nfs": {"server": server, "path": path}}});
        place(remote, "a", &VolumeAddress::from_pv(&pv).unwrap())
    }

    #[test]
    fn a_volume_is_a_folder_in_the_export() {
        assert_eq!(placed("/export", "10.77.0.1", "/export/web disk/$(x)").unwrap(), "web disk/$(x)");
        assert_eq!(placed("/export/", "10.77.0.1", "/export//a/").unwrap(), "a");
        assert_eq!(placed("/", "10.77.0.1", "/a/b").unwrap(), "a/b");
    }

    #[test]
    fn elsewhere_is_refused() {
        for (export, server, path) in [
            ("/export", "10.77.0.2", "/export/a"),
            ("/export", "10.77.0.1", "/exports/a"),
            ("/export", "10.77.0.1", "/a"),
        ] {
            let refused = placed(export, server, path);
            assert!(matches!(refused, Err(StorageError::ForeignAddress { .. })), "{refused:?}");
        }
        for path in ["/export", "/export/", "/export/.leeward", "/export/.leeward/points/shop"] {
            let refused = placed("/export", "10.77.0.1", path);
            assert!(matches!(refused, Err(StorageError::UnsafePath { .. })), "{refused:?}");
        }
    }
}
