//! Restore, VirtualMachines: every machine lands halted and keeps its run strategy in an annotation. Only a run starts it.
//! It lands with the networks of this site, and not at all if something is missing here without which it could not start.

use crate::cluster::Cluster;
use crate::report_only::Mode;
use crate::surroundings::Surroundings;
use crate::view;
use leeward_model::{
    keys::RUN_STRATEGY,
    network,
    vm::{HALTED, halted, original_strategy, strategy},
};
use serde_json::Value;
use std::sync::Arc;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

/// See the module.
pub(crate) struct HaltVm {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) surroundings: Arc<Surroundings>,
}

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

impl HaltVm {
    /// The machine as it is created here.
    async fn made(&self, input: &RestoreInput<'_>, mode: Mode) -> Result<Value, ActionError> {
        let restore = input.restore;
        let mut vm = land(&input.item, &input.item_from_backup)?;
        let title = format!("{}/{}", view::namespace(&vm), view::name(&vm));
        if !network::names(&vm)?.is_empty() {
            let site = self.cluster.site().await?;
            let origin = match view::origin(&vm, || format!("VirtualMachine {title}"), restore) {
                Err(error) if site.mapping.maps_networks() => return Err(error.into()),
                // Where no network is mapped, the machine's have the same names at all sites.
                origin => origin.unwrap_or_else(|_| site.name.clone()),
            };
            let backup = view::text(restore, "/spec/backupName");
            let landed = network::landed(&vm, &site.mapping, &origin, &site.name, backup)?;
            for change in &landed.trace.changes {
                let text = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
                let (before, after) = (text(&change.before), text(&change.after));
                tracing::info!("{mode}VirtualMachine {title}: {} {before} -> {after}", change.pointer);
            }
            vm = landed.vm;
        }
        let namespace = view::target_namespace(view::namespace(&vm), restore);
        self.surroundings.check(&vm, namespace).await?;
        if mode == Mode::Test {
            let strategy = view::annotation(&vm, RUN_STRATEGY).unwrap_or_default();
            let name = view::name(&vm);
            tracing::info!("{mode}VirtualMachine {namespace}/{name} lands halted; its run strategy is {strategy}");
        }
        Ok(vm)
    }
}

