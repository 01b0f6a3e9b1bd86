//! What the node has to know of a VirtualMachineInstance, and what it has to do about one: pure.

use crate::observed::{Observed, Outcome};
use serde_json::Value;
use std::time::Duration;

/// A reading view of the object; the object itself stays raw JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vmi<'a>(pub(crate) &'a Value);

/// A disk that has a claim behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimedDisk {
    /// Name of disk and volume.
    pub(crate) name: String,
    /// What the guest sees: the disk's `serial`, or else its name; virtio-blk shows 20 bytes of it.
    pub(crate) serial: String,
    /// Name of the PersistentVolumeClaim.
    pub(crate) claim: String,
}

/// KubeVirt's phases, as far as they make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// virt-controller's: nothing to do yet.
    Before,
    /// Handed over to the node.
    Scheduled,
    /// The guest runs.
    Running,
    /// Succeeded or Failed.
    Final,
}

impl<'a> Vmi<'a> {
    fn text(self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn namespace(self) -> &'a str {
        self.text("/metadata/namespace")
    }

    pub(crate) fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    pub(crate) fn uid(self) -> &'a str {
        self.text("/metadata/uid")
    }

    pub(crate) fn node(self) -> &'a str {
        self.text("/status/nodeName")
    }

    pub(crate) fn is_deleted(self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    pub(crate) fn phase(self) -> Phase {
        match self.text("/status/phase") {
            "Scheduled" => Phase::Scheduled,
            "Running" => Phase::Running,
            "Succeeded" | "Failed" => Phase::Final,
            _ => Phase::Before,
        }
    }

    /// How long the guest may take to stop: 30 s if the object does not say, as in KubeVirt.
    pub(crate) fn grace(self, cap: Duration) -> Duration {
        let seconds = self.0.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
        Duration::from_secs(seconds).min(cap)
    }

    /// The disks with claims, in the order of the specification. Other volumes (cloud-init, container disks) carry no
    /// data of the guest's own and are left out, as are CD-ROMs.
    pub(crate) fn disks(self) -> Vec<ClaimedDisk> {
        let list = |pointer| self.0.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let claim = |name: &str| {
            let volume = list("/spec/volumes").iter().find(|volume| volume["name"] == name)?;
            let claim = volume.pointer("/persistentVolumeClaim/claimName").or(volume.pointer("/dataVolume/name"))?;
            claim.as_str().map(str::to_owned)
        };
        let disks = list("/spec/domain/devices/disks").iter();
        disks
            .filter(|disk| disk.get("cdrom").is_none())
            .filter_map(|disk| {
                let name = disk["name"].as_str()?;
                let mut serial = disk["serial"].as_str().filter(|serial| !serial.is_empty()).unwrap_or(name).to_owned();
                serial.truncate(serial.floor_char_boundary(leeward_lab_guest::block::SERIAL_MAX));
                Some(ClaimedDisk { name: name.to_owned(), serial, claim: claim(name)? })
            })
            .collect()
    }
}

/// The virt-launcher Pod of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launcher {
    /// It is there and wanted.
    Up,
    /// There is none, or it is to go.
    Down,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Not this node's turn.
    Wait,
    /// Start the guest.
    Start,
    /// Ask the guest to stop.
    Stop,
    /// End it now: its instance is over.
    Kill,
    /// Make the object say that the guest runs, and how.
    Report,
    /// Make the object say that it is over.
    Finish(Outcome),
}

