use super::*;
use crate::testing::{any_json, csi_pv, site, spoiled};
use proptest::prelude::*;
use serde_json::json;

/// A backup in memory.
struct Held(BTreeMap<String, Vec<Value>>);

impl Contents for Held {
    fn resources(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn count(&self, resource: &str) -> usize {
        self.0.get(resource).map_or(0, Vec::len)
    }

    fn objects<'a>(&'a self, resource: &'a str) -> Box<dyn Iterator<Item = Value> + 'a> {
        Box::new(self.0.get(resource).into_iter().flatten().cloned())
    }

    fn object(&self, resource: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let is = |object: &Value| {
            object.pointer("/metadata/name") == Some(&json!(name))
                && object.pointer("/metadata/namespace").and_then(Value::as_str) == namespace
        };
        self.objects(resource).find(is)
    }
}

fn mapping() -> Mapping {
    Mapping::parse(
        "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.77.0.1, path: /export } }
    west: { nfs: { server: 10.77.0.2, path: /vault } }
storageClasses:
  - { east: gold, west: fast }
networks:
  - { east: shop/own, west: shop/lan }
skip: [{ inTree: local }]
",
    )
    .unwrap()
}

fn pvc(name: &str, volume: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": "shop", "name": name,
            "annotations": {keys::SITE: "east", "volume.kubernetes.io/storage-provisioner": "nfs.csi.k8s.io"}
        },
        "spec": {"storageClassName": "gold", "volumeName": volume}
    })
}

fn pv(name: &str) -> Value {
    let mut pv = csi_pv();
    pv["metadata"]["name"] = name.into();
    pv["metadata"]["annotations"][keys::SITE] = "east".into();
    pv
}

fn vm(name: &str, more: &Value) -> Value {
    let mut vm = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"namespace": "shop", "name": name, "annotations": {keys::SITE: "east"}},
        "spec": {"template": {"spec": {"domain": {"devices": {}}, "volumes": [{"name": "root", "dataVolume": {"name": "root"}}]}}}
    });
    for (key, value) in more.as_object().unwrap() {
        *vm.pointer_mut(&format!("/spec/{key}")).unwrap_or(&mut Value::Null) = value.clone();
        if vm.pointer(&format!("/spec/{key}")).is_none() {
            vm["spec"][key] = value.clone();
        }
    }
    vm
}

/// A machine with its disk.
fn good() -> Held {
    let of = |resource: &str, objects: Vec<Value>| (resource.to_owned(), objects);
    Held(BTreeMap::from([
        of(VOLUMES, vec![pv("pv-root")]),
        of(CLAIMS, vec![pvc("root", "pv-root")]),
        of(MACHINES, vec![vm("db", &json!({}))]),
    ]))
}

fn west() -> Present {
    let served = |version: &str, plurals: &[&str]| {
        (version.to_owned(), plurals.iter().map(|&plural| plural.to_owned()).collect::<BTreeSet<_>>())
    };
    Present {
        objects: BTreeSet::from([Named::cluster_wide(CLASSES, "fast")]),
        versions: BTreeMap::from([
            served("v1", &["persistentvolumes", "persistentvolumeclaims", "secrets"]),
            served("apps/v1", &["controllerrevisions"]),
            served("kubevirt.io/v1", &["virtualmachines"]),
            served("k8s.cni.cncf.io/v1", &["network-attachment-definitions"]),
        ]),
        kubevirt: Some(json!({"status": {"observedKubeVirtVersion": "v1.8.4"}})),
    }
}

fn found(held: &Held, present: &Present) -> Vec<Finding> {
    let (mapping, target, origin) = (mapping(), site("west"), None);
    let question = Question { backup: "b", contents: held, mapping: &mapping, origin, target: &target };
    findings(&question, present)
}

/// `severity code object`, and what it says.
fn short(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{} {} {}", f.severity, f.code, f.object)).collect()
}

fn add(held: &mut Held, resource: &str, object: Value) {
    held.0.entry(resource.to_owned()).or_default().push(object);
}

#[test]
fn nothing_is_missing() {
    assert_eq!(found(&good(), &west()), []);
    assert_eq!(found(&Held(BTreeMap::new()), &Present::default()), []);
}

