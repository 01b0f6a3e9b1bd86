//! KubeVirt's feature gates without which it refuses a machine, or cannot start it.
//!
//! Read in KubeVirt's sources, v1.4.0 to v1.9.0: the gates and their states in `pkg/virt-config/featuregate`, what they are
//! needed for in `pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go`, `pkg/virt-api/webhooks/amd64.go`,
//! `pkg/dra/admitter` and `pkg/network/admitter`. Not among them are gates that only forbid a change of a running machine
//! (HotplugVolumes: its hot-plugged disks are in its spec and start with it; ExpandDisks, Snapshot, VMExport), and those that
//! were always on in these versions.

use super::Finding;
use crate::json;
use crate::name::SiteName;
use serde_json::Value;

/// Major and minor version.
type Version = (u32, u32);

/// A gate.
#[derive(Debug, PartialEq, Eq)]
struct Gate {
    name: &'static str,
    /// A gate of earlier versions that allows the same.
    or: Option<&'static str>,
    /// From this version on it is on by default. (Beta gates are since v1.9; before, every gate had to be named.)
    default: Option<Version>,
    /// From this version on it cannot be switched off.
    always: Option<Version>,
}

const fn gate(name: &'static str, default: Option<Version>, always: Option<Version>) -> Gate {
    Gate { name, or: None, default, always }
}

const PERSISTENT_STATE: Gate = gate("VMPersistentState", None, Some((1, 6)));
const PERSISTENT_RESERVATION: Gate = gate("PersistentReservation", None, Some((1, 9)));
const HOST_DISK: Gate = gate("HostDisk", None, None);
const DOWNWARD_METRICS: Gate = gate("DownwardMetrics", None, None);
const HOST_DEVICES: Gate = gate("HostDevices", None, None);
const HOST_DEVICES_DRA: Gate = gate("HostDevicesWithDRA", Some((1, 9)), None);
const GPUS_DRA: Gate = gate("GPUsWithDRA", Some((1, 9)), None);
const VSOCK: Gate = gate("VSOCK", None, None);
const VIDEO: Gate = gate("VideoConfig", None, Some((1, 9)));
const PANIC: Gate = gate("PanicDevices", None, Some((1, 9)));
const REBOOT: Gate = gate("RebootPolicy", Some((1, 9)), None);
const OVERHEAD: Gate = gate("ReservedOverheadMemlock", None, None);
const IGNITION: Gate = gate("ExperimentalIgnitionSupport", None, None);
const SIDECAR: Gate = gate("Sidecar", None, None);
const SEV: Gate = gate("WorkloadEncryptionSEV", Some((1, 9)), None);
const TDX: Gate = gate("WorkloadEncryptionTDX", None, None);
const PASST: Gate = gate("PasstBinding", Some((1, 9)), None);
const EMPTY_DRIVE: Gate = gate("DeclarativeHotplugVolumes", Some((1, 9)), None);
const VIRTIOFS: &str = "ExperimentalVirtiofsSupport";
const FILES_OF_CLAIM: Gate = Gate { or: Some(VIRTIOFS), ..gate("EnableVirtioFsStorageVolumes", None, None) };
const FILES_OF_CONFIG: Gate = Gate { or: Some(VIRTIOFS), ..gate("EnableVirtioFsConfigVolumes", None, Some((1, 8))) };

/// A gate that a machine needs, and for what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need {
    gate: &'static Gate,
    what: &'static str,
}

