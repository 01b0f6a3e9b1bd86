//! Runs a verb of the mover at a file server, and understands what it says.
//!
//! Laws: the request and the answer are the JSON of [`leeward_model::mover`] and nothing else; every kind of refusal becomes
//! the error that has its meaning, with the mover's own words in it.

use super::{
    place::About,
    remote::{Failure, Pace},
};
use crate::StorageError;
use leeward_model::{
    mover::{Refusal, RefusalKind},
    name::{Epoch, GroupName, PointId, SiteName},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const MOVER: &str = include_str!("scripts/mover.sh");
/// The mover's error of an NFS server that still shows clients the file that was replaced.
const STALE: &str = "LW-0727";

/// A verb that was not done.
#[derive(Debug)]
pub(super) enum Undone {
    /// The mover said why.
    Refused(Refusal),
    /// It was not reached, or did not end as it should.
    Failed(StorageError),
}

impl Undone {
    /// The error of a verb that names no point.
    pub(super) fn of_group(self, site: &SiteName, doing: &'static str) -> StorageError {
        match self {
            Self::Failed(error) => error,
            Self::Refused(refusal) => StorageError::Remote { site: site.clone(), doing, reason: refusal.text },
        }
    }
}

/// What the mover prints instead of an answer.
#[derive(Debug, Deserialize)]
struct Refused {
    error: Refusal,
}

/// Runs the verb at the site that `about` is about, and waits for it as long as it lives.
pub(super) async fn ask<R: Serialize + Sync, A: DeserializeOwned>(
    about: About<'_>,
    verb: &str,
    request: &R,
) -> Result<A, Undone> {
    ask_at(Pace::Work, about, verb, request).await
}

/// Runs the verb at the site that `about` is about.
pub(super) async fn ask_at<R: Serialize + Sync, A: DeserializeOwned>(
    pace: Pace,
    about: About<'_>,
    verb: &str,
    request: &R,
) -> Result<A, Undone> {
    let strange = |reason: String| StorageError::Remote { site: about.remote.site.clone(), doing: about.doing, reason };
    let text = serde_json::to_string(request).map_err(|error| Undone::Failed(strange(error.to_string())))?;
    let mut words = vec![text.as_str()];
    words.extend(about.remote.nfs.mover.iter().map(String::as_str));
    words.extend([verb, "--output", "json", "--request", "-"]);
    match about.remote.run(about.doing, pace, MOVER, &words).await {
        Ok(out) => serde_json::from_slice(&out)
            .map_err(|error| Undone::Failed(strange(format!("the mover's answer is not understood: {error}")))),
        Err(Failure::Died { out, code, talk }) => Err(match serde_json::from_slice(&out) {
            Ok(Refused { error }) => Undone::Refused(error),
            Err(_) => Undone::Failed(about.error(Failure::Died { out, code, talk })),
        }),
        Err(failure) => Err(Undone::Failed(about.error(failure))),
    }
}

/// What a request was about, to say in an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) about: About<'a>,
    /// The site that has the point, or gets it.
    pub(super) at: &'a SiteName,
    pub(super) group: &'a GroupName,
    pub(super) point: &'a PointId,
    /// The caller's; 0 where it does not matter.
    pub(super) epoch: Epoch,
    /// The folders that were named, by volume, relative to the export of the site that was asked.
    pub(super) folders: &'a [(String, String)],
}

