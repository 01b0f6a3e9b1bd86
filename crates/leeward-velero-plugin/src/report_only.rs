//! Test mode: a Restore with the annotation `leeward.io/mode: test` says what it would make of each volume, claim and machine,
//! and restores nothing.
//!
//! What is reported is found by the same actions that restore; they skip the item afterwards. This one skips all others.
//! Velero asks every action of a kind until one skips, in an order of its own, so it must not see what another reports.

use crate::surroundings::Surroundings;
use leeward_model::keys::MODE;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

/// See the module.
pub(crate) struct ReportOnly(pub(crate) Arc<Surroundings>);

/// What a Restore is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Restore,
    Test,
}

/// The annotation says something else. Nothing is restored: it may have been meant as a test.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Restore has the annotation {MODE}: {mode:?}, which is no mode, so nothing is restored; write `test`, or make a \
     Restore without the annotation [LW-0642]"
)]
pub(crate) struct UnknownMode {
    mode: String,
}

impl Mode {
    pub(crate) fn of(restore: &Value) -> Result<Self, UnknownMode> {
        match restore.pointer("/metadata/annotations").and_then(|annotations| annotations.get(MODE)) {
            None | Some(Value::Null) => Ok(Self::Restore),
            Some(mode) if mode == "test" => Ok(Self::Test),
            Some(mode) => Err(UnknownMode { mode: mode.as_str().unwrap_or_default().to_owned() }),
        }
    }

    /// What an action made of an item, turned into what this mode makes of it.
    pub(crate) fn end(self, made: Result<RestoreOutput, ActionError>) -> Result<RestoreOutput, ActionError> {
        match (self, made) {
            (Self::Restore, made) => made,
            (Self::Test, Ok(_)) => Ok(RestoreOutput::skip()),
            (Self::Test, Err(error)) => {
                tracing::error!("{self}{}", error.message());
                Err(error)
            }
        }
    }
}

/// What begins each line of the log.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Test { "test, nothing is restored: " } else { "" })
    }
}

/// What others of Leeward's actions look at, and skip in test mode. Each call for an item costs Velero some 0.3 ms, and there
/// are most of these.
const REPORTED: [&str; 3] = ["persistentvolumes", "persistentvolumeclaims", "virtualmachines.kubevirt.io"];

#[async_trait]
impl RestoreItemAction for ReportOnly {
    fn applies_to(&self) -> Selector {
        Selector { excluded_resources: REPORTED.map(str::to_owned).to_vec(), ..Selector::default() }
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        Ok(match Mode::of(input.restore)? {
            Mode::Test => {
                self.0.foresee(&input.item, input.restore);
                RestoreOutput::skip()
            }
            Mode::Restore => RestoreOutput::unchanged(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn test_restore() -> Value {
        json!({"metadata": {"name": "r", "annotations": {MODE: "test"}}, "spec": {"backupName": "b"}})
    }

    fn action() -> ReportOnly {
        ReportOnly(Arc::new(Surroundings::new(Arc::new(crate::played::Played::empty()).cluster())))
    }

    async fn execute(item: Value, restore: &Value) -> Result<RestoreOutput, ActionError> {
        action().execute(RestoreInput { item_from_backup: item.clone(), item, restore }).await
    }

    #[tokio::test]
    async fn nothing_is_restored_in_test_mode() {
        for kind in ["Secret", "DataVolume", "NetworkAttachmentDefinition", ""] {
            let item = json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "x"}});
            assert!(execute(item.clone(), &test_restore()).await.unwrap().skip, "{kind}");
            let plain = execute(item, &json!({"metadata": {}})).await.unwrap();
            assert!(!plain.skip && plain.item.is_none(), "{kind}");
        }
    }

    #[tokio::test]
    async fn it_sees_all_that_no_other_action_reports() {
        let selector = action().applies_to();
        assert_eq!(selector.excluded_resources, REPORTED);
        assert_eq!(Selector { excluded_resources: Vec::new(), ..selector }, Selector::default());
    }

    #[tokio::test]
    async fn an_unknown_mode_restores_nothing() {
        for mode in [json!("Test"), json!(""), json!("dry-run")] {
            let restore = json!({"metadata": {"annotations": {MODE: mode}}});
            let text = execute(json!({"kind": "Secret"}), &restore).await.unwrap_err().to_string();
            assert!(text.contains("LW-0642") && text.contains(MODE), "{text}");
        }
    }
}
