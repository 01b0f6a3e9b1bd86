//! A KubeVirt VirtualMachine: which claims it uses, how it is halted and how it gets its old run strategy back.
//!
//! Laws: halting twice is the same as once; starting a halted machine gives it the strategy that it had; a machine that
//! was off stays off.

use crate::json;
use crate::keys;
use serde_json::{Value, json};

/// The strategy of a machine that is off.
pub const HALTED: &str = "Halted";

/// The machine's run strategy: `spec.runStrategy`, or what its forerunner `spec.running` means. `None` if it has neither.
#[must_use]
pub fn strategy(vm: &Value) -> Option<&str> {
    json::text(vm, "/spec/runStrategy").filter(|s| !s.is_empty()).or_else(|| {
        let running = vm.pointer("/spec/running").and_then(Value::as_bool)?;
        Some(if running { "Always" } else { HALTED })
    })
}

/// The strategy that the machine has when it is not halted by Leeward: the kept one if it is halted, else its own.
#[must_use]
pub fn original_strategy(vm: &Value) -> &str {
    let now = strategy(vm).unwrap_or(HALTED);
    let kept = json::annotation(vm, keys::RUN_STRATEGY).filter(|s| !s.is_empty());
    if now == HALTED { kept.unwrap_or(HALTED) } else { now }
}

/// Whether giving the machine back its strategy starts it. `Manual` machines wait for a start request, halted ones stay off.
#[must_use]
pub fn starts_by_itself(vm: &Value) -> bool {
    matches!(original_strategy(vm), "Always" | "RerunOnFailure" | "Once")
}

/// The machine with run strategy `Halted`, its original strategy kept in an annotation. What is no object is returned as
/// it is.
#[must_use]
pub fn halted(vm: &Value) -> Value {
    let mut new = vm.clone();
    let original = original_strategy(vm).to_owned();
    let Some(spec) = json::object_at(&mut new, &["spec"]) else { return new };
    spec.shift_remove("running");
    spec.insert("runStrategy".to_owned(), HALTED.into());
    json::annotate(&mut new, keys::RUN_STRATEGY, original);
    new
}

/// The merge patch that gives a halted machine its original strategy back and forgets that it was kept.
#[must_use]
pub fn started_patch(vm: &Value) -> Value {
    json!({
        "metadata": { "annotations": { keys::RUN_STRATEGY: null } },
        "spec": { "runStrategy": original_strategy(vm), "running": null },
    })
}

/// The merge patch that halts a machine, keeping its strategy, as [`halted`] does.
#[must_use]
pub fn halted_patch(vm: &Value) -> Value {
    json!({
        "metadata": { "annotations": { keys::RUN_STRATEGY: original_strategy(vm) } },
        "spec": { "runStrategy": HALTED, "running": null },
    })
}

