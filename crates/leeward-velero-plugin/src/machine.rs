//! Backup, VirtualMachines: what belongs to a machine comes along, and what makes it that machine is written down.
//!
//! Additional items, named by the machine itself: its disks, secrets and ConfigMaps (cloud-init, sysprep, access
//! credentials), network attachments, service accounts, the revisions of its instance type and preference, and the claim of
//! its persistent TPM or EFI. A backup by label, or of one machine, is whole only with them. (KubeVirt's own plug-in names
//! most of them as well; Velero takes each once.)
//!
//! Into the stored copy go the MAC addresses and the firmware UUID of the running machine where the machine leaves them to
//! KubeVirt, and the names of the revisions. So the guest finds its network cards and licences again. The live machine is
//! not touched.

use crate::cluster::{CLAIMS, Cluster, RUNNING_MACHINES};
use crate::view;
use leeward_model::belongings::{self, Named, templates};
use leeward_model::keys::SITE;
use leeward_model::{network, vm};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use velero_plugin::{ActionError, BackupItemAction, BackupOutput, ItemId, Selector, async_trait};

/// Label of the claim that KubeVirt makes for a machine's persistent TPM and EFI: the machine's name.
const STATE_OF: &str = "persistent-state-for";
/// See the module.
pub(crate) struct KeepMachine(pub(crate) Arc<Cluster>);

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The objects that the machine names, each once.
fn belongings(machine: &Value) -> Vec<ItemId> {
    let mut found: BTreeSet<Named> = belongings::belongings(machine).into_iter().map(|b| b.object).collect();
    // A list of networks that cannot be read is told when the machine is restored.
    for network in network::names(machine).unwrap_or_default() {
        found.extend(network.split_once('/').map(|(of, name)| Named::of(belongings::NETWORKS, of, name)));
    }
    found.extend(templates(machine).into_iter().filter_map(|template| template.revision));
    let item = |named: Named| {
        let (resource, group) = named.resource.split_once('.').unwrap_or((named.resource, ""));
        ItemId::new(group, resource, named.namespace.unwrap_or_default(), named.name)
    };
    found.into_iter().map(item).collect()
}

/// (field of the spec, field of the status).
const REVISIONS: [(&str, &str); 2] = [("instancetype", "instancetypeRef"), ("preference", "preferenceRef")];

/// The revision that the machine runs with: what its spec fixes, else what KubeVirt took.
fn revision<'a>(machine: &'a Value, matcher: &str) -> Option<&'a str> {
    let (_, reference) = REVISIONS.iter().find(|(field, _)| *field == matcher)?;
    view::text(machine, &format!("/spec/{matcher}/revisionName"))
        .or_else(|| view::text(machine, &format!("/status/{reference}/controllerRevisionRef/name")))
}

/// The machine with what it leaves to KubeVirt, as the running one has it.
fn identified(mut machine: Value, running: Option<&Value>) -> Value {
    for (matcher, _) in REVISIONS {
        let fixed = revision(&machine, matcher).map(str::to_owned);
        if let (Some(name), Some(spec)) = (fixed, object(&mut machine, &format!("/spec/{matcher}"))) {
            spec.insert("revisionName".to_owned(), name.into());
        }
    }
    let Some(running) = running else { return machine };
    let uuid = view::text(running, "/spec/domain/firmware/uuid").map(str::to_owned);
    if let (Some(uuid), Some(domain)) = (uuid, object(&mut machine, "/spec/template/spec/domain")) {
        let firmware = domain.entry("firmware").or_insert_with(|| Value::Object(Map::new()));
        if let Some(firmware) = firmware.as_object_mut() {
            firmware.entry("uuid").or_insert_with(|| uuid.into());
        }
    }
    let interfaces = machine.pointer_mut("/spec/template/spec/domain/devices/interfaces").and_then(Value::as_array_mut);
    for interface in interfaces.into_iter().flatten().filter_map(Value::as_object_mut) {
        let is_it = |status: &&Value| interface.get("name").is_some_and(|name| status["name"] == *name);
        let mac = list(running, "/status/interfaces").find(is_it).and_then(|status| view::text(status, "/mac"));
        if let (Some(mac), None) = (mac, interface.get("macAddress")) {
            interface.insert("macAddress".to_owned(), mac.into());
        }
    }
    machine
}

fn object<'a>(root: &'a mut Value, pointer: &str) -> Option<&'a mut Map<String, Value>> {
    root.pointer_mut(pointer).and_then(Value::as_object_mut)
}

#[async_trait]
impl BackupItemAction for KeepMachine {
    fn applies_to(&self) -> Selector {
        Selector::resources(["virtualmachines.kubevirt.io"])
    }

