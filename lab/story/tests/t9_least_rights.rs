//! The plug-in with the rights of `deploy/rbac/plug-in.yaml` and none besides, at a real API server: every action that calls it
//! does its work, and without one of the rights the call that needs it says which is missing.

mod stage;

use anyhow::{Context, Result, ensure};
use kube::api::PostParams;
use kube::config::{AuthInfo, Kubeconfig, NamedAuthInfo};
use leeward_lab::{Cluster, Site::East, velero::NAMESPACE as VELERO};
use leeward_lab_story::files;
use leeward_model::keys::{PROMOTE, PROMOTED_FROM, SITE};
use serde_json::{Value, json};
use stage::plain::{Ground, SOON, delete, nfs, on_ground};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use velero_plugin::harness::{Host, HostError, command};

const ROLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rbac/plug-in.yaml");
const RBAC: &str = "rbac.authorization.k8s.io/v1";
/// More volumes than are asked for by name.
const MANY: usize = 20;

/// One call of an action, as Velero makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Keep,
    Promote,
    Rewrite,
    Land,
    Halt,
    Retire,
}

/// What each call cannot do without: verb, group and resource.
const NEEDS: [(Call, &str, &str, &str); 16] = [
    (Call::Keep, "get", "", "configmaps"),
    (Call::Keep, "get", "", "persistentvolumeclaims"),
    (Call::Promote, "list", "", "persistentvolumeclaims"),
    (Call::Promote, "create", "", "persistentvolumeclaims"),
    (Call::Promote, "watch", "", "persistentvolumeclaims"),
    (Call::Promote, "get", "storage.k8s.io", "storageclasses"),
    (Call::Promote, "create", "snapshot.storage.k8s.io", "volumesnapshots"),
    (Call::Promote, "watch", "snapshot.storage.k8s.io", "volumesnapshots"),
    (Call::Promote, "list", "snapshot.storage.k8s.io", "volumesnapshotclasses"),
    (Call::Rewrite, "get", "", "persistentvolumes"),
    (Call::Rewrite, "list", "", "persistentvolumes"),
    (Call::Rewrite, "patch", "", "persistentvolumes"),
    (Call::Land, "get", "", "persistentvolumeclaims"),
    (Call::Halt, "list", "instancetype.kubevirt.io", "virtualmachineclusterinstancetypes"),
    (Call::Retire, "list", "velero.io", "backups"),
    (Call::Retire, "delete", "", "persistentvolumeclaims"),
];

#[test]
fn the_least_rights_are_enough_and_each_that_lacks_is_named() {
    on_ground("t9-rights", async |ground| {
        let account = Account::new(ground).await?;
        let played = play(&account).await;
        account.leave().await?;
        played
    });
}

async fn play(account: &Account<'_>) -> Result<()> {
    account.grant(None).await?;
    account.lay_out().await?;
    let host = account.host().await?;
    for call in [Call::Keep, Call::Promote, Call::Rewrite, Call::Land, Call::Halt] {
        account.call(&host, call, "one").await.with_context(|| format!("{call:?} with the role as it is shipped"))?;
    }
    ensure!(account.promoted("one").await?.is_some(), "nothing was promoted");
    host.shutdown().await?;

    for (number, (call, verb, group, resource)) in (0..).zip(NEEDS).filter(|(_, need)| need.0 != Call::Retire) {
        // A backup of its own: what one has taken before it failed, it need not take again.
        account.lacks(call, (verb, group, resource), &format!("lacking-{number}")).await?;
    }

    account.grant(None).await?;
    let host = account.host().await?;
    // A second promotion, without which the first would be the newest data that there is, and stay.
    account.call(&host, Call::Promote, "two").await?;
    for (call, verb, group, resource) in NEEDS.into_iter().filter(|need| need.0 == Call::Retire) {
        account.lacks(call, (verb, group, resource), "one").await?;
    }
    account.grant(None).await?;
    account.call(&host, Call::Retire, "one").await?;
    ensure!(account.promoted("one").await?.is_none(), "the promoted claim of a deleted backup stays");
    ensure!(account.promoted("two").await?.is_some(), "that of the other went as well");
    host.shutdown().await.map(drop).map_err(Into::into)
}