impl Subject<'_> {
    pub(super) fn undone(&self, undone: Undone) -> StorageError {
        match undone {
            Undone::Failed(error) => error,
            Undone::Refused(refusal) => self.refused(refusal),
        }
    }

    fn refused(&self, refusal: Refusal) -> StorageError {
        let (here, at) = (self.about.remote.site.clone(), self.at.clone());
        let (group, point, doing) = (self.group.clone(), self.point.clone(), self.about.doing);
        let Refusal { kind, text, volume: about, file, needed_bytes, free_bytes, code } = refusal;
        let volume = about.clone().unwrap_or_else(|| self.about.key.to_owned());
        let file = file.unwrap_or_default();
        match kind {
            RefusalKind::Request => {
                let key = if volume.is_empty() { point.to_string() } else { volume };
                StorageError::BadRequest { key, reason: format!("was refused by the mover ({text})").into() }
            }
            RefusalKind::Absent => self.no_data(volume, "does not exist"),
            RefusalKind::Empty => self.no_data(volume, "holds no file"),
            RefusalKind::NotAFile if file.is_empty() || self.folder(&volume) == Some(&file) => {
                StorageError::UnsafePath { site: here, path: self.path(&volume), volume, reason: text }
            }
            RefusalKind::NotAFile => {
                StorageError::NotAFile { site: here, volume, file, kind: format!("no regular file ({text})") }
            }
            RefusalKind::Changed => StorageError::SourceChanged { site: here, volume, file, how: text },
            RefusalKind::NoPoint if about.is_some() => StorageError::NotInPoint { point, volume },
            RefusalKind::NoPoint => StorageError::PointMissing { site: at, group, point },
            RefusalKind::Exists => {
                StorageError::PointExists { site: at, point, difference: format!("is another ({text})") }
            }
            RefusalKind::Differs => {
                StorageError::Differs { site: at, volume, file, difference: format!("is not what it must be ({text})") }
            }
            RefusalKind::OldEpoch => StorageError::OldEpoch { site: at, group, asked: self.epoch, reason: text },
            RefusalKind::Full => {
                StorageError::Full { site: at, doing, needed: needed_bytes.unwrap_or(0), free: free_bytes.unwrap_or(0) }
            }
            RefusalKind::Busy => StorageError::Busy { site: at, group: group.to_string() },
            RefusalKind::Link => StorageError::Transfer { from: here, to: at, point, reason: text },
            RefusalKind::Failed if code == STALE => StorageError::StaleServer { site: here, volume, file },
            RefusalKind::Peer | RefusalKind::Failed => StorageError::Remote { site: here, doing, reason: text },
        }
    }

    fn folder(&self, volume: &str) -> Option<&String> {
        self.folders.iter().find(|(key, _)| key == volume).map(|(_, folder)| folder)
    }

    /// The volume's folder at the file server.
    fn path(&self, volume: &str) -> String {
        let folder = self.folder(volume).map(String::as_str).unwrap_or_default();
        format!("{}/{folder}", self.about.remote.top())
    }

    fn no_data(&self, volume: String, reason: &str) -> StorageError {
        let site = self.about.remote.site.clone();
        StorageError::VolumeEmpty { site, path: self.path(&volume), volume, reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfs::{
        config::{NfsSite, Timeouts},
        remote::Remote,
    };
    use serde_json::{Value, json};

    /// A mover that is this shell script; `$1` is the verb.
    async fn told(script: &str, request: &Value) -> Result<Value, Undone> {
        let nfs = NfsSite {
            server: "127.0.0.1".into(),
            export: "/export".into(),
            path: "/srv/export".into(),
            control: vec!["env".into()],
            mover: ["sh", "-c", script, "mover"].map(str::to_owned).to_vec(),
        };
        let site = SiteName::parse("east").unwrap();
        let timeouts = Timeouts { probe_seconds: 1, connect_seconds: 5, stall_seconds: 5, fence_seconds: 1 };
        let remote = Remote { site: &site, nfs: &nfs, timeouts };
        ask(About { remote, group: "shop", key: "", doing: "testing" }, "points", request).await
    }

    #[tokio::test]
    async fn the_request_arrives_as_it_is_and_the_answer_comes_back() {
        let request = json!({"hostile": "'$(id)`id`\"\\\n\u{0}ü", "long": "x".repeat(300_000)});
        assert_eq!(told("cat", &request).await.unwrap(), request);
        let words = told(r#"printf '["%s"]' "$*"; echo talk >&2"#, &Value::Null).await.unwrap();
        assert_eq!(words, json!(["points --output json --request -"]));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        let refused =
            told(r#"echo '{"error": {"kind": "busy", "code": "LW-0701", "text": "so"}}'; exit 3"#, &Value::Null);
        assert!(matches!(refused.await, Err(Undone::Refused(Refusal { kind: RefusalKind::Busy, .. }))));
        let said = |undone| match undone {
            Err(Undone::Failed(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let cases = [
            ("echo '{'", "is not understood"),
            (":", "is not understood"),
            (r#"echo '{"error": {"kind": "unheard of", "code": "", "text": ""}}'; exit 3"#, "exit 3"),
            ("exec no-such-mover", "no-such-mover: not found"),
            ("echo boom >&2; exit 101", "exit 101: boom"),
        ];
        for (script, words) in cases {
            let said = said(told(script, &Value::Null).await);
            assert!(said.contains(words) && said.ends_with("[LW-0303]"), "{script}: {said}");
        }
    }

    #[test]
    fn every_refusal_has_its_error() {
        use RefusalKind as Kind;
        let nfs: NfsSite = serde_json::from_value(json!({
            "server": "127.0.0.1", "export": "/export", "path": "/srv/export", "control": ["env"],
        }))
        .unwrap();
        let (east, west) = (SiteName::parse("east").unwrap(), SiteName::parse("west").unwrap());
        let folders = [("pv-1".to_owned(), "a/b".to_owned())];
        let subject = Subject {
            about: About {
                remote: Remote { site: &east, nfs: &nfs, timeouts: Timeouts::default() },
                group: "shop",
                key: "",
                doing: "replicating",
            },
            at: &west,
            group: &GroupName::parse("shop").unwrap(),
            point: &PointId::parse("rp-1").unwrap(),
            epoch: Epoch(4),
            folders: &folders,
        };
        let said = |kind, code: &str, volume: Option<&str>, file: Option<&str>| {
            let (volume, file) = (volume.map(str::to_owned), file.map(str::to_owned));
            let (needed_bytes, free_bytes) = (Some(7), Some(3));
            let (code, text) = (code.to_owned(), "so it is".to_owned());
            subject
                .undone(Undone::Refused(Refusal { kind, code, text, volume, file, needed_bytes, free_bytes }))
                .to_string()
        };
        let cases = [
            (Kind::Request, None, None, &["rp-1", "so it is", "LW-0321"][..]),
            (Kind::Absent, Some("pv-1"), None, &["pv-1", "east", "/srv/export/a/b", "does not exist", "LW-0306"]),
            (Kind::Empty, Some("pv-1"), None, &["pv-1", "east", "/srv/export/a/b", "holds no file", "LW-0306"]),
            (Kind::NotAFile, Some("pv-1"), Some("a/b"), &["pv-1", "east", "/srv/export/a/b", "so it is", "LW-0305"]),
            (Kind::NotAFile, Some("pv-1"), Some("x"), &["pv-1", "east", "\"x\"", "so it is", "LW-0307"]),
            (Kind::Changed, Some("pv-1"), Some("x"), &["pv-1", "east", "\"x\"", "so it is", "LW-0308"]),
            (Kind::NoPoint, Some("pv-1"), None, &["pv-1", "rp-1", "LW-0315"]),
            (Kind::NoPoint, None, None, &["rp-1", "west", "shop", "LW-0312"]),
            (Kind::Exists, None, None, &["rp-1", "west", "so it is", "LW-0316"]),
            (Kind::Differs, Some("pv-1"), Some("x"), &["pv-1", "west", "\"x\"", "so it is", "LW-0311"]),
            (Kind::OldEpoch, None, None, &["west", "shop", "epoch 4", "so it is", "LW-0326"]),
            (Kind::Full, None, None, &["west", "7 bytes needed, 3 free", "LW-0309"]),
            (Kind::Busy, None, None, &["west", "shop", "LW-0320"]),
            (Kind::Link, None, None, &["rp-1", "east", "west", "so it is", "LW-0310"]),
            (Kind::Peer, None, None, &["east", "so it is", "LW-0303"]),
            (Kind::Failed, None, None, &["east", "so it is", "LW-0303"]),
        ];
        for (kind, volume, file, words) in cases {
            let said = said(kind, "LW-0701", volume, file);
            assert!(words.iter().all(|word| said.contains(word)), "{kind:?}: {said}");
        }
        let stale = said(Kind::Failed, STALE, Some("pv-1"), Some("x"));
        assert!(["pv-1", "\"x\"", "LW-0325"].iter().all(|word| stale.contains(word)), "{stale}");
    }
}