#[test]
fn golden_all_that_can_be_missing() {
    let mut held = good();
    let mut uncovered = pv("pv-other");
    uncovered["spec"]["csi"]["volumeAttributes"]["share"] = "/elsewhere".into();
    uncovered["spec"]["csi"]["volumeHandle"] = "10.77.0.1#elsewhere#pvc-6a1f##".into();
    add(&mut held, VOLUMES, uncovered);
    add(&mut held, VOLUMES, json!({"metadata": {"name": "pv-local"}, "spec": {"local": {"path": "/d"}}}));
    add(&mut held, CLAIMS, pvc("other", "pv-other"));
    add(&mut held, CLAIMS, pvc("stays", "pv-local"));
    add(&mut held, CLAIMS, pvc("lost", "pv-gone"));
    add(&mut held, CLAIMS, pvc("unbound", ""));
    add(&mut held, "widgets.example.org", json!({"apiVersion": "example.org/v1", "metadata": {"name": "w"}}));
    add(&mut held, "pools.kubevirt.io", json!({"apiVersion": "kubevirt.io/v2", "metadata": {"name": "p"}}));
    add(
        &mut held,
        MACHINES,
        vm(
            "web",
            &json!({
                "instancetype": {"name": "large"},
                "preference": {"name": "rhel", "kind": "VirtualMachinePreference", "revisionName": "web-rhel-1"},
                "template": {"spec": {
                    "networks": [
                        {"name": "a", "multus": {"networkName": "own"}}, {"name": "b", "multus": {"networkName": "dmz/outer"}}
                    ],
                    "domain": {"devices": {"tpm": {"persistent": true}, "autoattachVSOCK": true}},
                    "volumes": [
                        {"name": "o", "persistentVolumeClaim": {"claimName": "other"}},
                        {"name": "s", "persistentVolumeClaim": {"claimName": "stays"}},
                        {"name": "n", "persistentVolumeClaim": {"claimName": "nowhere"}},
                        {"name": "c", "cloudInitNoCloud": {"secretRef": {"name": "init"}}},
                        {"name": "h", "configMap": {"name": "hints", "optional": true}},
                        {"name": "a", "serviceAccount": {"serviceAccountName": "bot"}}
                    ]
                }}
            }),
        ),
    );
    let mut present = west();
    present.objects = BTreeSet::from([Named::of(NETWORKS, "nets", "outer")]);
    present.kubevirt = Some(json!({"status": {"observedKubeVirtVersion": "v1.5.2-3-gabc"}}));
    insta::assert_yaml_snapshot!("all", found(&held, &present));
}

#[test]
fn what_comes_along_is_not_missing() {
    let mut held = good();
    let machine = vm(
        "web",
        &json!({
            "instancetype": {"name": "large", "revisionName": "r"},
            "template": {"spec": {
                "networks": [{"multus": {"networkName": "lan2"}}, {"multus": {"networkName": "own"}}],
                "volumes": [{"secret": {"secretName": "s"}}]
            }}
        }),
    );
    add(&mut held, MACHINES, machine);
    let named =
        |version: &str, name: &str| json!({"apiVersion": version, "metadata": {"namespace": "shop", "name": name}});
    add(&mut held, "secrets", named("v1", "s"));
    add(&mut held, "controllerrevisions.apps", named("apps/v1", "r"));
    add(&mut held, NETWORKS, named("k8s.cni.cncf.io/v1", "lan2"));
    add(&mut held, NETWORKS, named("k8s.cni.cncf.io/v1", "lan"));
    // `own` is `lan` in the west; the backup's `lan` is a network of the east.
    assert_eq!(
        short(&found(&held, &west())),
        ["error LW-0182 VirtualMachine shop/web", "warning LW-0183 VirtualMachine shop/web"]
    );
    let mut present = west();
    present.objects.insert(Named::of(NETWORKS, "shop", "lan"));
    present.objects.insert(Named::cluster_wide(TEMPLATE_RESOURCES[1], "large"));
    assert_eq!(found(&held, &present), []);
}

