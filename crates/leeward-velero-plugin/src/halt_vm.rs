//! Restore, VirtualMachines: every machine lands halted and keeps its run strategy in an annotation. Only a run starts it.

use crate::view;
use leeward_model::vm::{HALTED, halted, strategy};
use serde_json::Value;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

/// See the module.
pub(crate) struct HaltVm;

/// A machine that cannot be halted, and so must not land.
#[derive(Debug, thiserror::Error)]
#[error(
    "VirtualMachine {vm} has no spec that could be halted, so it is not restored; look at it in the backup [LW-0640]"
)]
struct NotHalted {
    vm: String,
}

fn land(vm: &Value) -> Result<Value, NotHalted> {
    let landed = halted(vm);
    if strategy(&landed) == Some(HALTED) {
        Ok(landed)
    } else {
        Err(NotHalted { vm: format!("{}/{}", view::namespace(vm), view::name(vm)) })
    }
}

#[async_trait]
impl RestoreItemAction for HaltVm {
    fn applies_to(&self) -> Selector {
        Selector::resources(["virtualmachines.kubevirt.io"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        Ok(RestoreOutput::changed(land(&input.item)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_model::keys::RUN_STRATEGY;
    use serde_json::json;

    #[test]
    fn lands_halted_or_not_at_all() {
        let vm =
            json!({"kind": "VirtualMachine", "metadata": {"name": "db"}, "spec": {"running": true, "new-field": {}}});
        let got = land(&vm).unwrap();
        assert_eq!(got["spec"], json!({"new-field": {}, "runStrategy": "Halted"}));
        assert_eq!(got["metadata"]["annotations"][RUN_STRATEGY], "Always");

        let text =
            land(&json!({"metadata": {"namespace": "shop", "name": "odd"}, "spec": "x"})).unwrap_err().to_string();
        assert!(text.contains("shop/odd") && text.contains("LW-0640"), "{text}");
    }
}
