//! The part of scheduler and kubelet for virt-launcher Pods: binds them to this node, says that they run, and lets them
//! go once the guest is over. What a Pod's status has to say is computed by pure functions.

use crate::{
    guests::Guests,
    handler::CREATED_BY,
    objects::{api, claim_resource, get, vmi_resource},
    status::now,
    vmi::{Phase, Vmi},
    volume::bound_volume,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::controller::Action,
};
use serde_json::{Value, json};
use std::sync::Arc;
use thiserror::Error;

/// What the launcher works with.
pub(crate) struct Launchers {
    pub(crate) client: Client,
    pub(crate) guests: Arc<Guests>,
    pub(crate) node: String,
    pub(crate) address: String,
    pub(crate) max_grace: std::time::Duration,
}

/// Why nothing could be done this time.
#[derive(Debug, Error)]
pub(crate) enum LauncherError {
    /// The API server.
    #[error("API server")]
    Api(#[from] kube::Error),
}

impl Launchers {
    /// One look at one Pod.
    pub(crate) async fn reconcile(self: Arc<Self>, pod: Arc<Pod>) -> Result<Action, LauncherError> {
        let deleted = pod.metadata.deletion_timestamp.is_some();
        match node(&pod) {
            // The API server itself removes a deleted Pod that is bound to no node.
            None if deleted => {}
            None => self.bind(&pod).await?,
            Some(node) if node != self.node => {}
            Some(_) => self.keep(&pod, deleted).await?,
        }
        Ok(Action::await_change())
    }

    async fn bind(&self, pod: &Pod) -> kube::Result<()> {
        let namespace = pod.namespace().unwrap_or_default();
        let claims = api(&self.client, &claim_resource(), &namespace);
        for claim in claims_of(pod) {
            if let Err(why) = bound_volume(&claim, get(&claims, &claim).await?.as_ref()) {
                return self.patch(pod, unschedulable(pod, &why.to_string(), &now())).await;
            }
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any(), "uid": pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.node},
        });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        match pods.create_subresource::<_, Value>("binding", &pod.name_any(), &PostParams::default(), &binding).await {
            // Somebody else (a scheduler) was quicker; the change that made will come.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    async fn keep(&self, pod: &Pod, deleted: bool) -> kube::Result<()> {
        let namespace = pod.namespace().unwrap_or_default();
        let (name, uid) = instance(pod);
        let guest = self.guests.get(&namespace, &name, &uid);
        let alive = guest.as_ref().is_some_and(|guest| guest.observed().is_alive());
        let vmi = get(&api(&self.client, &vmi_resource(), &namespace), &name).await?;
        let vmi = vmi.as_ref().map(Vmi).filter(|vmi| vmi.uid() == uid);
        let phase = vmi.map_or(Phase::Final, Vmi::phase);
        if !is_over(phase, alive, guest.is_some(), deleted) {
            if deleted && let Some(guest) = guest.filter(|_| alive) {
                guest.stop(vmi.map_or(self.max_grace, |vmi| vmi.grace(self.max_grace)));
            }
            return match deleted {
                true => Ok(()),
                false => self.patch(pod, running(pod, &self.address, &now())).await,
            };
        }
        let failed = vmi.is_some_and(|vmi| vmi.0["status"]["phase"] == "Failed");
        self.patch(pod, terminated(pod, failed, &now())).await?;
        if deleted {
            let gone = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
                ..DeleteParams::default()
            };
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            match pods.delete(&pod.name_any(), &gone).await {
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    async fn patch(&self, pod: &Pod, patch: Option<Value>) -> kube::Result<()> {
        let Some(patch) = patch else { return Ok(()) };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let patch = Patch::Strategic(patch);
        match pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

/// Whether the Pod's containers have ended. The Pod goes after the guest, and after its instance says how that ended:
/// virt-controller takes a running instance without a Pod for a failed one. An instance that was handed over but whose
/// guest was never started has nothing to wait for.
fn is_over(phase: Phase, alive: bool, known: bool, deleted: bool) -> bool {
    match phase {
        _ if alive => false,
        Phase::Final => true,
        Phase::Before => deleted,
        Phase::Scheduled => deleted && !known,
        Phase::Running => false,
    }
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// Name and uid of the instance that a Pod was made for.
fn instance(pod: &Pod) -> (String, String) {
    let owners = pod.metadata.owner_references.iter().flatten();
    let name = owners.filter(|owner| owner.kind == "VirtualMachineInstance").map(|owner| owner.name.clone()).next();
    (name.unwrap_or_default(), pod.labels().get(CREATED_BY).cloned().unwrap_or_default())
}

/// Names of the claims that a Pod uses.
pub(crate) fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())).collect()
}

fn condition(pod: &Pod, kind: &str) -> (String, String) {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.find(|condition| condition.type_ == kind);
    found.map_or_else(Default::default, |found| (found.status.clone(), found.message.clone().unwrap_or_default()))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn unschedulable(pod: &Pod, why: &str, now: &str) -> Option<Value> {
    (condition(pod, "PodScheduled") != ("False".to_owned(), why.to_owned())).then(|| {
        json!({"status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
            "lastProbeTime": null, "lastTransitionTime": now,
        }]}})
    })
}