#[test]
fn a_kind_whose_definition_comes_along_is_served_by_then() {
    let mut held = good();
    add(&mut held, "widgets.example.org", json!({"apiVersion": "example.org/v1", "metadata": {"name": "w"}}));
    assert_eq!(short(&found(&held, &west())), ["error LW-0185 1 widgets.example.org"]);
    let definition = |served| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "widgets.example.org"},
            "spec": {"versions": [{"name": "v1", "served": served}]}
        })
    };
    let mut present = west();
    present.versions.insert("apiextensions.k8s.io/v1".into(), ["customresourcedefinitions".to_owned()].into());
    add(&mut held, DEFINITIONS, definition(false));
    assert_eq!(found(&held, &present).len(), 1);
    held.0.remove(DEFINITIONS);
    add(&mut held, DEFINITIONS, definition(true));
    assert_eq!(found(&held, &present), []);
    // What the plug-in or Velero leave out need not be served.
    for resource in [LEFT_OUT[0], NEVER_RESTORED[1]] {
        add(&mut held, resource, json!({"apiVersion": "nobody.knows/v1", "metadata": {"name": "x"}}));
    }
    assert_eq!(found(&held, &present), []);
}

#[test]
fn a_class_that_never_made_the_volume_is_a_warning() {
    let mut held = good();
    held.0.get_mut(CLAIMS).unwrap()[0]["metadata"]["annotations"] = json!({keys::SITE: "east"});
    let mut present = west();
    present.objects.clear();
    assert_eq!(short(&found(&held, &present)), ["warning LW-0184 PersistentVolumeClaim shop/root"]);
}

#[test]
fn the_promoted_volume_is_checked_where_it_is_the_one_to_be_restored() {
    let mut held = good();
    let promoted = json!({
        "name": "pv-promoted", "site": "east",
        "spec": {"nfs": {"server": "10.77.0.1", "path": "/not-mapped/x"}}, "annotations": {}, "labels": {}
    });
    let stored = &mut held.0.get_mut(VOLUMES).unwrap()[0]["metadata"]["annotations"];
    stored[keys::PROMOTED_VOLUME] = promoted.to_string().into();
    assert_eq!(found(&held, &west()), [], "the live one is restored");
    held.0.get_mut(VOLUMES).unwrap()[0]["metadata"]["annotations"][keys::RECOVER_FROM] = "promoted".into();
    let findings = found(&held, &west());
    assert_eq!(short(&findings), ["error LW-0130 PersistentVolume pv-root", "error LW-0187 VirtualMachine shop/db"]);
    assert!(findings[0].what.contains("/not-mapped/x"), "{findings:?}");
}

#[test]
fn what_says_no_site_is_told_unless_somebody_says_it() {
    let mut held = good();
    for resource in [VOLUMES, CLAIMS] {
        held.0.get_mut(resource).unwrap()[0]["metadata"]["annotations"].as_object_mut().unwrap().remove(keys::SITE);
    }
    assert_eq!(origins(&held), ["east".to_owned()].into());
    assert_eq!(found(&held, &west())[0].code, "LW-0188");
    let (mapping, target, origin) = (mapping(), site("west"), site("east"));
    let question = Question { backup: "b", contents: &held, mapping: &mapping, origin: Some(&origin), target: &target };
    assert_eq!(findings(&question, &west()), []);
}

#[test]
fn only_what_the_backup_lacks_is_looked_up() {
    let mut held = good();
    add(&mut held, CLAIMS, pvc("lost", "pv-gone"));
    add(
        &mut held,
        MACHINES,
        vm(
            "web",
            &json!({"template": {"spec": {"volumes": [{"secret": {"secretName": "s"}}, {"configMap": {"name": "c", "optional": true}}]}}}),
        ),
    );
    let (mapping, target) = (mapping(), site("west"));
    let question = Question { backup: "b", contents: &held, mapping: &mapping, origin: None, target: &target };
    let wanted = wanted(&question);
    assert_eq!(
        wanted.objects,
        BTreeSet::from([Named::cluster_wide(VOLUMES, "pv-gone"), Named::of("secrets", "shop", "s")])
    );
    assert_eq!(wanted.versions, ["kubevirt.io/v1".to_owned(), "v1".to_owned()].into());
    assert!(wanted.lists.contains(CLASSES) && wanted.lists.contains(NETWORKS));
}

