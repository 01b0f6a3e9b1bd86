//! Stops and starts VMs, by their run strategy, and waits until that has happened.

use crate::{
    error::SiteError,
    site::{Site, VM, VMI},
};
use leeward_model::{group::Confirm, plan::observed::ObjectRef, vm};
use serde_json::Value;
use std::time::Duration;

/// Time for a guest to shut down. KubeVirt kills it after the VM's own grace period (180 s by default for VMs made by
/// OpenShift's templates), so this only ends the wait for a virt-handler that does not answer.
const STOP: Duration = Duration::from_secs(300);
/// Time for a guest to come up.
const UP: Duration = Duration::from_secs(600);

/// Halts the VMs, all at once, and waits until none has an instance. VMs that do not exist are halted.
///
/// # Errors
/// The first VM that did not stop.
pub async fn stop(site: &Site, vms: &[ObjectRef]) -> Result<(), SiteError> {
    futures::future::try_join_all(vms.iter().map(|name| halt(site, name))).await?;
    futures::future::try_join_all(vms.iter().map(|name| wait_gone(site, name))).await?;
    Ok(())
}

async fn halt(site: &Site, name: &ObjectRef) -> Result<(), SiteError> {
    let Some(object) = site.get(VM, Some(name.namespace.as_str()), &name.name).await? else { return Ok(()) };
    if vm::strategy(&object) == Some(vm::HALTED) {
        return Ok(());
    }
    site.merge(VM, Some(name.namespace.as_str()), &name.name, &vm::halted_patch(&object)).await
}

async fn wait_gone(site: &Site, name: &ObjectRef) -> Result<(), SiteError> {
    site.wait(
        VMI,
        (Some(name.namespace.as_str()), &name.name),
        (&format!("the shutdown of VM {name}"), STOP),
        |instance| instance.is_none(),
        |instance| format!("its instance is still {}", phase(instance)),
    )
    .await
}

/// Gives the VMs their run strategies back, all at once.
///
/// # Errors
/// The first VM that could not be changed, or does not exist.
pub async fn start(site: &Site, vms: &[ObjectRef]) -> Result<(), SiteError> {
    futures::future::try_join_all(vms.iter().map(|name| start_one(site, name))).await?;
    Ok(())
}

async fn start_one(site: &Site, name: &ObjectRef) -> Result<(), SiteError> {
    let namespace = Some(name.namespace.as_str());
    let Some(object) = site.get(VM, namespace, &name.name).await? else {
        return Err(SiteError::Wrong {
            site: site.name.clone(),
            object: format!("VM {name}"),
            problem: "was not restored: the restore's results in the bucket say why".to_owned(),
        });
    };
    if vm::strategy(&object) != Some(vm::HALTED) {
        return Ok(());
    }
    site.merge(VM, namespace, &name.name, &vm::started_patch(&object)).await
}

/// Waits until the VMs are up, as the group's owner defines it.
///
/// # Errors
/// The first VM that did not come up, with what KubeVirt says of it.
pub async fn wait_up(site: &Site, vms: &[ObjectRef], confirm: Confirm) -> Result<(), SiteError> {
    futures::future::try_join_all(vms.iter().map(|name| wait_one_up(site, name, confirm))).await?;
    Ok(())
}

async fn wait_one_up(site: &Site, name: &ObjectRef, confirm: Confirm) -> Result<(), SiteError> {
    site.wait(
        VMI,
        (Some(name.namespace.as_str()), &name.name),
        (&format!("VM {name}"), UP),
        |instance| instance.is_some_and(|instance| is_up(instance, confirm)),
        explain,
    )
    .await
}

fn is_up(instance: &Value, confirm: Confirm) -> bool {
    let ready = phase(instance) == "Running" && condition(instance, "Ready") && !condition(instance, "Paused");
    match confirm {
        Confirm::Ready => ready,
        Confirm::GuestAgent => ready && condition(instance, "AgentConnected"),
    }
}

fn phase(instance: &Value) -> &str {
    instance.pointer("/status/phase").and_then(Value::as_str).unwrap_or("without a phase")
}

fn conditions(instance: &Value) -> impl Iterator<Item = &Value> {
    instance.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

fn condition(instance: &Value, kind: &str) -> bool {
    conditions(instance).any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some(kind)
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

fn explain(instance: &Value) -> String {
    let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let conditions: Vec<String> = conditions(instance)
        .map(|condition| {
            format!("{}={} {}", text(condition, "type"), text(condition, "status"), text(condition, "message"))
        })
        .collect();
    format!("its instance is {}; {}", phase(instance), conditions.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_paused_or_silent_guest_is_not_up() {
        let instance = |conditions: &[(&str, &str)]| {
            let conditions: Vec<Value> = conditions.iter().map(|(t, s)| json!({"type": t, "status": s})).collect();
            json!({"status": {"phase": "Running", "conditions": conditions}})
        };
        assert!(is_up(&instance(&[("Ready", "True")]), Confirm::Ready));
        assert!(!is_up(&instance(&[("Ready", "True")]), Confirm::GuestAgent));
        assert!(is_up(&instance(&[("Ready", "True"), ("AgentConnected", "True")]), Confirm::GuestAgent));
        assert!(!is_up(&instance(&[("Ready", "True"), ("Paused", "True")]), Confirm::Ready));
        assert!(!is_up(&json!({"status": {"phase": "Failed"}}), Confirm::Ready));
    }
}