/// What has to change so that the Pod says it runs. Its readiness follows its readiness gates: virt-controller sets
/// KubeVirt's while the instance is paused.
fn running(pod: &Pod, address: &str, now: &str) -> Option<Value> {
    let spec = pod.spec.as_ref()?;
    let gates = spec.readiness_gates.iter().flatten();
    let ready = gates.into_iter().all(|gate| condition(pod, &gate.condition_type).0 == "True");
    let wanted =
        [("PodReadyToStartContainers", true), ("Initialized", true), ("ContainersReady", true), ("Ready", ready)];
    let text = |value: bool| if value { "True" } else { "False" };
    let changed = |(kind, value): &&(&str, bool)| condition(pod, kind).0 != text(*value);
    let conditions: Vec<Value> = wanted
        .iter()
        .filter(changed)
        .map(|(kind, value)| {
            // Null takes out what an earlier False left.
            let (reason, message) = match value {
                true => (Value::Null, Value::Null),
                false => (json!("ReadinessGatesNotReady"), json!("not every readiness gate of the Pod is \"True\"")),
            };
            json!({
                "type": kind, "status": text(*value), "reason": reason, "message": message,
                "lastProbeTime": null, "lastTransitionTime": now,
            })
        })
        .collect();
    if phase(pod) == "Running" && conditions.is_empty() {
        return None;
    }
    let mut status = json!({ "conditions": conditions });
    if phase(pod) != "Running" {
        let state = json!({"running": {"startedAt": now}});
        let of = |container: &Container| container_status(container, true, &state);
        status["phase"] = json!("Running");
        status["startTime"] = json!(now);
        status["hostIP"] = json!(address);
        status["hostIPs"] = json!([{"ip": address}]);
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{"ip": address}]);
        status["containerStatuses"] = spec.containers.iter().map(of).collect();
        // Those that restart always run beside the others (KubeVirt's console log); the rest have done their work.
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}});
        let first = |container: &Container| match container.restart_policy.as_deref() {
            Some("Always") => of(container),
            _ => container_status(container, true, &done),
        };
        status["initContainerStatuses"] = spec.init_containers.iter().flatten().map(first).collect();
    }
    Some(json!({ "status": status }))
}

fn terminated(pod: &Pod, failed: bool, now: &str) -> Option<Value> {
    if matches!(phase(pod), "Succeeded" | "Failed") {
        return None;
    }
    let (code, reason) = if failed { (1, "Error") } else { (0, "Completed") };
    let state = json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": now}});
    let containers = &pod.spec.as_ref()?.containers;
    let condition = |kind: &str| json!({"type": kind, "status": "False", "reason": "PodCompleted", "lastProbeTime": null, "lastTransitionTime": now});
    Some(json!({"status": {
        "phase": if failed { "Failed" } else { "Succeeded" },
        "conditions": [condition("Ready"), condition("ContainersReady")],
        "containerStatuses": containers.iter().map(|one| container_status(one, false, &state)).collect::<Vec<_>>(),
    }}))
}

