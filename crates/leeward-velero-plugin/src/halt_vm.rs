//! Restore, VirtualMachines: every machine lands halted and keeps its run strategy in an annotation. Only a run starts it.

use crate::report_only::Mode;
use crate::view;
use leeward_model::{
    keys::RUN_STRATEGY,
    vm::{HALTED, halted, original_strategy, strategy},
};
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

/// `stored` is the machine as the backup has it: another plug-in (KubeVirt's own, told so by a label on the Restore) may have
/// halted `vm` before, and its strategy would be lost.
fn land(vm: &Value, stored: &Value) -> Result<Value, NotHalted> {
    let mut landed = halted(vm);
    if strategy(&landed) == Some(HALTED) {
        landed["metadata"]["annotations"][RUN_STRATEGY] = original_strategy(stored).into();
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
        let mode = Mode::of(input.restore)?;
        let landed = land(&input.item, &input.item_from_backup);
        if let (Mode::Test, Ok(vm)) = (mode, &landed) {
            let strategy = view::annotation(vm, RUN_STRATEGY).unwrap_or_default();
            let (namespace, name) = (view::target_namespace(view::namespace(vm), input.restore), view::name(vm));
            tracing::info!("{mode}VirtualMachine {namespace}/{name} lands halted; its run strategy is {strategy}");
        }
        mode.end(landed.map(RestoreOutput::changed).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lands_halted_or_not_at_all() {
        let vm =
            json!({"kind": "VirtualMachine", "metadata": {"name": "db"}, "spec": {"running": true, "new-field": {}}});
        let got = land(&vm, &vm).unwrap();
        assert_eq!(got["spec"], json!({"new-field": {}, "runStrategy": "Halted"}));
        assert_eq!(got["metadata"]["annotations"][RUN_STRATEGY], "Always");

        // Halted by somebody else on the way: the strategy is the backup's.
        let late = land(&json!({"metadata": {"name": "db"}, "spec": {"runStrategy": "Halted"}}), &vm).unwrap();
        assert_eq!(late["metadata"]["annotations"][RUN_STRATEGY], "Always");

        let odd = json!({"metadata": {"namespace": "shop", "name": "odd"}, "spec": "x"});
        let text = land(&odd, &odd).unwrap_err().to_string();
        assert!(text.contains("shop/odd") && text.contains("LW-0640"), "{text}");
    }

    #[tokio::test]
    async fn in_test_mode_it_is_reported_and_skipped() {
        let restore = crate::report_only::tests::test_restore();
        let execute = async |item: Value| {
            HaltVm.execute(RestoreInput { item_from_backup: item.clone(), item, restore: &restore }).await
        };
        assert!(execute(json!({"metadata": {"name": "db"}, "spec": {"running": true}})).await.unwrap().skip);
        assert!(execute(json!({"metadata": {"name": "db"}, "spec": "x"})).await.is_err());
    }
}
