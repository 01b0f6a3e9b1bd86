//! Restore, what populates and remembers disks: nothing of it may touch a disk that has come as a copy.
//!
//! - A DataVolume says that its claim is filled (`prePopulated`), and may adopt it: CDI imports nothing again.
//! - VirtualMachineSnapshots, their contents and restores, exports and migrations stay out. They name snapshots of the other
//!   site's storage, or are orders that would be carried out a second time.

use crate::view;
use leeward_model::check::LEFT_OUT;
use serde_json::Value;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

const PRE_POPULATED: &str = "cdi.kubevirt.io/storage.prePopulated";
const POPULATED_FOR: &str = "cdi.kubevirt.io/storage.populatedFor";
const ALLOW_ADOPTION: &str = "cdi.kubevirt.io/allowClaimAdoption";
/// CDI's progress of an import into a claim.
const POD_PHASE: &str = "cdi.kubevirt.io/storage.pod.phase";

/// Restore, DataVolumes: see the module.
pub(crate) struct AdoptDisk;

/// Restore, what must not be carried out again: see the module.
pub(crate) struct LeaveOut;

/// The DataVolume as it is created here.
fn filled(mut data_volume: Value) -> Value {
    let name = view::name(&data_volume).to_owned();
    view::annotate(&mut data_volume, PRE_POPULATED, &name);
    view::annotate(&mut data_volume, ALLOW_ADOPTION, "true");
    data_volume
}

/// Says on a claim for which DataVolume it is filled. Velero takes the owner away, so it is read in the copy of the backup.
/// A claim whose import had not ended says nothing, and CDI does not adopt it.
pub(crate) fn populated(claim: &mut Value, stored: &Value) {
    let owners = stored["metadata"]["ownerReferences"].as_array();
    let owner = owners.into_iter().flatten().find(|owner| owner["kind"] == "DataVolume");
    let ended = view::annotation(stored, POD_PHASE).is_none_or(|phase| phase == "Succeeded");
    if let Some(name) = owner.and_then(|owner| view::text(owner, "/name"))
        && ended
        && view::annotation(claim, POPULATED_FOR).is_none()
    {
        view::annotate(claim, POPULATED_FOR, name);
    }
}

#[async_trait]
impl RestoreItemAction for AdoptDisk {
    fn applies_to(&self) -> Selector {
        Selector::resources(["datavolumes.cdi.kubevirt.io"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        Ok(RestoreOutput::changed(filled(input.item)))
    }
}

#[async_trait]
impl RestoreItemAction for LeaveOut {
    fn applies_to(&self) -> Selector {
        Selector::resources(LEFT_OUT)
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let (kind, name) = (view::text(&input.item, "/kind").unwrap_or("object"), view::name(&input.item));
        tracing::info!("left out {kind} {}/{name}: it belongs to the other site", view::namespace(&input.item));
        Ok(RestoreOutput::skip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_data_volume_imports_nothing_again() {
        let got = filled(json!({"metadata": {"name": "root"}, "spec": {"source": {"http": {"url": "x"}}, "new": 1}}));
        assert_eq!(got["metadata"]["annotations"], json!({PRE_POPULATED: "root", ALLOW_ADOPTION: "true"}));
        assert_eq!(got["spec"]["new"], 1);
    }

    #[test]
    fn a_claim_says_for_whom_it_is_filled_unless_its_import_had_not_ended() {
        let stored = |phase: Value| {
            json!({"metadata": {
                "name": "root", "annotations": {POD_PHASE: phase},
                "ownerReferences": [{"kind": "DataVolume", "name": "root-dv"}]
            }})
        };
        let said = |stored: &Value| {
            let mut claim = json!({"metadata": {"name": "root"}});
            populated(&mut claim, stored);
            view::annotation(&claim, POPULATED_FOR).map(str::to_owned)
        };
        assert_eq!(said(&stored(Value::Null)).as_deref(), Some("root-dv"));
        assert_eq!(said(&stored("Succeeded".into())).as_deref(), Some("root-dv"));
        assert_eq!(said(&stored("Running".into())), None);
        assert_eq!(said(&json!({"metadata": {"name": "plain"}})), None);
    }
}