fn container_status(container: &Container, running: bool, state: &Value) -> Value {
    // A patch merges into the old state, so the other kinds of state are taken out by name.
    let mut whole = json!({"running": null, "waiting": null, "terminated": null});
    for (key, value) in state.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    let image = container.image.clone().unwrap_or_default();
    json!({
        "name": container.name, "image": image, "imageID": image, "restartCount": 0,
        "ready": running, "started": running, "state": whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T18:00:00Z";

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "virt-launcher-db-x", "namespace": "shop", "labels": {CREATED_BY: "u1"},
                "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "db", "uid": "u1"}],
            },
            "spec": {
                "readinessGates": [{"conditionType": "kubevirt.io/virtual-machine-unpaused"}],
                "initContainers": [{"name": "guest-console-log", "restartPolicy": "Always"}, {"name": "once"}],
                "containers": [{"name": "compute", "image": "launcher"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "db-data"}}, {"name": "x", "emptyDir": {}}],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn find<'a>(patch: &'a Value, kind: &str) -> &'a Value {
        patch["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null)
    }

    #[test]
    fn a_new_pod_runs_but_is_ready_only_with_its_gate() {
        let patch = running(&pod(json!({"phase": "Pending"})), "10.77.0.1", NOW).unwrap();
        assert_eq!(patch["status"]["phase"], "Running");
        assert_eq!(patch["status"]["podIP"], "10.77.0.1");
        assert_eq!(find(&patch, "ContainersReady")["status"], "True");
        assert_eq!(find(&patch, "Ready")["status"], "False");
        assert!(patch["status"]["containerStatuses"][0]["state"]["running"].is_object());
        assert!(patch["status"]["initContainerStatuses"][0]["state"]["running"].is_object());
        assert!(patch["status"]["initContainerStatuses"][1]["state"]["terminated"].is_object());
    }

    #[test]
    fn a_running_pod_follows_its_gate_and_rests() {
        let status = |gate: &str, ready: &str| {
            let one = |kind: &str, status: &str| json!({"type": kind, "status": status});
            json!({"phase": "Running", "conditions": [
                one("PodReadyToStartContainers", "True"), one("Initialized", "True"), one("ContainersReady", "True"),
                one("Ready", ready), one("kubevirt.io/virtual-machine-unpaused", gate),
            ]})
        };
        assert_eq!(running(&pod(status("True", "True")), "a", NOW), None);
        assert_eq!(running(&pod(status("False", "False")), "a", NOW), None);
        let paused = running(&pod(status("False", "True")), "a", NOW).unwrap();
        assert_eq!(paused["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(find(&paused, "Ready")["status"], "False");
        assert!(paused["status"].get("phase").is_none());
        assert_eq!(find(&running(&pod(status("True", "False")), "a", NOW).unwrap(), "Ready")["status"], "True");
    }

    #[test]
    fn an_ended_pod_says_so_once() {
        let patch = terminated(&pod(json!({"phase": "Running"})), true, NOW).unwrap();
        assert_eq!(patch["status"]["phase"], "Failed");
        assert_eq!(patch["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 1);
        assert_eq!(patch["status"]["containerStatuses"][0]["state"]["running"], Value::Null);
        assert_eq!(terminated(&pod(json!({"phase": "Failed"})), false, NOW), None);
    }

    #[test]
    fn unschedulable_is_said_once() {
        let first = unschedulable(&pod(json!({})), "claim db-data is Pending", NOW).unwrap();
        let told = find(&first, "PodScheduled").clone();
        assert_eq!(told["reason"], "Unschedulable");
        assert_eq!(unschedulable(&pod(json!({"conditions": [told]})), "claim db-data is Pending", NOW), None);
    }

    #[test]
    fn a_pod_outlives_its_guest() {
        assert!(!is_over(Phase::Running, true, true, true));
        assert!(!is_over(Phase::Running, false, true, true), "its end is not reported yet");
        assert!(!is_over(Phase::Final, true, true, false), "still being killed");
        assert!(is_over(Phase::Final, false, true, false));
        assert!(is_over(Phase::Scheduled, false, false, true), "nothing was started");
        assert!(!is_over(Phase::Scheduled, false, true, true));
        assert!(!is_over(Phase::Scheduled, false, false, false));
        assert!(is_over(Phase::Before, false, false, true));
    }

    #[test]
    fn a_pod_names_its_instance_and_claims() {
        let pod = pod(json!({}));
        assert_eq!(instance(&pod), ("db".to_owned(), "u1".to_owned()));
        assert_eq!(claims_of(&pod), ["db-data"]);
    }
}