/// The gates that are said to be missing for a machine, by KubeVirt version.
fn gates(template: &Value, kubevirt: Value) -> Vec<String> {
    let mut held = good();
    let mut machine = vm("gated", &json!({}));
    machine["spec"]["template"] = template.clone();
    add(&mut held, MACHINES, machine);
    let present = Present { kubevirt: Some(kubevirt), ..west() };
    let gated = found(&held, &present).into_iter().filter(|finding| finding.code == "LW-0186");
    gated
        .map(|f| format!("{} {}", f.severity, f.what.split("gate ").nth(1).unwrap().split(' ').next().unwrap()))
        .collect()
}

#[test]
fn gates_follow_the_version() {
    let template = json!({
        "metadata": {"annotations": {"hooks.kubevirt.io/hookSidecars": "[]"}},
        "spec": {
            "domain": {
                "rebootPolicy": "x", "launchSecurity": {"snp": {}},
                "firmware": {"bootloader": {"efi": {"persistent": true}}},
                "devices": {
                    "disks": [{"name": "drive", "cdrom": {}}, {"name": "l", "lun": {"reservation": true}}],
                    "filesystems": [{"name": "files"}, {"name": "config"}]
                }
            },
            "volumes": [
                {"name": "l", "containerDisk": {}}, {"name": "files", "dataVolume": {"name": "root"}},
                {"name": "config", "configMap": {"name": "x", "optional": true}}
            ]
        }
    });
    let at = |version: &str| gates(&template, json!({"status": {"observedKubeVirtVersion": version}}));
    let e = |names: &[&str]| names.iter().map(|name| format!("error {name}")).collect::<Vec<_>>();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(
        sorted(at("v1.5.0")),
        e(&[
            "DeclarativeHotplugVolumes",
            "EnableVirtioFsConfigVolumes",
            "EnableVirtioFsStorageVolumes",
            "PersistentReservation",
            "RebootPolicy",
            "Sidecar",
            "VMPersistentState",
            "WorkloadEncryptionSEV"
        ])
    );
    assert_eq!(sorted(at("v1.9.0")), e(&["EnableVirtioFsStorageVolumes", "Sidecar"]));
    let configured = |on: Value, off: Value, version: Value| {
        let developer = json!({"featureGates": on, "disabledFeatureGates": off});
        let spec = json!({"configuration": {"developerConfiguration": developer}});
        sorted(gates(&template, json!({"spec": spec, "status": {"observedKubeVirtVersion": version}})))
    };
    let two = json!(["Sidecar", "ExperimentalVirtiofsSupport"]);
    assert_eq!(
        configured(two.clone(), json!(["RebootPolicy", "VMPersistentState"]), "v1.9.0".into()),
        e(&["RebootPolicy"])
    );
    // Without a version it cannot be told.
    let unknown = configured(two, json!([]), Value::Null);
    assert!(unknown.iter().all(|gate| gate.starts_with("warning")) && unknown.len() == 5, "{unknown:?}");
    assert_eq!(gates(&json!({"spec": {}}), Value::Null), [""; 0]);
}

#[test]
fn names_out_of_the_backup_cannot_move_the_cursor() {
    let mut held = good();
    let evil = "db\u{1b}[2J\nerror: all is fine\u{7}";
    add(&mut held, MACHINES, vm(evil, &json!({"instancetype": {"name": evil}})));
    let findings = found(&held, &west());
    assert_eq!(findings.len(), 1);
    for text in [&findings[0].object, &findings[0].what, &findings[0].next] {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    assert!(findings[0].object.contains("\\u{1b}"));
}

proptest! {
    #[test]
    fn never_panics(
        objects in proptest::collection::vec(
            (
                proptest::sample::select(vec![VOLUMES, CLAIMS, MACHINES, NETWORKS, DEFINITIONS, "x.example.org"]),
                prop_oneof![any_json(), spoiled(&pv("a")), spoiled(&pvc("a", "a")), spoiled(&vm("a", &json!({"instancetype": {"name": "i"}})))],
            ),
            0..5,
        ),
        kubevirt in any_json(),
    ) {
        let mut held = Held(BTreeMap::new());
        objects.into_iter().for_each(|(resource, object)| add(&mut held, resource, object));
        let present = Present { kubevirt: Some(kubevirt), ..west() };
        for finding in found(&held, &present) {
            prop_assert!(!finding.object.is_empty() && !finding.what.is_empty() && !finding.next.is_empty());
            prop_assert!(finding.code.starts_with("LW-"), "{:?}", finding);
        }
        let _ = origins(&held);
    }
}