/// The names of the claims that the machine's volumes use, each once, in the order of the volumes. A DataVolume's claim
/// has its name. Not among them is the claim that KubeVirt makes itself for a persistent TPM or EFI.
#[must_use]
pub fn claims(vm: &Value) -> Vec<String> {
    const NAMES: [&str; 4] = [
        "/persistentVolumeClaim/claimName",
        "/dataVolume/name",
        "/ephemeral/persistentVolumeClaim/claimName",
        "/memoryDump/claimName",
    ];
    let volumes = vm.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
    let mut claims: Vec<String> = Vec::new();
    for volume in volumes.into_iter().flatten() {
        for name in NAMES.iter().filter_map(|pointer| json::text(volume, pointer)) {
            if !name.is_empty() && !claims.iter().any(|c| c == name) {
                claims.push(name.to_owned());
            }
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{any_json, spoiled};
    use proptest::prelude::*;

    fn vm(spec: &Value) -> Value {
        let mut vm = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"x-unknown": {"keep": [1]}, "template": {"spec": {"volumes": [
                {"name": "root", "dataVolume": {"name": "db-root"}},
                {"name": "data", "persistentVolumeClaim": {"claimName": "db-data"}},
                {"name": "again", "persistentVolumeClaim": {"claimName": "db-data"}},
                {"name": "scratch", "ephemeral": {"persistentVolumeClaim": {"claimName": "golden"}}},
                {"name": "init", "cloudInitNoCloud": {"userData": "#!"}},
            ]}}}
        });
        for (key, value) in spec.as_object().unwrap() {
            vm["spec"][key] = value.clone();
        }
        vm
    }

    /// RFC 7396, for the patches.
    fn merge(into: &mut Value, patch: &Value) {
        let Some(fields) = patch.as_object() else {
            *into = patch.clone();
            return;
        };
        if !into.is_object() {
            *into = json!({});
        }
        for (key, value) in fields {
            let object = into.as_object_mut().unwrap();
            if value.is_null() {
                object.shift_remove(key);
            } else {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
    }

    #[test]
    fn halting_and_starting_gives_the_strategy_back() {
        for (spec, strategy) in [
            (json!({"runStrategy": "Always"}), "Always"),
            (json!({"runStrategy": "RerunOnFailure"}), "RerunOnFailure"),
            (json!({"runStrategy": "Manual"}), "Manual"),
            (json!({"running": true}), "Always"),
            (json!({"running": false}), "Halted"),
            (json!({"runStrategy": "Halted"}), "Halted"),
            (json!({}), "Halted"),
        ] {
            let vm = vm(&spec);
            let halted = halted(&vm);
            assert_eq!(halted["spec"]["runStrategy"], "Halted");
            assert!(halted["spec"].get("running").is_none());
            assert_eq!(halted["spec"]["x-unknown"], vm["spec"]["x-unknown"]);
            assert_eq!(halted["metadata"]["annotations"][keys::RUN_STRATEGY], strategy);
            assert_eq!(super::halted(&halted), halted, "twice is once");

            let mut started = halted.clone();
            merge(&mut started, &started_patch(&halted));
            assert_eq!(started["spec"]["runStrategy"], strategy);
            assert_eq!(started["metadata"]["annotations"], json!({}));

            let mut patched = vm.clone();
            merge(&mut patched, &halted_patch(&vm));
            assert_eq!(patched, halted);
        }
    }

    #[test]
    fn a_note_from_an_earlier_halt_counts_only_while_halted() {
        let mut vm = vm(&json!({"runStrategy": "RerunOnFailure"}));
        vm["metadata"]["annotations"] = json!({keys::RUN_STRATEGY: "Always"});
        assert_eq!(halted(&vm)["metadata"]["annotations"][keys::RUN_STRATEGY], "RerunOnFailure");
        vm["spec"]["runStrategy"] = "Halted".into();
        assert_eq!(halted(&vm)["metadata"]["annotations"][keys::RUN_STRATEGY], "Always");
        assert_eq!(started_patch(&vm)["spec"]["runStrategy"], "Always");
        assert!(starts_by_itself(&vm));
    }

    #[test]
    fn which_machines_start_by_themselves() {
        for (strategy, starts) in
            [("Always", true), ("RerunOnFailure", true), ("Once", true), ("Manual", false), ("Halted", false)]
        {
            assert_eq!(starts_by_itself(&vm(&json!({"runStrategy": strategy}))), starts, "{strategy}");
        }
    }

    #[test]
    fn claims_are_named_once_in_order() {
        assert_eq!(claims(&vm(&json!({}))), ["db-root", "db-data", "golden"]);
        assert!(claims(&json!({})).is_empty());
    }

    proptest! {
        #[test]
        fn never_panics_and_always_halts(vm in prop_oneof![any_json(), spoiled(&vm(&json!({"runStrategy": "Always"})))]) {
            let once = halted(&vm);
            let _ = (started_patch(&vm), claims(&vm));
            prop_assert_eq!(&halted(&once), &once);
            if vm.get("spec").is_some_and(Value::is_object) {
                prop_assert_eq!(strategy(&once), Some(HALTED));
            }
        }
    }
}