    async fn execute(&self, machine: Value, _: &Value) -> Result<BackupOutput, ActionError> {
        let (namespace, name) = (view::namespace(&machine), view::name(&machine));
        let mut items = belongings(&machine);
        let state =
            self.0.list(&CLAIMS, Some(namespace), &format!("{STATE_OF}={}", crate::naming::label_value(name))).await?;
        items.extend(state.iter().map(|claim| ItemId::core("persistentvolumeclaims", namespace, view::name(claim))));
        let running = self.0.get(&RUNNING_MACHINES, Some(namespace), name).await?;
        tracing::debug!(
            "VirtualMachine {namespace}/{name} has {} disks and {} objects",
            vm::claims(&machine).len(),
            items.len()
        );
        // Its networks are called as this site calls them; without any, nothing of it is a name of the site.
        let named = !network::names(&machine).is_ok_and(|names| names.is_empty());
        let mut machine = identified(machine, running.as_ref());
        if named {
            view::annotate(&mut machine, SITE, self.0.site().await?.name.as_str());
        }
        Ok(BackupOutput::changed(machine).with_items(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Played;
    use serde_json::json;

    fn machine() -> Value {
        json!({
            "kind": "VirtualMachine", "metadata": {"namespace": "shop", "name": "db"},
            "spec": {
                "instancetype": {"name": "large"}, "preference": {"name": "rhel", "revisionName": "pinned"},
                "template": {"spec": {
                    "domain": {"devices": {"interfaces": [{"name": "default"}, {"name": "lan", "macAddress": "02:00:00:00:00:07"}]}},
                    "networks": [{"name": "lan", "multus": {"networkName": "nets/vlan7"}}, {"name": "b", "multus": {"networkName": "own"}}],
                    "accessCredentials": [{"sshPublicKey": {"source": {"secret": {"secretName": "keys"}}}}],
                    "volumes": [
                        {"dataVolume": {"name": "root"}}, {"persistentVolumeClaim": {"claimName": "data"}},
                        {"cloudInitNoCloud": {"secretRef": {"name": "init"}, "networkDataSecretRef": {"name": "init"}}},
                        {"sysprep": {"configMap": {"name": "unattend"}}}, {"serviceAccount": {"serviceAccountName": "bot"}}
                    ]
                }}
            },
            "status": {"instancetypeRef": {"controllerRevisionRef": {"name": "db-large-1"}}}
        })
    }

    #[tokio::test]
    async fn all_that_the_machine_names_comes_along_once() {
        let played = Arc::new(Played::empty());
        played.add(
            "persistentvolumeclaims",
            json!({"metadata": {"namespace": "shop", "name": "tpm", "labels": {STATE_OF: "db"}}}),
        );
        let output = KeepMachine(played.cluster()).execute(machine(), &json!({})).await.unwrap();
        let found: Vec<_> =
            output.additional_items.iter().map(|i| format!("{} {}/{}", i.resource, i.namespace, i.name)).collect();
        assert_eq!(
            found,
            [
                "configmaps shop/unattend",
                "controllerrevisions shop/db-large-1",
                "controllerrevisions shop/pinned",
                "datavolumes shop/root",
                "network-attachment-definitions nets/vlan7",
                "network-attachment-definitions shop/own",
                "persistentvolumeclaims shop/data",
                "persistentvolumeclaims shop/root",
                "secrets shop/init",
                "secrets shop/keys",
                "serviceaccounts shop/bot",
                "persistentvolumeclaims shop/tpm"
            ]
        );
        assert_eq!(
            output.item.unwrap()["metadata"]["annotations"][SITE],
            "east",
            "its networks are names of this site"
        );
    }

    #[tokio::test]
    async fn a_machine_without_networks_of_a_site_needs_no_site() {
        let played = Arc::new(Played::empty());
        let plain = json!({"metadata": {"namespace": "shop", "name": "db"}, "spec": {"template": {"spec": {}}}});
        let output = KeepMachine(played.cluster()).execute(plain.clone(), &json!({})).await.unwrap();
        assert_eq!(output.item, Some(plain));
        assert_eq!(played.count("GET /api/v1/namespaces/velero/configmaps"), 0);
    }

    #[test]
    fn what_the_guest_knows_itself_by_is_written_down() {
        let running = json!({
            "spec": {"domain": {"firmware": {"uuid": "u-1"}}},
            "status": {"interfaces": [{"name": "lan", "mac": "02:ff:ff:ff:ff:ff"}, {"name": "default", "mac": "02:00:00:00:00:01"}]}
        });
        let got = identified(machine(), Some(&running));
        let domain = &got["spec"]["template"]["spec"]["domain"];
        assert_eq!(domain["firmware"]["uuid"], "u-1");
        assert_eq!(domain["devices"]["interfaces"][0]["macAddress"], "02:00:00:00:00:01");
        assert_eq!(
            domain["devices"]["interfaces"][1]["macAddress"], "02:00:00:00:00:07",
            "what the machine says stays"
        );
        assert_eq!(got["spec"]["instancetype"]["revisionName"], "db-large-1");
        assert_eq!(got["spec"]["preference"]["revisionName"], "pinned");
        assert_eq!(identified(got.clone(), Some(&running)), got, "twice is once");

        let mut off = machine();
        off["status"] = Value::Null;
        assert_eq!(identified(off.clone(), None), off, "a machine that is off has nothing to add");
        assert_eq!(identified(json!("x"), Some(&running)), json!("x"));
    }
}