/// The gates that the machine needs, or that its instance type and preference (`templates`: the objects in their
/// revisions) ask for.
pub(super) fn needs(vm: &Value, templates: &[Value]) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut add = |gate: &'static Gate, what: &'static str, needed: bool| {
        if needed && !needs.iter().any(|need: &Need| need.gate == gate) {
            needs.push(Need { gate, what });
        }
    };
    let spec = vm.pointer("/spec/template/spec").unwrap_or(&Value::Null);
    let at = |pointer: &str| spec.pointer(pointer).filter(|value| !value.is_null());
    let on = |pointer: &str| at(pointer) == Some(&Value::Bool(true));
    let each = |pointer: &str| at(pointer).and_then(Value::as_array).into_iter().flatten();
    let annotated = |key: &str| {
        let annotations = vm.pointer("/spec/template/metadata/annotations");
        annotations.and_then(|a| a.get(key)).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    add(&PERSISTENT_STATE, "a persistent TPM", on("/domain/devices/tpm/persistent"));
    add(&PERSISTENT_STATE, "persistent EFI variables", on("/domain/firmware/bootloader/efi/persistent"));
    let disks = || each("/domain/devices/disks");
    let volumes = || each("/volumes");
    let reserved = |disk: &Value| disk.pointer("/lun/reservation") == Some(&Value::Bool(true));
    add(&PERSISTENT_RESERVATION, "SCSI persistent reservations", disks().any(reserved));
    add(&HOST_DISK, "a disk on its node (hostDisk)", volumes().any(|volume| volume.get("hostDisk").is_some()));
    let metrics =
        at("/domain/devices/downwardMetrics").is_some() || volumes().any(|v| v.get("downwardMetrics").is_some());
    add(&DOWNWARD_METRICS, "downward metrics", metrics);
    add(&HOST_DEVICES, "devices of its node", at("/domain/devices/hostDevices").is_some());
    let claimed = |pointer: &str| each(pointer).any(|device| device.get("claimName").is_some());
    add(&HOST_DEVICES_DRA, "devices that are claimed (DRA)", claimed("/domain/devices/hostDevices"));
    add(&GPUS_DRA, "GPUs that are claimed (DRA)", claimed("/domain/devices/gpus"));
    add(&VSOCK, "a VSOCK device", on("/domain/devices/autoattachVSOCK"));
    add(&VIDEO, "a video device of its own choice", at("/domain/devices/video").is_some());
    add(&PANIC, "panic devices", at("/domain/devices/panicDevices").is_some());
    add(&REBOOT, "a reboot policy", at("/domain/rebootPolicy").is_some());
    add(&OVERHEAD, "reserved memory overhead", at("/domain/memory/reservedOverhead").is_some());
    add(&IGNITION, "Ignition data", annotated("kubevirt.io/ignitiondata"));
    add(&SIDECAR, "hook sidecars", annotated("hooks.kubevirt.io/hookSidecars"));
    let sealed = |key: &str| at("/domain/launchSecurity").is_some_and(|security| security.get(key).is_some());
    add(&SEV, "encrypted memory (SEV)", sealed("sev") || sealed("snp"));
    add(&TDX, "encrypted memory (TDX)", sealed("tdx"));
    add(&PASST, "a passt binding", each("/domain/devices/interfaces").any(|i| i.get("passtBinding").is_some()));
    let name = |object: &Value| json::text(object, "/name").map(str::to_owned);
    let empty = |disk: &Value| disk.get("cdrom").is_some() && !volumes().any(|volume| name(volume) == name(disk));
    add(&EMPTY_DRIVE, "an empty CD drive", disks().any(empty));
    for files in each("/domain/devices/filesystems") {
        let Some(volume) = volumes().find(|volume| name(volume) == name(files)) else { continue };
        let of_claim = ["persistentVolumeClaim", "dataVolume"].iter().any(|key| volume.get(*key).is_some());
        let of_config =
            ["configMap", "secret", "serviceAccount", "downwardAPI"].iter().any(|key| volume.get(*key).is_some());
        add(&FILES_OF_CLAIM, "a file system of a claim (virtiofs)", of_claim);
        add(&FILES_OF_CONFIG, "files of a ConfigMap or Secret (virtiofs)", of_config);
    }
    for template in templates {
        let has = |pointer: &str| {
            template.pointer(pointer).is_some_and(|value| !value.is_null() && *value != Value::Bool(false))
        };
        add(&HOST_DEVICES, "devices of its node (instance type)", has("/spec/hostDevices"));
        add(
            &SEV,
            "encrypted memory (instance type)",
            has("/spec/launchSecurity/sev") || has("/spec/launchSecurity/snp"),
        );
        add(&TDX, "encrypted memory (instance type)", has("/spec/launchSecurity/tdx"));
        add(&PERSISTENT_STATE, "a persistent TPM (preference)", has("/spec/devices/preferredTPM/persistent"));
        add(&PERSISTENT_STATE, "persistent EFI variables (preference)", has("/spec/firmware/preferredEfi/persistent"));
    }
    needs
}

/// The gates of a site.
pub(super) struct Gates<'a> {
    version: Option<Version>,
    on: Vec<&'a str>,
    off: Vec<&'a str>,
}

impl<'a> Gates<'a> {
    pub(super) fn read(kubevirt: Option<&'a Value>) -> Self {
        let kubevirt = kubevirt.unwrap_or(&Value::Null);
        let list = |key: &str| {
            let list = kubevirt.pointer(&format!("/spec/configuration/developerConfiguration/{key}"));
            list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let version = json::text(kubevirt, "/status/observedKubeVirtVersion").and_then(version);
        Self { version, on: list("featureGates"), off: list("disabledFeatureGates") }
    }

    /// What is to be said about a gate that is needed.
    pub(super) fn missing(&self, need: &Need, object: &str, target: &SiteName) -> Option<Finding> {
        let Need { gate, what } = need;
        let since = |from: Option<Version>| self.version.zip(from).is_some_and(|(is, from)| is >= from);
        let on = self.on.contains(&gate.name) || gate.or.is_some_and(|or| self.on.contains(&or));
        if on || since(gate.always) || since(gate.default) && !self.off.contains(&gate.name) {
            return None;
        }
        let next = format!(
            "add {} to spec.configuration.developerConfiguration.featureGates of the KubeVirt object of site {target} (OpenShift \
             Virtualization: of the HyperConverged object)",
            gate.name
        );
        if self.version.is_none() && (gate.always.is_some() || gate.default.is_some()) {
            let said = format!(
                "it has {what}, for which KubeVirt's feature gate {} must be on; site {target} does not name it, and its KubeVirt does \
                 not tell its version, of which newer ones have it on",
                gate.name
            );
            return Some(Finding::warning("LW-0186", object, &said, &next));
        }
        let said = format!(
            "it has {what}, for which KubeVirt's feature gate {} must be on; at site {target} it is not",
            gate.name
        );
        Some(Finding::error("LW-0186", object, &said, &next))
    }
}

/// `v1.8.4`, `v1.4.0-30-gabc`.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.strip_prefix('v').unwrap_or(text).split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
