//! Fencing a site by making its export read-only, and proving it by a write over NFS.
//!
//! Laws: a proof is a write that the NFS server refused because the file system is read-only, in the server's words; any
//! other failure proves nothing. A probe that succeeds has left its word in the export's folder, so it cannot have gone to
//! another export. The configuration is written before the server is told, so that a server that starts again stays fenced.

use super::{
    NfsAdapter,
    ganesha::{GaneshaError, read_only, read_write},
    place::About,
    remote::{Failure, Pace, Remote},
};
use crate::{Access, FenceProof, StorageError, StorageStatus};
use leeward_model::name::SiteName;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const PROBE: &str = include_str!("scripts/probe.sh");
const SERVER_READ: &str = include_str!("scripts/server-read.sh");
const SERVER_WRITE: &str = include_str!("scripts/server-write.sh");

/// Between two probes while waiting for the server to follow its configuration. It tells nobody when it has.
const BETWEEN_PROBES: Duration = Duration::from_millis(200);
/// How often an edit is begun again because somebody else changed the file meanwhile.
const EDITS: u32 = 5;

/// What a probe came to.
struct Probe {
    access: Access,
    /// What the server, or the tool, said.
    answer: String,
    free: u64,
}

impl NfsAdapter {
    async fn probe(&self, remote: Remote<'_>) -> Result<Probe, StorageError> {
        let url = export_url(remote);
        let word = format!("{}-{}", remote.site, jiff::Timestamp::now().as_nanosecond());
        let seconds = self.timeouts().probe_seconds.to_string();
        let words = [remote.top(), &url, &word, &seconds];
        let output = remote
            .run("probing the NFS server", Pace::Probe, PROBE, &words)
            .await
            .map_err(|failure| self.server_error(remote, failure))?;
        let text = String::from_utf8_lossy(&output);
        let mut parts = text.split('\0');
        let (found, answer) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let answer: Vec<&str> = answer.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let answer = answer.join("; ");
        let free = parts.next().and_then(|free| free.trim().parse().ok()).unwrap_or(0);
        let (access, answer) = match found {
            "written" => (Access::Rw, "a write succeeded".to_owned()),
            "elsewhere" => {
                let what =
                    format!("a write to {url} succeeded, but not in {}: another folder is exported", remote.top());
                (Access::Unknown, what)
            }
            _ if answer.contains("ROFS") => (Access::Ro, answer),
            _ if answer.is_empty() => (Access::Unknown, format!("no answer within {seconds} s")),
            _ => (Access::Unknown, answer),
        };
        Ok(Probe { access, answer, free })
    }

