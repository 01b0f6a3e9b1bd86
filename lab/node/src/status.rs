//! The status of a VirtualMachineInstance as virt-handler writes it: pure.
//!
//! `Ready` is not written here: virt-controller derives it from the phase and the Pod. The definition of the kind has
//! no status subresource, so the object itself is written.

use crate::observed::{Observed, Outcome};
use serde_json::{Value, json};

/// Now, as the API server writes times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The status fields that have to change so that the object says how its running guest is; `None` if it already does. `disks` are the
/// guest's disks as (name, serial) in QEMU's order.
pub(crate) fn running(vmi: &Value, guest: &Observed, disks: &[(&str, &str)], now: &str) -> Option<Value> {
    let status = &vmi["status"];
    let mut conditions = list(&status["conditions"]);
    set(&mut conditions, "AgentConnected", guest.all_whole(disks.iter().map(|disk| disk.1)).then_some(("", "")), now);
    let paused = guest.paused.as_ref().map(|pause| {
        let disk = pause.drive.as_deref().and_then(|drive| drive.strip_prefix("disk")?.parse::<usize>().ok());
        let disk = disk.and_then(|number| disks.get(number)).map_or_else(String::new, |disk| format!("{}: ", disk.0));
        format!("VMI was paused, low-level IO error detected: {disk}{}", pause.reason)
    });
    set(&mut conditions, "Paused", paused.as_deref().map(|message| ("PausedIOError", message)), now);

    let mut volumes = list(&status["volumeStatus"]);
    for (number, (name, _)) in disks.iter().enumerate() {
        let target = format!("vd{}", char::from(b'a' + u8::try_from(number.min(25)).unwrap_or_default()));
        match volumes.iter_mut().find(|volume| volume["name"] == **name) {
            Some(volume) => volume["target"] = json!(target),
            None => volumes.push(json!({ "name": name, "target": target })),
        }
    }
    let mut changes = json!({});
    if conditions != list(&status["conditions"]) {
        changes["conditions"] = Value::Array(conditions);
    }
    if volumes != list(&status["volumeStatus"]) {
        changes["volumeStatus"] = Value::Array(volumes);
    }
    if status["interfaces"].is_null() {
        let interfaces = list(&vmi["spec"]["domain"]["devices"]["interfaces"]);
        let report = |interface: &Value| match &interface["macAddress"] {
            Value::Null => json!({ "name": interface["name"], "infoSource": "domain" }),
            mac => json!({ "name": interface["name"], "mac": mac, "infoSource": "domain" }),
        };
        if !interfaces.is_empty() {
            changes["interfaces"] = interfaces.iter().map(report).collect();
        }
    }
    phase(&mut changes, status, "Running", now);
    (changes != json!({})).then_some(changes)
}

