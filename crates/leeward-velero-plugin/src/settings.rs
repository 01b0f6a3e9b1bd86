//! What the ConfigMap's key `promote` says about promotions: a policy alone, or a YAML document.

use crate::policy::{Policy, RecoverFrom, RequestError};
use leeward_model::keys::{CONFIG_MAP, CONFIG_MAP_PROMOTE};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How this site promotes, unless a Backup says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) recover_from: RecoverFrom,
    pub(crate) deadline_seconds: Option<u64>,
    pub(crate) keep_newest: Option<NonZeroUsize>,
    /// By storage class that waits for a first consumer: the class of the same storage that does not.
    pub(crate) twin_classes: BTreeMap<String, String>,
    /// By CSI driver: the VolumeSnapshotClass of the snapshots that are taken.
    pub(crate) snapshot_classes: BTreeMap<String, String>,
    /// By CSI driver: the VolumeGroupSnapshotClass of claims that are taken together.
    pub(crate) group_snapshot_classes: BTreeMap<String, String>,
}

/// The key cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(
        "ConfigMap {namespace}/{CONFIG_MAP}, key `{CONFIG_MAP_PROMOTE}`: write a policy (none, newest-ready, \
         label:<selector>, take-now, take-now-frozen), or YAML with `policy`, `recoverFrom`, `deadlineSeconds`, \
         `keepNewest`, `twinClasses`, `snapshotClasses`, `groupSnapshotClasses` [LW-0618]"
    )]
    Form {
        namespace: String,
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    #[error("ConfigMap {namespace}/{CONFIG_MAP}, key `{CONFIG_MAP_PROMOTE}`: correct it [LW-0618]")]
    Value {
        namespace: String,
        #[source]
        source: RequestError,
    },
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    policy: Option<String>,
    recover_from: Option<String>,
    deadline_seconds: Option<u64>,
    keep_newest: Option<NonZeroUsize>,
    #[serde(default)]
    twin_classes: BTreeMap<String, String>,
    #[serde(default)]
    snapshot_classes: BTreeMap<String, String>,
    #[serde(default)]
    group_snapshot_classes: BTreeMap<String, String>,
}

/// The storage may not be done with the newest promotion; nobody here can see that.
const KEEP_NEWEST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

impl Settings {
    /// How many verified promotions of a claim stay, whatever becomes of their backups.
    pub(crate) fn keep_newest(&self) -> usize {
        self.keep_newest.unwrap_or(KEEP_NEWEST).get()
    }

    /// Reads the ConfigMap of Velero's `namespace`. Without it, or without the key, nothing is promoted.
    pub(crate) fn read(namespace: &str, config_map: Option<&Value>) -> Result<Self, SettingsError> {
        let text = config_map.and_then(|map| map["data"][CONFIG_MAP_PROMOTE].as_str()).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let form = |e: Box<dyn std::error::Error + Send + Sync>| SettingsError::Form {
            namespace: namespace.to_owned(),
            source: e.into(),
        };
        let yaml: Value = serde_saphyr::from_str(text).map_err(|e| form(e.into()))?;
        let document = match yaml {
            Value::String(policy) => Document { policy: Some(policy), ..Document::default() },
            other => serde_json::from_value(other).map_err(|e| form(e.into()))?,
        };
        let value = |source| SettingsError::Value { namespace: namespace.to_owned(), source };
        Ok(Self {
            policy: document.policy.map(|text| Policy::parse(&text)).transpose().map_err(value)?.unwrap_or_default(),
            recover_from: document
                .recover_from
                .map(|text| RecoverFrom::parse(&text))
                .transpose()
                .map_err(value)?
                .unwrap_or_default(),
            deadline_seconds: document.deadline_seconds,
            keep_newest: document.keep_newest,
            twin_classes: document.twin_classes,
            snapshot_classes: document.snapshot_classes,
            group_snapshot_classes: document.group_snapshot_classes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        Settings::read("oadp", Some(&json!({"data": {"promote": text}})))
    }

    #[test]
    fn a_word_or_a_document() {
        assert_eq!(Settings::read("oadp", None).unwrap(), Settings::default());
        assert_eq!(Settings::default().policy, Policy::None, "without being asked, nothing is promoted");
        assert_eq!(read("take-now\n").unwrap().policy, Policy::TakeNow { frozen: false });
        assert_eq!(
            read("label:tier=gold,env in (a, b)").unwrap().policy,
            Policy::Labels("tier=gold,env in (a, b)".into())
        );
        let got = read(
            "policy: newest-ready\nrecoverFrom: promoted\ndeadlineSeconds: 600\ntwinClasses: { lazy: eager }\nsnapshotClasses:\n  nfs.csi.k8s.io: quick\ngroupSnapshotClasses: { nfs.csi.k8s.io: together }\n",
        )
        .unwrap();
        assert_eq!(got.policy, Policy::NewestReady);
        assert_eq!(got.recover_from, RecoverFrom::Promoted);
        assert_eq!((got.deadline_seconds, got.twin_classes["lazy"].as_str()), (Some(600), "eager"));
        assert_eq!((got.keep_newest(), read("keepNewest: 3").unwrap().keep_newest()), (2, 3));
        assert_eq!(got.snapshot_classes["nfs.csi.k8s.io"], "quick");
        assert_eq!(got.group_snapshot_classes["nfs.csi.k8s.io"], "together");
    }

    #[test]
    fn what_is_not_understood_is_never_passed_over() {
        for bad in [
            "latest",
            "polcy: take-now",
            "policy: take-now\nrecoverFrom: both",
            "keepNewest: 0",
            "[a]",
            "policy: [",
            "7",
        ] {
            let text = read(bad).unwrap_err().to_string();
            assert!(text.contains("LW-0618") && text.contains("oadp/leeward-site"), "{bad}: {text}");
        }
    }
}