/// A service account, bound to the roles of [`ROLES`] alone.
struct Account<'a> {
    ground: &'a Ground<'a>,
    cluster: Cluster,
    /// Has its token and nothing else.
    kubeconfig: PathBuf,
}

impl<'a> Account<'a> {
    async fn new(ground: &'a Ground<'a>) -> Result<Self> {
        let cluster = ground.cluster(East).await?;
        let metadata = json!({"name": ground.name, "namespace": VELERO});
        cluster.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await?;
        let accounts = cluster.api("v1", "ServiceAccount", Some(VELERO));
        let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
        let token: Value = accounts.create_subresource("token", &ground.name, &PostParams::default(), &asked).await?;
        let token = token["status"]["token"].as_str().context("a token")?;
        let mut config = Kubeconfig::read_from(ground.stage.lab.kubeconfig(East))?;
        let auth_info = Some(AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() });
        for context in config.contexts.iter_mut().filter_map(|context| context.context.as_mut()) {
            context.user = Some(ground.name.clone());
        }
        config.auth_infos = vec![NamedAuthInfo { name: ground.name.clone(), auth_info, ..NamedAuthInfo::default() }];
        let kubeconfig = ground.stage.lab.root().path().join(format!("{}.kubeconfig", ground.name));
        fs_err::write(&kubeconfig, serde_json::to_vec(&config)?)?;
        Ok(Self { ground, cluster, kubeconfig })
    }

    async fn leave(&self) -> Result<()> {
        fs_err::remove_file(&self.kubeconfig)?;
        for (kind, namespace) in
            [("ClusterRoleBinding", None), ("ClusterRole", None), ("RoleBinding", Some(VELERO)), ("Role", Some(VELERO))]
        {
            delete(&self.cluster.api(RBAC, kind, namespace), &self.ground.name).await?;
        }
        delete(&self.cluster.api("v1", "ServiceAccount", Some(VELERO)), &self.ground.name).await?;
        for backup in ["one", "two"] {
            delete(&self.cluster.api("velero.io/v1", "Backup", Some(VELERO)), &self.title(backup)).await?;
        }
        delete(&self.cluster.api(instance_type("").0, instance_type("").1, None), &self.ground.name).await
    }

    /// Name of a Backup, or a volume.
    fn title(&self, name: &str) -> String {
        format!("{}-{name}", self.ground.name)
    }

    /// Gives the account the roles as they are shipped, without this one right, and waits until the API server goes by that.
    async fn grant(&self, without: Option<(&str, &str, &str)>) -> Result<()> {
        for document in fs_err::read_to_string(ROLES)?.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document)?;
            object["metadata"]["name"] = self.ground.name.clone().into();
            if !object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = VELERO.into();
            }
            if object["roleRef"].is_object() {
                object["roleRef"]["name"] = self.ground.name.clone().into();
                object["subjects"] = json!([{"kind": "ServiceAccount", "name": self.ground.name, "namespace": VELERO}]);
            }
            if let (Some(without), Some(rules)) = (without, object["rules"].as_array()) {
                object["rules"] = rules.iter().flat_map(|rule| lacking(rule, without)).collect();
            }
            self.cluster.apply(&object).await?;
        }
        for (_, verb, group, resource) in NEEDS {
            self.is_allowed((verb, group, resource), without != Some((verb, group, resource))).await?;
        }
        Ok(())
    }

    async fn is_allowed(&self, (verb, group, resource): (&str, &str, &str), expected: bool) -> Result<()> {
        let reviews = self.cluster.api("authorization.k8s.io/v1", "SubjectAccessReview", None);
        let review = serde_json::from_value(json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {"name": ""},
            "spec": {
                "user": format!("system:serviceaccount:{VELERO}:{}", self.ground.name),
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": VELERO},
            },
        }))?;
        let began = Instant::now();
        loop {
            let answer = reviews.create(&PostParams::default(), &review).await?;
            if answer.data["status"]["allowed"] == expected {
                return Ok(());
            }
            ensure!(began.elapsed() < SOON, "{verb} {resource}.{group}: {}", answer.data["status"]);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The plug-in of this site's Velero, as this account.
    async fn host(&self) -> Result<Host> {
        let plugin = self.ground.stage.lab.root().place(East).join("velero/plugins/leeward-velero-plugin");
        let mut command = command(&plugin, ["--features=EnableCSI"]);
        command.env("KUBECONFIG", &self.kubeconfig).env("VELERO_NAMESPACE", VELERO);
        Ok(Host::start_command(command).await?)
    }

    /// What the calls meet in the cluster.
    async fn lay_out(&self) -> Result<()> {
        let (ground, config) =
            (self.ground, json!({"site": "east", "mapping.yaml": files::mapping(), "promote": "keepNewest: 1"}));
        ground.configure(East, Some(config)).await?;
        ground.claim(East, "db", json!({})).await?;
        // One of ours that an earlier restore left released.
        let released = ground.volume(East, "released", nfs("10.77.0.1", "/export/released")).await?;
        delete(&ground.own(East, "PersistentVolumeClaim").await?, "released").await?;
        ground.volume_is(East, &released, "Released").await?;
        self.cluster.apply(&instance_type(&ground.name).2).await?;
        let backups = self.cluster.api("velero.io/v1", "Backup", Some(VELERO));
        for name in ["one", "two"] {
            let mut backup = self.backup(name);
            backup["status"] = json!({"phase": "Completed"});
            backups.create(&PostParams::default(), &serde_json::from_value(backup)?).await?;
        }
        Ok(())
    }

    fn backup(&self, name: &str) -> Value {
        json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "name": self.title(name), "namespace": VELERO,
                "annotations": {PROMOTE: "take-now", "leeward.io/promotion-deadline-seconds": "60"},
            },
            "spec": {"includedNamespaces": [self.ground.name], "snapshotVolumes": false, "defaultVolumesToFsBackup": false},
        })
    }

    fn restore(&self) -> Value {
        json!({
            "apiVersion": "velero.io/v1", "kind": "Restore",
            "metadata": {"name": self.title("r"), "namespace": VELERO}, "spec": {"backupName": self.title("one")},
        })
    }

    /// A volume of the other site.
    fn volume(&self, claim: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": self.title(claim), "annotations": {SITE: "west"}},
            "spec": {
                "nfs": {"server": "10.77.0.2", "path": format!("/vault/{claim}")}, "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": self.ground.name, "name": claim}, "storageClassName": self.ground.stage.lab.storage_class(),
            },
        })
    }

    async fn call(&self, host: &Host, call: Call, backup: &str) -> Result<()> {
        let (backup, restore) = (self.backup(backup), self.restore());
        let claim = async || Ok::<_, anyhow::Error>(self.ground.bound(East, "db").await?);
        let restored =
            async |action: &str, item: &Value| host.execute_restore(action, item, item, &restore).await.map(drop);
        match call {
            Call::Keep => {
                let claim = claim().await?;
                host.execute_backup("leeward.io/keep-volume", &claim, &backup).await?;
                let name = claim["spec"]["volumeName"].as_str().context("a volume")?;
                let volume = self.cluster.api("v1", "PersistentVolume", None).get(name).await?;
                let volume = serde_json::to_value(volume)?;
                let kept = host.execute_backup("leeward.io/keep-volume", &volume, &backup).await?;
                ensure!(kept.item["spec"]["persistentVolumeReclaimPolicy"] == "Retain", "{}", kept.item);
            }
            Call::Promote => {
                let answer = host.execute_backup("leeward.io/promote-snapshot", &claim().await?, &backup).await?;
                ensure!(answer.additional_items.len() == 1, "{answer:?}");
            }
            Call::Rewrite => {
                restored("leeward.io/rewrite-volume", &self.volume("released")).await?;
                for number in 0..MANY {
                    restored("leeward.io/rewrite-volume", &self.volume(&format!("disk-{number}"))).await?;
                }
            }
            Call::Land => {
                let claim = json!({
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "disk-0", "namespace": self.ground.name, "annotations": {SITE: "west"}},
                    "spec": {"volumeName": self.title("disk-0"), "storageClassName": self.ground.stage.lab.storage_class()},
                });
                restored("leeward.io/land-claim", &claim).await?;
            }
            Call::Halt => {
                let machine = json!({
                    "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
                    "metadata": {"name": "db", "namespace": self.ground.name, "annotations": {SITE: "west"}},
                    "spec": {"runStrategy": "Always", "instancetype": {"name": self.ground.name}, "template": {"spec": {}}},
                });
                restored("leeward.io/halt-vm", &machine).await?;
            }
            Call::Retire => host.execute_delete("leeward.io/retire", &claim().await?, &backup).await?,
        }
        Ok(())
    }

    /// Without this right the call fails, in a process that knows nothing yet, and says so.
    async fn lacks(&self, call: Call, right: (&str, &str, &str), backup: &str) -> Result<()> {
        self.grant(Some(right)).await?;
        // As after an earlier restore; the call may have cleaned it.
        let released = json!({"spec": {"claimRef": {"uid": "00000000-0000-0000-0000-000000000000"}}});
        self.ground.patch(East, "PersistentVolume", &self.title("released"), released).await?;
        self.ground.volume_is(East, &self.title("released"), "Released").await?;
        let host = self.host().await?;
        let (verb, _, resource) = right;
        let refused = self.call(&host, call, backup).await;
        host.shutdown().await?;
        let Err(error) = refused else { anyhow::bail!("{call:?} needs no right to {verb} {resource}") };
        ensure!(error.downcast_ref::<HostError>().is_some(), "{call:?} without {verb} {resource}: {error:#}");
        let (text, wanted) = (format!("{error:#}"), format!("cannot {verb} resource \"{resource}\""));
        ensure!(text.contains(&wanted) && text.contains("[LW-06"), "{call:?} does not say {wanted:?}: {text}");
        Ok(())
    }

    /// The claim that a backup has promoted.
    async fn promoted(&self, backup: &str) -> Result<Option<String>> {
        let used_by = format!("{VELERO}/{}", self.title(backup));
        let claims = self.ground.own(East, "PersistentVolumeClaim").await?.list(&Default::default()).await?;
        let names = |claim: &kube::api::DynamicObject| {
            let annotations = claim.metadata.annotations.iter().flatten();
            let mut annotations = annotations.filter(|(key, _)| !key.starts_with(PROMOTED_FROM));
            claim.metadata.deletion_timestamp.is_none() && annotations.any(|(_, value)| *value == used_by)
        };
        Ok(claims.items.into_iter().find(names).and_then(|claim| claim.metadata.name))
    }
}