/// The status fields that have to change so that the object says that it is over.
pub(crate) fn finished(vmi: &Value, outcome: &Outcome, now: &str) -> Value {
    let status = &vmi["status"];
    let mut conditions = list(&status["conditions"]);
    set(&mut conditions, "AgentConnected", None, now);
    set(&mut conditions, "Paused", None, now);
    let mut changes = json!({});
    match outcome {
        Outcome::Succeeded => phase(&mut changes, status, "Succeeded", now),
        Outcome::Failed { reason, message } => {
            phase(&mut changes, status, "Failed", now);
            changes["reason"] = json!(reason);
            conditions.retain(|condition| condition["type"] != "Synchronized");
            conditions.push(json!({
                "type": "Synchronized", "status": "False", "reason": reason, "message": message,
                "lastProbeTime": Value::Null, "lastTransitionTime": now,
            }));
        }
    }
    changes["conditions"] = Value::Array(conditions);
    changes
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Makes a condition true with this reason and message, or takes it away. One that says the same already stays as it
/// is, with its time.
fn set(conditions: &mut Vec<Value>, kind: &str, wanted: Option<(&str, &str)>, now: &str) {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let same = |condition: &Value| {
        wanted.is_some_and(|(reason, message)| {
            condition["status"] == "True"
                && text(condition, "reason") == reason
                && text(condition, "message") == message
        })
    };
    if conditions.iter().any(|condition| condition["type"] == kind && same(condition)) {
        return;
    }
    conditions.retain(|condition| condition["type"] != kind);
    if let Some((reason, message)) = wanted {
        let mut condition = json!({ "type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now });
        if !reason.is_empty() {
            condition["reason"] = json!(reason);
            condition["message"] = json!(message);
        }
        conditions.push(condition);
    }
}

fn phase(changes: &mut Value, status: &Value, phase: &str, now: &str) {
    if status["phase"] == phase {
        return;
    }
    let mut transitions = list(&status["phaseTransitionTimestamps"]);
    transitions.push(json!({ "phase": phase, "phaseTransitionTimestamp": now }));
    changes["phase"] = json!(phase);
    changes["phaseTransitionTimestamps"] = Value::Array(transitions);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::IoPause;

    const DISKS: &[(&str, &str)] = &[("data", "data"), ("log", "log")];
    const NOW: &str = "2026-11-22T18:00:00Z";

    fn whole() -> Observed {
        let mut guest = Observed::default();
        for disk in ["data", "log"] {
            guest.console(&format!("LW chain disk={disk} status=ok records=0 first=0 last=0 last_site=- last_t=0"));
        }
        guest
    }

    fn merged(mut vmi: Value, patch: &Value) -> Value {
        for (key, value) in patch.as_object().unwrap() {
            vmi["status"][key] = value.clone();
        }
        vmi
    }

    fn scheduled() -> Value {
        json!({
            "spec": {"domain": {"devices": {"interfaces": [{"name": "default", "masquerade": {}}]}}},
            "status": {
                "phase": "Scheduled",
                "conditions": [{"type": "Ready", "status": "False", "reason": "GuestNotRunning"}],
                "volumeStatus": [{"name": "data", "persistentVolumeClaimInfo": {"claimName": "db-data"}}],
            },
        })
    }

    fn condition<'a>(vmi: &'a Value, kind: &str) -> Option<&'a Value> {
        vmi["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
    }

    #[test]
    fn a_guest_goes_from_scheduled_to_connected_and_then_rests() {
        let booting = Observed::default();
        let vmi = merged(scheduled(), &running(&scheduled(), &booting, DISKS, NOW).unwrap());
        assert_eq!(vmi["status"]["phase"], "Running");
        assert_eq!(vmi["status"]["volumeStatus"][0]["persistentVolumeClaimInfo"]["claimName"], "db-data");
        assert_eq!(vmi["status"]["volumeStatus"][1], json!({"name": "log", "target": "vdb"}));
        assert_eq!(vmi["status"]["interfaces"][0]["name"], "default");
        assert!(condition(&vmi, "AgentConnected").is_none());
        assert!(condition(&vmi, "Ready").is_some(), "other conditions stay");
        assert_eq!(running(&vmi, &booting, DISKS, "later"), None);
        let connected = merged(vmi.clone(), &running(&vmi, &whole(), DISKS, NOW).unwrap());
        assert_eq!(condition(&connected, "AgentConnected").unwrap()["status"], "True");
        assert_eq!(running(&connected, &whole(), DISKS, "later"), None);
    }

    #[test]
    fn a_pause_is_told_and_taken_back() {
        let vmi = merged(scheduled(), &running(&scheduled(), &whole(), DISKS, NOW).unwrap());
        let mut stuck = whole();
        stuck.paused = Some(IoPause { drive: Some("disk1".into()), reason: "write: Read-only file system".into() });
        let paused = merged(vmi.clone(), &running(&vmi, &stuck, DISKS, NOW).unwrap());
        let told = condition(&paused, "Paused").unwrap();
        assert_eq!(told["reason"], "PausedIOError");
        assert!(told["message"].as_str().unwrap().ends_with("detected: log: write: Read-only file system"));
        let resumed = merged(paused.clone(), &running(&paused, &whole(), DISKS, NOW).unwrap());
        assert!(condition(&resumed, "Paused").is_none());
        assert!(condition(&resumed, "AgentConnected").is_some());
    }

    #[test]
    fn the_end_has_a_phase_and_a_reason() {
        let vmi = merged(scheduled(), &running(&scheduled(), &whole(), DISKS, NOW).unwrap());
        let good = merged(vmi.clone(), &finished(&vmi, &Outcome::Succeeded, NOW));
        assert_eq!(good["status"]["phase"], "Succeeded");
        assert!(condition(&good, "AgentConnected").is_none());
        let outcome = Outcome::Failed { reason: "BrokenDisk", message: "disk log is not whole [LW-0974]".into() };
        let bad = merged(vmi.clone(), &finished(&vmi, &outcome, NOW));
        assert_eq!(bad["status"]["phase"], "Failed");
        assert_eq!(bad["status"]["reason"], "BrokenDisk");
        assert_eq!(condition(&bad, "Synchronized").unwrap()["message"], "disk log is not whole [LW-0974]");
    }
}