    pub(super) async fn site_status(&self, site: &SiteName) -> Result<StorageStatus, StorageError> {
        match self.probe(self.remote(site)?).await {
            Ok(Probe { access, answer, free }) => Ok(StorageStatus {
                reachable: true,
                access,
                free_bytes: free,
                detail: (access == Access::Unknown).then_some(answer),
            }),
            Err(StorageError::Unreachable { reason, .. }) => {
                Ok(StorageStatus { reachable: false, access: Access::Unknown, free_bytes: 0, detail: Some(reason) })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn probe_fenced(&self, site: &SiteName) -> Result<bool, StorageError> {
        let Probe { access, answer, .. } = self.probe(self.remote(site)?).await?;
        match access {
            Access::Ro => Ok(true),
            Access::Rw => Ok(false),
            Access::Unknown => Err(StorageError::ProbeInconclusive { site: site.clone(), last: answer }),
        }
    }

    pub(super) async fn fence_site(&self, site: &SiteName) -> Result<FenceProof, StorageError> {
        let remote = self.remote(site)?;
        // A probe that cannot succeed cannot prove anything by failing.
        let before = self.probe(remote).await?;
        let sound = before.access != Access::Unknown;
        self.edit_server(remote, read_only).await?;
        let seconds = u64::from(self.timeouts().fence_seconds);
        let (refused, last) = self.wait_for(remote, Access::Ro).await?;
        if refused {
            return Ok(FenceProof { refused_by: last, at: jiff::Timestamp::now() });
        }
        let last = if sound { last } else { format!("{last} (and before the fence: {})", before.answer) };
        Err(StorageError::FenceUnproven { site: site.clone(), seconds, last })
    }

    pub(super) async fn unfence_site(&self, site: &SiteName) -> Result<(), StorageError> {
        let remote = self.remote(site)?;
        self.edit_server(remote, read_write).await?;
        let seconds = u64::from(self.timeouts().fence_seconds);
        match self.wait_for(remote, Access::Rw).await? {
            (true, _) => Ok(()),
            (false, last) => Err(StorageError::UnfenceUnproven { site: site.clone(), seconds, last }),
        }
    }

    /// Probes until the answer is `wanted` or the fence deadline is over: whether it was, and the last answer.
    async fn wait_for(&self, remote: Remote<'_>, wanted: Access) -> Result<(bool, String), StorageError> {
        let deadline = Instant::now() + Duration::from_secs(u64::from(self.timeouts().fence_seconds));
        loop {
            let probe = self.probe(remote).await?;
            if probe.access == wanted {
                return Ok((true, probe.answer));
            }
            if Instant::now() >= deadline {
                return Ok((false, probe.answer));
            }
            sleep(BETWEEN_PROBES).await;
        }
    }

    /// Changes the server's configuration, and makes the server read it, also when it already said so.
    async fn edit_server(
        &self,
        remote: Remote<'_>,
        edit: fn(&str, u16) -> Result<String, GaneshaError>,
    ) -> Result<(), StorageError> {
        let ganesha = &remote.nfs.ganesha;
        // Checked when the configuration was.
        let config = ganesha.config.to_str().unwrap_or_default();
        let pid_file = ganesha.pid_file.to_str().unwrap_or_default();
        let wrong =
            |reason: String| StorageError::ServerConfig { site: remote.site.clone(), path: config.to_owned(), reason };
        for _ in 0..EDITS {
            let read = remote.run("reading the NFS server's configuration", Pace::Probe, SERVER_READ, &[config]).await;
            let read = String::from_utf8(read.map_err(|failure| self.server_error(remote, failure))?)
                .map_err(|_| wrong("it is not UTF-8".to_owned()))?;
            let mut parts = read.split('\0');
            let (text, sha256) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let edited = edit(text, ganesha.export_id).map_err(|error| wrong(error.to_string()))?;
            let words = [remote.top(), config, sha256, &edited, pid_file];
            match remote.run("changing the NFS server's configuration", Pace::Work, SERVER_WRITE, &words).await {
                Ok(_) => return Ok(()),
                Err(Failure::Said(words)) if words.first().is_some_and(|word| word == "changed") => {}
                Err(failure) => return Err(self.server_error(remote, failure)),
            }
        }
        Err(wrong("somebody else keeps changing it".to_owned()))
    }

    fn server_error(&self, remote: Remote<'_>, failure: Failure) -> StorageError {
        let path = remote.nfs.ganesha.config.to_string_lossy().into_owned();
        let site = remote.site.clone();
        if let Failure::Said(words) = &failure {
            let reason = match words.first().map(String::as_str) {
                Some("no-config") => Some("it is not there; correct ganesha.config".to_owned()),
                Some("no-server") => {
                    let what = words.get(1).map(String::as_str).unwrap_or_default();
                    Some(format!("the change is written, but the server was not told ({what}); start it, then repeat"))
                }
                _ => None,
            };
            if let Some(reason) = reason {
                return StorageError::ServerConfig { site, path, reason };
            }
        }
        About { remote, group: "server", key: "", doing: "controlling the NFS server" }.error(failure)
    }
}

/// The export as libnfs's tools take it.
pub(super) fn export_url(remote: Remote<'_>) -> String {
    format!("nfs://{}{}", bracketed(&remote.nfs.server), remote.nfs.export.trim_end_matches('/'))
}

/// An IPv6 address as URLs take it.
fn bracketed(server: &str) -> String {
    if server.contains(':') && !server.starts_with('[') { format!("[{server}]") } else { server.to_owned() }
}