#[async_trait]
impl RestoreItemAction for HaltVm {
    fn applies_to(&self) -> Selector {
        Selector::resources(["virtualmachines.kubevirt.io"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let mode = Mode::of(input.restore)?;
        mode.end(self.made(&input, mode).await.map(RestoreOutput::changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Played;
    use crate::report_only::ReportOnly;
    use crate::report_only::tests::test_restore;
    use crate::site::tests::MAPPING;
    use leeward_model::keys::SITE;
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

    fn action(played: &Arc<Played>) -> HaltVm {
        let cluster = played.cluster();
        HaltVm { surroundings: Arc::new(Surroundings::new(Arc::clone(&cluster))), cluster }
    }

    async fn execute(action: &HaltVm, item: Value, restore: &Value) -> Result<RestoreOutput, String> {
        let input = RestoreInput { item_from_backup: item.clone(), item, restore };
        action.execute(input).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn in_test_mode_it_is_reported_and_skipped() {
        let (restore, action) = (test_restore(), action(&Arc::new(Played::empty())));
        let vm = json!({"metadata": {"name": "db"}, "spec": {"running": true}});
        assert!(execute(&action, vm, &restore).await.unwrap().skip);
        assert!(execute(&action, json!({"metadata": {"name": "db"}, "spec": "x"}), &restore).await.is_err());
    }

    /// A cluster of the west that maps networks.
    fn west() -> Arc<Played> {
        let played = Arc::new(Played::empty());
        played.set("configmaps", "leeward-site", |map| {
            let mapping = format!("{MAPPING}networks:\n- {{ east: shop/own, west: shop/lan }}\n");
            map["data"] = json!({"site": "west", "mapping.yaml": mapping});
        });
        played
    }

    fn network(namespace: &str, name: &str) -> Value {
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": namespace, "name": name}
        })
    }

    fn machine(networks: &[&str]) -> Value {
        let networks: Vec<_> =
            networks.iter().map(|name| json!({"name": "n", "multus": {"networkName": name}})).collect();
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"namespace": "shop", "name": "db", "annotations": {SITE: "east"}},
            "spec": {"running": true, "template": {"spec": {"networks": networks}}}
        })
    }

    const NETWORKS: &str = "network-attachment-definitions";

    #[tokio::test]
    async fn it_lands_with_the_networks_of_this_site() {
        let played = west();
        played.add(NETWORKS, network("shop", "lan"));
        played.add(NETWORKS, network("nets", "wan"));
        let action = action(&played);
        for _ in 0..3 {
            let landed = execute(&action, machine(&["own", "nets/wan"]), &json!({})).await.unwrap().item.unwrap();
            assert_eq!(landed["spec"]["template"]["spec"]["networks"][0]["multus"]["networkName"], "lan");
            assert_eq!(landed["metadata"]["annotations"][SITE], "west");
        }
        assert_eq!(played.count("GET /apis/k8s.cni.cncf.io"), 1, "listed once, and nothing asked for by name");
    }

    #[tokio::test]
    async fn a_network_that_is_not_here_is_refused_by_name() {
        let played = west();
        played.add(NETWORKS, network("nets", "lan"));
        let action = action(&played);
        let text = execute(&action, machine(&["own"]), &json!({})).await.unwrap_err();
        assert!(text.contains("shop/db") && text.contains("shop/lan") && text.contains("LW-0650"), "{text}");
        // One that has come since the list was made.
        played.add(NETWORKS, network("shop", "lan"));
        assert!(execute(&action, machine(&["own"]), &json!({})).await.is_ok());
        // It looks where it lands.
        let elsewhere = json!({"spec": {"namespaceMapping": {"shop": "bubble"}}});
        let text = execute(&action, machine(&["own"]), &elsewhere).await.unwrap_err();
        assert!(text.contains("bubble/lan"), "{text}");
        // A name that means another network here.
        let text = execute(&action, machine(&["lan"]), &json!({})).await.unwrap_err();
        assert!(text.contains("LW-0181") && text.contains("shop/db"), "{text}");
    }

    #[tokio::test]
    async fn the_origin_is_needed_only_where_networks_are_mapped() {
        let mut unmarked = machine(&["own"]);
        unmarked["metadata"]["annotations"] = json!({});
        let played = west();
        played.add(NETWORKS, network("shop", "own"));
        played.add(NETWORKS, network("shop", "lan"));
        let text = execute(&action(&played), unmarked.clone(), &json!({})).await.unwrap_err();
        assert!(text.contains("shop/db") && text.contains("LW-0607"), "{text}");
        let restore = json!({"metadata": {"annotations": {SITE: "east"}}});
        assert!(execute(&action(&played), unmarked.clone(), &restore).await.is_ok());
        played.set("configmaps", "leeward-site", |map| map["data"]["mapping.yaml"] = MAPPING.into());
        let landed = execute(&action(&played), unmarked, &json!({})).await.unwrap().item.unwrap();
        assert_eq!(landed["spec"]["template"]["spec"]["networks"][0]["multus"]["networkName"], "own");
    }

    #[tokio::test]
    async fn a_machine_without_its_instance_type_is_refused_by_name() {
        let played = west();
        let action = action(&played);
        let with = |instance_type: Value| {
            let mut machine = machine(&[]);
            machine["spec"]["instancetype"] = instance_type;
            machine
        };
        let large = with(json!({"name": "large"}));
        let text = execute(&action, large.clone(), &json!({})).await.unwrap_err();
        assert!(text.contains("shop/db") && text.contains("instance type large") && text.contains("LW-0651"), "{text}");
        played.add("virtualmachineclusterinstancetypes", json!({"metadata": {"name": "large"}}));
        assert!(execute(&action, large, &json!({})).await.is_ok());
        // Its revision is enough, and needed.
        let pinned = with(json!({"name": "gone", "revisionName": "db-gone-1"}));
        let text = execute(&action, pinned.clone(), &json!({})).await.unwrap_err();
        assert!(text.contains("shop/db-gone-1") && text.contains("LW-0651"), "{text}");
        played.add("controllerrevisions", json!({"metadata": {"namespace": "shop", "name": "db-gone-1"}}));
        assert!(execute(&action, pinned, &json!({})).await.is_ok());
        assert_eq!(played.count("GET /apis/instancetype.kubevirt.io"), 3, "one list, and a look where it lacks one");
    }

    #[tokio::test]
    async fn instance_types_and_preferences_are_looked_for_where_they_can_be() {
        for (matcher, kind, plural, namespace) in [
            ("instancetype", "VirtualMachineInstancetype", "virtualmachineinstancetypes", json!("shop")),
            ("preference", "VirtualMachinePreference", "virtualmachinepreferences", json!("shop")),
            ("preference", "VirtualMachineClusterPreference", "virtualmachineclusterpreferences", Value::Null),
        ] {
            let played = west();
            let action = action(&played);
            let mut machine = machine(&[]);
            machine["spec"][matcher] = json!({"name": "large", "kind": kind});
            let text = execute(&action, machine.clone(), &json!({})).await.unwrap_err();
            assert!(text.contains("large") && text.contains("LW-0651"), "{kind}: {text}");
            played.add(plural, json!({"metadata": {"name": "large", "namespace": namespace}}));
            assert!(execute(&action, machine, &json!({})).await.is_ok(), "{kind}");
        }
    }

    #[tokio::test]
    async fn in_test_mode_what_would_have_been_restored_counts() {
        let (action, restore) = (action(&west()), test_restore());
        let text = execute(&action, machine(&["nets/wan"]), &restore).await.unwrap_err();
        assert!(text.contains("LW-0650"), "{text}");
        let wan = network("nets", "wan");
        let report = ReportOnly(Arc::clone(&action.surroundings));
        let input = RestoreInput { item_from_backup: wan.clone(), item: wan, restore: &restore };
        assert!(report.execute(input).await.unwrap().skip);
        assert!(execute(&action, machine(&["nets/wan"]), &restore).await.unwrap().skip);
    }
}
