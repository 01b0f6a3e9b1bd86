//! What a VirtualMachine names besides its networks: objects that it needs to be what it is, and to start.

use crate::json;
use serde_json::Value;

/// NetworkAttachmentDefinitions.
pub const NETWORKS: &str = "network-attachment-definitions.k8s.cni.cncf.io";
/// ControllerRevisions: KubeVirt keeps in them the instance type and preference that a machine was made with.
pub const REVISIONS: &str = "controllerrevisions.apps";
/// PersistentVolumeClaims.
pub const CLAIMS: &str = "persistentvolumeclaims";
/// DataVolumes.
pub const DATA_VOLUMES: &str = "datavolumes.cdi.kubevirt.io";
const SECRETS: &str = "secrets";
const CONFIG_MAPS: &str = "configmaps";
const SERVICE_ACCOUNTS: &str = "serviceaccounts";

/// By kind: where a volume names such an object.
const IN_VOLUMES: [(&str, &str); 14] = [
    (SECRETS, "/secret/secretName"),
    (SECRETS, "/cloudInitNoCloud/secretRef/name"),
    (SECRETS, "/cloudInitNoCloud/networkDataSecretRef/name"),
    (SECRETS, "/cloudInitConfigDrive/secretRef/name"),
    (SECRETS, "/cloudInitConfigDrive/networkDataSecretRef/name"),
    (SECRETS, "/sysprep/secret/name"),
    (SECRETS, "/accessCredentialSecret/secretName"),
    (SECRETS, "/containerDisk/imagePullSecret"),
    (CONFIG_MAPS, "/configMap/name"),
    (CONFIG_MAPS, "/sysprep/configMap/name"),
    (SERVICE_ACCOUNTS, "/serviceAccount/serviceAccountName"),
    (CLAIMS, "/persistentVolumeClaim/claimName"),
    (CLAIMS, "/ephemeral/persistentVolumeClaim/claimName"),
    (CLAIMS, "/memoryDump/claimName"),
];
const OPTIONAL: [&str; 2] = ["/secret/optional", "/configMap/optional"];
const IN_CREDENTIALS: [&str; 2] = ["/sshPublicKey/source/secret/secretName", "/userPassword/source/secret/secretName"];

/// An object, by what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// Plural with group, e.g. `secrets`, `controllerrevisions.apps`.
    pub resource: &'static str,
    /// Its namespace; `None` for a cluster-wide object.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Named {
    /// One of a namespace.
    #[must_use]
    pub fn of(resource: &'static str, namespace: &str, name: &str) -> Self {
        Self { resource, namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }

    /// A cluster-wide one.
    #[must_use]
    pub fn cluster_wide(resource: &'static str, name: &str) -> Self {
        Self { resource, namespace: None, name: name.to_owned() }
    }

    /// `namespace/name`, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        self.namespace.as_ref().map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }
}

/// An object that a machine names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Belonging {
    /// Which.
    pub object: Named,
    /// Whether the machine also starts without it.
    pub optional: bool,
}

/// The Secrets, ConfigMaps, service accounts, claims and DataVolumes that the machine names, each once.
#[must_use]
pub fn belongings(vm: &Value) -> Vec<Belonging> {
    let namespace = namespace(vm);
    let mut found: Vec<Belonging> = Vec::new();
    let mut add = |resource, name: &str, optional: bool| {
        let object = Named::of(resource, namespace, name);
        if name.is_empty() {
        } else if let Some(known) = found.iter_mut().find(|known| known.object == object) {
            known.optional &= optional;
        } else {
            found.push(Belonging { object, optional });
        }
    };
    for volume in list(vm, "/spec/template/spec/volumes") {
        let optional = OPTIONAL.iter().any(|pointer| volume.pointer(pointer).and_then(Value::as_bool) == Some(true));
        for (resource, pointer) in IN_VOLUMES {
            if let Some(name) = json::text(volume, pointer) {
                // A dump of memory is looked at, not started from.
                add(resource, name, optional || pointer.starts_with("/memoryDump"));
            }
        }
        if let Some(name) = json::text(volume, "/dataVolume/name") {
            add(CLAIMS, name, false);
            // The machine is content with the claim.
            add(DATA_VOLUMES, name, true);
        }
    }
    for credential in list(vm, "/spec/template/spec/accessCredentials") {
        for name in IN_CREDENTIALS.iter().filter_map(|pointer| json::text(credential, pointer)) {
            add(SECRETS, name, false);
        }
    }
    found
}

/// An instance type or preference of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// `instance type` or `preference`.
    pub what: &'static str,
    /// The instance type or preference; `None` if its kind is none that KubeVirt has, or it is inferred from a volume.
    pub object: Option<Named>,
    /// Its revision, which the machine starts with whatever has become of the instance type.
    pub revision: Option<Named>,
}

/// (field of the spec, field of the status, what it is, resource, resource of the cluster-wide one).
const TEMPLATES: [(&str, &str, &str, &str, &str); 2] = [
    (
        "instancetype",
        "instancetypeRef",
        "instance type",
        "virtualmachineinstancetypes.instancetype.kubevirt.io",
        "virtualmachineclusterinstancetypes.instancetype.kubevirt.io",
    ),
    (
        "preference",
        "preferenceRef",
        "preference",
        "virtualmachinepreferences.instancetype.kubevirt.io",
        "virtualmachineclusterpreferences.instancetype.kubevirt.io",
    ),
];