/// The rule without this verb on this resource.
fn lacking(rule: &Value, (verb, group, resource): (&str, &str, &str)) -> Vec<Value> {
    let has = |key: &str, text: &str| rule[key].as_array().is_some_and(|all| all.iter().any(|one| one == text));
    let others = |key: &str, text: &str| {
        rule[key].as_array().into_iter().flatten().filter(|one| *one != text).cloned().collect()
    };
    if !(has("apiGroups", group) && has("resources", resource) && has("verbs", verb)) {
        return vec![rule.clone()];
    }
    let (mut rest, mut less) = (rule.clone(), rule.clone());
    rest["resources"] = others("resources", resource);
    less["resources"] = json!([resource]);
    less["verbs"] = others("verbs", verb);
    let some = |rule: &Value, key: &str| rule[key].as_array().is_some_and(|all| !all.is_empty());
    [rest, less].into_iter().filter(|rule| some(rule, "resources") && some(rule, "verbs")).collect()
}

/// Version, kind and object of an instance type.
fn instance_type(name: &str) -> (&'static str, &'static str, Value) {
    let (version, kind) = ("instancetype.kubevirt.io/v1beta1", "VirtualMachineClusterInstancetype");
    let spec = json!({"cpu": {"guest": 1}, "memory": {"guest": "64Mi"}});
    (version, kind, json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}))
}
