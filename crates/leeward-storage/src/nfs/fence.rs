//! Fencing a site: its file server's mover makes the export read-only, and proves it by a write over NFS.
//!
//! Law: what proves a fence is the mover's to know ([`leeward_model::mover`]); here nothing but its word for a refused write counts.

use super::{
    NfsAdapter,
    mover::{Undone, ask_at},
    place::About,
    remote::{Pace, Remote},
};
use crate::{Access, FenceProof, StorageError, StorageStatus};
use leeward_model::{
    mover::{Fenced, Look, Patience, Refusal, RefusalKind, Standing},
    name::SiteName,
};

/// The mover's errors of a server that is not seen to do what it was told.
const UNPROVEN: &str = "LW-0769";
const NOT_LIFTED: &str = "LW-0770";
/// Those of a server that cannot be told: it is not known, or not as it must be.
const NO_SERVER: [&str; 3] = ["LW-0766", "LW-0767", "LW-0768"];

impl NfsAdapter {
    async fn look(&self, remote: Remote<'_>) -> Result<Standing, StorageError> {
        let about = about(remote, "probing the NFS server");
        let look = Look { probe_seconds: self.timeouts().probe_seconds, newest: false };
        ask_at(Pace::Probe, about, "status", &look).await.map_err(|undone| self.undone(about, undone))
    }

    fn patience(&self) -> Patience {
        let timeouts = self.timeouts();
        Patience { seconds: timeouts.fence_seconds, probe_seconds: timeouts.probe_seconds }
    }