/// The resources of instance types, cluster-wide ones, preferences, cluster-wide ones.
pub const TEMPLATE_RESOURCES: [&str; 4] = [TEMPLATES[0].3, TEMPLATES[0].4, TEMPLATES[1].3, TEMPLATES[1].4];

/// The instance type and preference that the machine names.
///
/// The revision is what its spec fixes (`revisionName`), else what KubeVirt took. A kind is read as KubeVirt does: in any
/// case, singular or plural, and none is the cluster-wide one.
#[must_use]
pub fn templates(vm: &Value) -> Vec<Template> {
    let namespace = namespace(vm);
    let read = |(field, status, what, own, cluster): (&str, &str, &'static str, &'static str, &'static str)| {
        let matcher = vm.pointer(&format!("/spec/{field}")).filter(|matcher| matcher.is_object())?;
        let text = |key: &str| matcher.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let kind = text("kind").unwrap_or_default().to_ascii_lowercase();
        let is = |resource: &str| {
            let plural = resource.split('.').next().unwrap_or_default();
            kind == plural || plural.strip_suffix('s') == Some(&kind)
        };
        let object = text("name").and_then(|name| match () {
            () if kind.is_empty() || is(cluster) => Some(Named::cluster_wide(cluster, name)),
            () if is(own) => Some(Named::of(own, namespace, name)),
            () => None,
        });
        let taken = json::text(vm, &format!("/status/{status}/controllerRevisionRef/name"));
        let revision = text("revisionName").or(taken.filter(|name| !name.is_empty()));
        Some(Template { what, object, revision: revision.map(|name| Named::of(REVISIONS, namespace, name)) })
    };
    TEMPLATES.into_iter().filter_map(read).collect()
}

fn namespace(vm: &Value) -> &str {
    json::text(vm, "/metadata/namespace").unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::any_json;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn each_is_named_once_and_what_may_be_missing_is_told() {
        let vm = json!({
            "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"template": {"spec": {
                "accessCredentials": [{"userPassword": {"source": {"secret": {"secretName": "keys"}}}}],
                "volumes": [
                    {"dataVolume": {"name": "root"}}, {"persistentVolumeClaim": {"claimName": "root"}},
                    {"secret": {"secretName": "keys", "optional": true}}, {"configMap": {"name": "hints", "optional": true}},
                    {"memoryDump": {"claimName": "dump"}}, {"sysprep": {"secret": {"name": ""}}}
                ]
            }}}
        });
        let found: Vec<_> = belongings(&vm)
            .iter()
            .map(|b| format!("{} {}{}", b.object.resource, b.object.title(), if b.optional { "?" } else { "" }))
            .collect();
        assert_eq!(
            found,
            [
                "persistentvolumeclaims shop/root",
                "datavolumes.cdi.kubevirt.io shop/root?",
                "secrets shop/keys",
                "configmaps shop/hints?",
                "persistentvolumeclaims shop/dump?",
            ]
        );
    }

    #[test]
    fn a_kind_is_read_as_kubevirt_reads_it() {
        let read = |kind: Value| {
            let vm =
                json!({"metadata": {"namespace": "shop"}, "spec": {"instancetype": {"name": "large", "kind": kind}}});
            let [template] = <[_; 1]>::try_from(templates(&vm)).unwrap();
            template.object.map(|object| format!("{} {}", object.resource.split('.').next().unwrap(), object.title()))
        };
        for kind in [
            Value::Null,
            "".into(),
            "VirtualMachineClusterInstancetype".into(),
            "virtualmachineclusterinstancetypes".into(),
        ] {
            assert_eq!(read(kind).as_deref(), Some("virtualmachineclusterinstancetypes large"));
        }
        assert_eq!(
            read("VirtualMachineInstancetype".into()).as_deref(),
            Some("virtualmachineinstancetypes shop/large")
        );
        assert_eq!(read("Flavor".into()), None);
    }

    #[test]
    fn the_revision_is_the_fixed_one_or_the_taken_one() {
        let mut vm = json!({
            "metadata": {"namespace": "shop"},
            "spec": {"instancetype": {"name": "large"}, "preference": {"inferFromVolume": "root", "revisionName": "pinned"}},
            "status": {"instancetypeRef": {"controllerRevisionRef": {"name": "taken"}}}
        });
        let revisions = |vm: &Value| {
            templates(vm).into_iter().map(|t| t.revision.map(|revision| revision.title())).collect::<Vec<_>>()
        };
        assert_eq!(revisions(&vm), [Some("shop/taken".to_owned()), Some("shop/pinned".to_owned())]);
        vm["status"] = Value::Null;
        assert_eq!(revisions(&vm)[0], None);
    }

    proptest! {
        #[test]
        fn never_panics(vm in any_json()) {
            let _ = (belongings(&vm), templates(&vm));
        }
    }
}