/// Compares what should be with what is.
pub(crate) fn decide(vmi: Vmi<'_>, launcher: Launcher, guest: Option<&Observed>) -> Decision {
    let unwanted = vmi.is_deleted() || launcher == Launcher::Down;
    match (vmi.phase(), guest) {
        (Phase::Before, _) | (Phase::Final, None) => Decision::Wait,
        (Phase::Final, Some(guest)) if guest.is_alive() => Decision::Kill,
        (Phase::Final, Some(_)) => Decision::Wait,
        (_, Some(Observed { outcome: Some(outcome), .. })) => Decision::Finish(outcome.clone()),
        (_, Some(_)) if unwanted => Decision::Stop,
        (_, Some(_)) => Decision::Report,
        (Phase::Scheduled, None) if vmi.is_deleted() => Decision::Finish(Outcome::Succeeded),
        (Phase::Scheduled, None) if unwanted => Decision::Wait,
        (Phase::Scheduled, None) => Decision::Start,
        (Phase::Running, None) => Decision::Finish(Outcome::Failed {
            reason: "GuestLost",
            message: "this node knows nothing of the guest any more; its files were removed [LW-0977]".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vmi(phase: &str, deleted: bool) -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": "db", "uid": "u",
                "deletionTimestamp": if deleted { json!("2026-11-22T00:00:00Z") } else { Value::Null },
            },
            "spec": {
                "domain": {"devices": {"disks": [
                    {"name": "data", "serial": "a-serial-that-is-longer-than-20", "disk": {"bus": "virtio"}},
                    {"name": "log", "disk": {"bus": "virtio"}},
                    {"name": "init", "disk": {"bus": "virtio"}},
                    {"name": "iso", "cdrom": {}},
                ]}},
                "volumes": [
                    {"name": "log", "persistentVolumeClaim": {"claimName": "db-log"}},
                    {"name": "data", "dataVolume": {"name": "db-data"}},
                    {"name": "init", "cloudInitNoCloud": {"userData": "x"}},
                    {"name": "iso", "persistentVolumeClaim": {"claimName": "iso"}},
                ],
            },
            "status": {"phase": phase, "nodeName": "east-node"},
        })
    }

    #[test]
    fn disks_are_those_with_claims() {
        let disk = |name: &str, serial: &str, claim: &str| ClaimedDisk {
            name: name.into(),
            serial: serial.into(),
            claim: claim.into(),
        };
        let expected = [disk("data", "a-serial-that-is-lon", "db-data"), disk("log", "log", "db-log")];
        assert_eq!(Vmi(&vmi("Scheduled", false)).disks(), expected);
    }

    #[test]
    fn grace_has_a_default_and_a_cap() {
        let mut vmi = vmi("Running", false);
        assert_eq!(Vmi(&vmi).grace(Duration::from_secs(60)), Duration::from_secs(30));
        vmi["spec"]["terminationGracePeriodSeconds"] = json!(180);
        assert_eq!(Vmi(&vmi).grace(Duration::from_secs(60)), Duration::from_secs(60));
        vmi["spec"]["terminationGracePeriodSeconds"] = json!(0);
        assert_eq!(Vmi(&vmi).grace(Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn the_way_of_an_instance() {
        let alive = Observed::default();
        let ended = Observed { outcome: Some(Outcome::Succeeded), ..Observed::default() };
        let decide = |phase, deleted, launcher, guest| super::decide(Vmi(&vmi(phase, deleted)), launcher, guest);
        use Launcher::{Down, Up};
        assert_eq!(decide("Scheduling", false, Up, None), Decision::Wait);
        assert_eq!(decide("Scheduled", false, Up, None), Decision::Start);
        assert_eq!(decide("Scheduled", false, Up, Some(&alive)), Decision::Report);
        assert_eq!(decide("Running", false, Up, Some(&alive)), Decision::Report);
        assert_eq!(decide("Running", true, Up, Some(&alive)), Decision::Stop);
        assert_eq!(decide("Running", false, Down, Some(&alive)), Decision::Stop, "evicted");
        assert_eq!(decide("Running", true, Down, Some(&ended)), Decision::Finish(Outcome::Succeeded));
        assert_eq!(decide("Scheduled", true, Down, None), Decision::Finish(Outcome::Succeeded));
        assert_eq!(decide("Scheduled", false, Down, None), Decision::Wait, "never started without a Pod");
        assert_eq!(decide("Failed", false, Up, Some(&alive)), Decision::Kill);
        assert_eq!(decide("Succeeded", true, Down, Some(&ended)), Decision::Wait);
        assert!(matches!(decide("Running", false, Up, None), Decision::Finish(Outcome::Failed { .. })));
    }
}