    pub(super) async fn site_status(&self, site: &SiteName) -> Result<StorageStatus, StorageError> {
        match self.look(self.remote(site)?).await {
            Ok(Standing { access, answer, free_bytes, .. }) => {
                let detail = (access == Access::Unknown).then_some(answer);
                Ok(StorageStatus { reachable: true, access, free_bytes, detail })
            }
            Err(StorageError::Unreachable { reason, .. }) => {
                Ok(StorageStatus { reachable: false, access: Access::Unknown, free_bytes: 0, detail: Some(reason) })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn probe_fenced(&self, site: &SiteName) -> Result<bool, StorageError> {
        let Standing { access, answer, .. } = self.look(self.remote(site)?).await?;
        match access {
            Access::Ro => Ok(true),
            Access::Rw => Ok(false),
            Access::Unknown => Err(StorageError::ProbeInconclusive { site: site.clone(), last: answer }),
        }
    }

    pub(super) async fn fence_site(&self, site: &SiteName) -> Result<FenceProof, StorageError> {
        let about = about(self.remote(site)?, "fencing");
        let fenced = ask_at(Pace::Fence, about, "fence", &self.patience()).await;
        let Fenced { refused_by, at } = fenced.map_err(|undone| self.undone(about, undone))?;
        Ok(FenceProof { refused_by, at })
    }

    pub(super) async fn unfence_site(&self, site: &SiteName) -> Result<(), StorageError> {
        let about = about(self.remote(site)?, "taking the fence away");
        let lifted = ask_at(Pace::Fence, about, "unfence", &self.patience()).await;
        lifted.map_err(|undone| self.undone(about, undone))
    }

    fn undone(&self, about: About<'_>, undone: Undone) -> StorageError {
        let site = about.remote.site.clone();
        let seconds = u64::from(self.timeouts().fence_seconds);
        match undone {
            Undone::Failed(error) => error,
            Undone::Refused(Refusal { kind: RefusalKind::Busy, .. }) => {
                StorageError::Busy { site, group: about.group.to_owned() }
            }
            Undone::Refused(Refusal { code, text, .. }) => match code.as_str() {
                UNPROVEN => StorageError::FenceUnproven { site, seconds, last: text },
                NOT_LIFTED => StorageError::UnfenceUnproven { site, seconds, last: text },
                code if NO_SERVER.contains(&code) => StorageError::ServerConfig { site, reason: text },
                _ => StorageError::Remote { site, doing: about.doing, reason: text },
            },
        }
    }
}

fn about<'a>(remote: Remote<'a>, doing: &'static str) -> About<'a> {
    About { remote, group: "server", key: "", doing }
}

/// The export as libnfs's tools take it.
pub(super) fn export_url(remote: Remote<'_>) -> String {
    format!("nfs://{}{}", bracketed(&remote.nfs.server), remote.nfs.export.trim_end_matches('/'))
}

/// An IPv6 address as URLs take it.
fn bracketed(server: &str) -> String {
    if server.contains(':') && !server.starts_with('[') { format!("[{server}]") } else { server.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfs::config::{NfsSite, StorageConfig, Timeouts};
    use serde_json::{Value, json};

    /// An adapter whose mover is this shell script; `$1` is the verb.
    fn adapter(control: &[&str], script: &str) -> (NfsAdapter, SiteName) {
        let nfs = NfsSite {
            server: "127.0.0.1".into(),
            export: "/export".into(),
            path: "/srv/export".into(),
            control: control.iter().map(|&word| word.to_owned()).collect(),
            mover: ["sh", "-c", script, "mover"].map(str::to_owned).to_vec(),
        };
        let site = SiteName::parse("east").unwrap();
        let timeouts = Timeouts { probe_seconds: 1, connect_seconds: 5, stall_seconds: 5, fence_seconds: 4 };
        (NfsAdapter::new(StorageConfig { sites: [(site.clone(), nfs)].into(), timeouts }).unwrap(), site)
    }

    fn says(answer: &Value) -> (NfsAdapter, SiteName) {
        adapter(&["env"], &format!("cat >/dev/null; printf '%s' '{answer}'"))
    }

    fn refuses(kind: &str, code: &str) -> (NfsAdapter, SiteName) {
        let refusal = json!({"error": {"kind": kind, "code": code, "text": "so it is"}});
        adapter(&["env"], &format!("cat >/dev/null; printf '%s' '{refusal}'; exit 1"))
    }

    #[tokio::test]
    async fn what_the_mover_saw_is_what_is_known() {
        let standing = |access: &str| json!({"access": access, "answer": "so", "freeBytes": 7});
        for (access, fenced) in [("rw", false), ("ro", true)] {
            let (adapter, site) = says(&standing(access));
            assert_eq!(adapter.probe_fenced(&site).await.unwrap(), fenced);
            let status = adapter.site_status(&site).await.unwrap();
            assert_eq!((status.reachable, status.free_bytes, status.detail), (true, 7, None));
        }
        let (adapter, site) = says(&standing("unknown"));
        let unknown = adapter.probe_fenced(&site).await;
        assert!(matches!(unknown, Err(StorageError::ProbeInconclusive { last, .. }) if last == "so"));
        assert_eq!(adapter.site_status(&site).await.unwrap().detail.as_deref(), Some("so"));
        let (adapter, site) = says(&json!({"refusedBy": "NFSv3: ROFS", "at": "2026-01-02T03:04:05Z"}));
        assert_eq!(adapter.fence_site(&site).await.unwrap().refused_by, "NFSv3: ROFS");
        let (adapter, site) = says(&Value::Null);
        adapter.unfence_site(&site).await.unwrap();
        assert!(matches!(adapter.fence_site(&site).await, Err(StorageError::Remote { .. })), "no proof is no fence");
    }

    #[tokio::test]
    async fn the_mover_is_told_how_long_it_may_take() {
        let (adapter, site) = adapter(&["env"], r#"printf '"%s %s"' "$1" "$(cat | tr -d '"{}')""#);
        let said = |error: StorageError| error.to_string();
        let told = said(adapter.unfence_site(&site).await.unwrap_err());
        assert!(told.contains("unfence seconds:4,probeSeconds:1"), "{told}");
    }

    #[tokio::test]
    async fn every_refusal_has_its_error() {
        for (kind, code, expected) in [
            ("request", "LW-0766", "LW-0319"),
            ("differs", "LW-0767", "LW-0319"),
            ("failed", "LW-0768", "LW-0319"),
            ("failed", "LW-0769", "LW-0317"),
            ("failed", "LW-0770", "LW-0318"),
            ("failed", "LW-0771", "LW-0303"),
            ("busy", "LW-0773", "LW-0320"),
        ] {
            let (adapter, site) = refuses(kind, code);
            for said in [adapter.fence_site(&site).await.map(drop), adapter.unfence_site(&site).await] {
                let said = said.unwrap_err().to_string();
                assert!(said.contains(expected) && (kind == "busy" || said.contains("so it is")), "{code}: {said}");
            }
        }
    }

    #[tokio::test]
    async fn a_lost_site_is_not_waited_for() {
        let (adapter, site) = adapter(&["sh", "-c", "exec sleep 60"], ":");
        let began = std::time::Instant::now();
        assert!(adapter.fence_site(&site).await.unwrap_err().is_unreachable());
        assert!(!adapter.site_status(&site).await.unwrap().reachable);
        assert!(began.elapsed() < std::time::Duration::from_secs(4));
    }
}
