//! Plain Velero, and a piece of ground of a test's own: volumes and claims in a namespace of a name that no other test has,
//! at both sites. The controller binds claims to volumes that nobody mounts, so the volumes may point anywhere.
//!
//! The plug-ins' ConfigMaps say what the lab's mapping says while a test plays, and afterwards what they said before,
//! however it ended.

use super::{on_the_lab, with_fault};
use anyhow::{Result, ensure};
use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch},
};
use leeward_lab::{Cluster, Site, velero::NAMESPACE as VELERO};
use leeward_lab_story::{
    files,
    parts::Stage,
    velero::{ENDS, Velero},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The ConfigMaps that the plug-ins read.
pub(crate) const CONFIG: &str = "leeward-site";
pub(crate) const PUBLISHED: &str = "velero-plugin-regex-map";
/// For what takes seconds on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(180);
/// On what stands in Velero's namespace (label): whose it is.
const OF: &str = "leeward.io/lab-test";

/// How a Backup or Restore ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) phase: String,
    log: String,
}

impl Ended {
    /// It is `Completed`, and every one of these stands in its log.
    pub(crate) fn completed(&self, saying: &[&str]) -> Result<()> {
        ensure!(self.phase == "Completed", "{} is {}:\n{}", self.name, self.phase, self.lines("level=error"));
        for words in saying {
            ensure!(self.log.contains(words), "{} does not say {words:?}:\n{}", self.name, self.lines("leeward"));
        }
        Ok(())
    }

    /// It is `PartiallyFailed`, and one of its errors says all of this.
    pub(crate) fn refused(&self, saying: &[&str]) -> Result<()> {
        ensure!(self.phase == "PartiallyFailed", "{} is {}, and not refused for {saying:?}", self.name, self.phase);
        let told = self.errors().any(|error| saying.iter().all(|words| error.contains(words)));
        ensure!(told, "no error of {} says {saying:?}:\n{}", self.name, self.lines("level=error"));
        Ok(())
    }

    /// The lines of its log with these words.
    pub(crate) fn lines(&self, words: &str) -> String {
        self.log.lines().filter(|line| line.contains(words)).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn errors(&self) -> impl Iterator<Item = &str> {
        self.log.lines().filter(|line| line.contains("level=error"))
    }
}

/// See the module.
pub(crate) struct Ground<'a> {
    pub(crate) stage: &'a Stage<'a>,
    /// The namespace at both sites; Backups, Restores and volumes begin with it.
    pub(crate) name: String,
}

/// Plays `test` on ground of its own, with the ConfigMaps as the lab's mapping has them.
pub(crate) fn on_ground<T: AsyncFnOnce(&Ground<'_>) -> Result<()>>(test: &str, work: T) {
    on_the_lab(async |stage| {
        super::both_answer(stage).await?;
        let second = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 1_000_000;
        let ground = Ground { stage, name: format!("{test}-{second}") };
        let before = saved(stage).await?;
        with_fault(ground.open(), work(&ground), async {
            let left = ground.leave().await;
            put_back(stage, before).await?;
            left
        })
        .await
    });
}

/// The plug-ins' ConfigMaps of both sites as they are.
async fn saved(stage: &Stage<'_>) -> Result<Vec<(Site, &'static str, Option<DynamicObject>)>> {
    let mut before = Vec::new();
    for site in Site::ALL {
        let maps = stage.lab.cluster(site).await?.api("v1", "ConfigMap", Some(VELERO));
        for name in [CONFIG, PUBLISHED] {
            before.push((site, name, maps.get_opt(name).await?));
        }
    }
    Ok(before)
}

async fn put_back(stage: &Stage<'_>, before: Vec<(Site, &'static str, Option<DynamicObject>)>) -> Result<()> {
    for (site, name, map) in before {
        let maps = stage.lab.cluster(site).await?.api("v1", "ConfigMap", Some(VELERO));
        delete(&maps, name).await?;
        if let Some(mut map) = map {
            map.metadata.resource_version = None;
            map.metadata.uid = None;
            maps.create(&Default::default(), &map).await?;
        }
    }
    Ok(())
}

pub(crate) async fn delete(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    match api.delete(name, &Default::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop).map_err(Into::into),
    }
}

/// A static volume of in-tree NFS.
pub(crate) fn nfs(server: &str, path: &str) -> Value {
    json!({"nfs": {"server": server, "path": path}})
}

impl Ground<'_> {
    async fn open(&self) -> Result<()> {
        for site in Site::ALL {
            self.cluster(site)
                .await?
                .apply(&json!({
                    "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name},
                }))
                .await?;
            self.configure(site, Some(json!({"site": site.name(), "mapping.yaml": files::mapping()}))).await?;
            self.config_map(site, PUBLISHED, None).await?;
        }
        Ok(())
    }

    /// Deletes what is on the ground. Its namespaces go by themselves.
    async fn leave(&self) -> Result<()> {
        for site in Site::ALL {
            let cluster = self.cluster(site).await?;
            let volumes = cluster.api("v1", "PersistentVolume", None);
            delete(&cluster.api("v1", "Namespace", None), &self.name).await?;
            let own = ListParams::default().labels(&format!("{OF}={}", self.name));
            cluster.api("v1", "ConfigMap", Some(VELERO)).delete_collection(&Default::default(), &own).await?;
            let began = Instant::now();
            loop {
                let left = self.volumes(site).await?;
                if left.is_empty() {
                    break;
                }
                ensure!(began.elapsed() < SOON, "volumes of {} stay at {site}: {:?}", self.name, left.keys());
                // One whose claim is gone already. Others go with their claims, by their reclaim policy.
                for (name, volume) in left {
                    if volume["status"]["phase"] != "Bound" {
                        delete(&volumes, &name).await?;
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Ok(())
    }

    pub(crate) async fn cluster(&self, site: Site) -> Result<Cluster> {
        self.stage.lab.cluster(site).await
    }

    /// The API of the ground's claims, or other objects of the core group.
    pub(crate) async fn own(&self, site: Site, kind: &str) -> Result<Api<DynamicObject>> {
        Ok(self.cluster(site).await?.api("v1", kind, Some(&self.name)))
    }

    /// Makes this the plug-ins' ConfigMap at a site; `None`: there is none.
    pub(crate) async fn configure(&self, site: Site, data: Option<Value>) -> Result<()> {
        self.config_map(site, CONFIG, data).await
    }

    /// Makes this the data of a ConfigMap in Velero's namespace.
    pub(crate) async fn config_map(&self, site: Site, name: &str, data: Option<Value>) -> Result<()> {
        let maps = self.cluster(site).await?.api("v1", "ConfigMap", Some(VELERO));
        delete(&maps, name).await?;
        if let Some(data) = data {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
            maps.create(&Default::default(), &serde_json::from_value(map)?).await?;
        }
        Ok(())
    }

    /// A ConfigMap with a table of the mapping.
    pub(crate) async fn table(&self, site: Site, name: &str, data: Value) -> Result<()> {
        let labels = json!({"leeward.io/mapping-table": "true", OF: self.name});
        let metadata = json!({"name": name, "namespace": VELERO, "labels": labels});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        self.cluster(site).await?.apply(&map).await
    }

    /// A volume at a site with a claim bound to it. Claim and class could as well get a new, empty volume: nothing but the
    /// plug-ins keeps the restored claim from that. The volume's name.
    pub(crate) async fn volume(&self, site: Site, claim: &str, source: Value) -> Result<String> {
        let name = format!("{}-{claim}", self.name);
        self.named_volume(site, &name, claim, source).await?;
        Ok(name)
    }

    pub(crate) async fn named_volume(&self, site: Site, name: &str, claim: &str, source: Value) -> Result<()> {
        self.unclaimed(site, name, claim, source).await?;
        self.claim(site, claim, json!({"volumeName": name})).await
    }

    /// A volume at a site for a claim that is not there yet.
    pub(crate) async fn unclaimed(&self, site: Site, name: &str, claim: &str, source: Value) -> Result<()> {
        let mut volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": self.stage.lab.storage_class(),
                "claimRef": {"namespace": self.name, "name": claim},
            },
        });
        merge(&mut volume["spec"], source);
        self.cluster(site).await?.apply(&volume).await
    }

    /// A claim of the lab's class at a site, once it is bound.
    pub(crate) async fn claim(&self, site: Site, name: &str, more: Value) -> Result<()> {
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": self.name},
            "spec": {
                "accessModes": ["ReadWriteMany"], "storageClassName": self.stage.lab.storage_class(),
                "resources": {"requests": {"storage": "1Mi"}},
            },
        });
        merge(&mut claim["spec"], more);
        self.cluster(site).await?.apply(&claim).await?;
        self.bound(site, name).await.map(drop)
    }

    /// The claim, once it is bound.
    pub(crate) async fn bound(&self, site: Site, claim: &str) -> Result<Value> {
        let claims = self.own(site, "PersistentVolumeClaim").await?;
        let is_bound = |claim: &Value| claim["status"]["phase"] == "Bound";
        self.cluster(site).await?.wait(&claims, claim, SOON, "kube-controller-manager", is_bound).await
    }

    /// A volume of a site, once it is in this phase.
    pub(crate) async fn volume_is(&self, site: Site, name: &str, phase: &str) -> Result<Value> {
        let cluster = self.cluster(site).await?;
        let volumes = cluster.api("v1", "PersistentVolume", None);
        cluster.wait(&volumes, name, SOON, "kube-controller-manager", |pv| pv["status"]["phase"] == phase).await
    }

    /// The ground's volumes at a site, by name.
    pub(crate) async fn volumes(&self, site: Site) -> Result<BTreeMap<String, Value>> {
        let all = self.cluster(site).await?.api("v1", "PersistentVolume", None).list(&Default::default()).await?;
        let own = all.items.into_iter().filter(|pv| pv.data["spec"]["claimRef"]["namespace"] == self.name.as_str());
        own.map(|pv| Ok((pv.metadata.name.clone().unwrap_or_default(), serde_json::to_value(pv)?))).collect()
    }

    /// The names of the ground's claims at a site.
    pub(crate) async fn claims(&self, site: Site) -> Result<Vec<String>> {
        let all = self.own(site, "PersistentVolumeClaim").await?.list(&Default::default()).await?;
        Ok(all.items.into_iter().filter_map(|claim| claim.metadata.name).collect())
    }

    /// Fails if a volume or claim of the ground is at a site: one that points home, or one that was provisioned anew.
    pub(crate) async fn nothing_at(&self, site: Site) -> Result<()> {
        let (volumes, claims) = (self.volumes(site).await?, self.claims(site).await?);
        ensure!(volumes.is_empty() && claims.is_empty(), "at {site} there are {volumes:?} and claims {claims:?}");
        Ok(())
    }

    /// Deletes claim and volume at a site.
    pub(crate) async fn remove(&self, site: Site, volume: &str, claim: &str) -> Result<()> {
        delete(&self.own(site, "PersistentVolumeClaim").await?, claim).await?;
        let volumes = self.cluster(site).await?.api("v1", "PersistentVolume", None);
        delete(&volumes, volume).await?;
        let began = Instant::now();
        while volumes.get_opt(volume).await?.is_some() {
            ensure!(began.elapsed() < SOON, "PersistentVolume {volume} stays at {site}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Backs the ground up, objects only, with this merged into the Backup.
    pub(crate) async fn back_up(&self, site: Site, name: &str, more: Value) -> Result<Ended> {
        let spec = json!({
            "includedNamespaces": [self.name], "excludedResources": ["events", "events.events.k8s.io"],
            "snapshotVolumes": false, "defaultVolumesToFsBackup": false,
        });
        self.run(site, "Backup", name, spec, more).await
    }

    /// Shows a backup to the other site, as Velero itself does once a minute.
    pub(crate) async fn hand_over(&self, from: Site, name: &str) -> Result<()> {
        let name = format!("{}-{name}", self.name);
        let mut backup = self.backups(from).await?.get(&name).await?;
        backup.metadata.resource_version = None;
        backup.metadata.uid = None;
        backup.metadata.managed_fields = None;
        let to = if from == Site::East { Site::West } else { Site::East };
        match self.backups(to).await?.create(&Default::default(), &backup).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            created => created.map(drop).map_err(Into::into),
        }
    }

    async fn backups(&self, site: Site) -> Result<Api<DynamicObject>> {
        Ok(self.cluster(site).await?.api("velero.io/v1", "Backup", Some(VELERO)))
    }

    /// Restores a backup of the ground, with this merged into the Restore.
    pub(crate) async fn restore(&self, site: Site, backup: &str, name: &str, more: Value) -> Result<Ended> {
        let spec = json!({"backupName": format!("{}-{backup}", self.name)});
        self.run(site, "Restore", name, spec, more).await
    }

    async fn run(&self, site: Site, kind: &str, name: &str, spec: Value, more: Value) -> Result<Ended> {
        let name = format!("{}-{name}", self.name);
        let mut object = json!({
            "apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": name, "namespace": VELERO}, "spec": spec,
        });
        merge(&mut object, more);
        let cluster = self.cluster(site).await?;
        let api = cluster.api("velero.io/v1", kind, Some(VELERO));
        api.create(&Default::default(), &serde_json::from_value(object)?).await?;
        let over = |object: &Value| object["status"]["phase"].as_str().is_some_and(|phase| ENDS.contains(&phase));
        let object = cluster.wait(&api, &name, SOON, "velero", over).await?;
        let phase = object["status"]["phase"].as_str().unwrap_or_default().to_owned();
        ensure!(phase != "FailedValidation", "{kind} {name}: {}", object["status"]["validationErrors"]);
        let log = Velero::at(self.stage.lab, site).call(&[&kind.to_lowercase(), "logs", &name]).await?;
        // As it was written: a message that has quotes is quoted with all of them escaped.
        Ok(Ended { name: format!("{kind} {name}"), phase, log: log.replace("\\\"", "\"") })
    }

    /// Patches an object of the core group by a merge.
    pub(crate) async fn patch(&self, site: Site, kind: &str, name: &str, patch: Value) -> Result<()> {
        let cluster = self.cluster(site).await?;
        let api = match kind {
            "PersistentVolume" => cluster.api("v1", kind, None),
            _ => cluster.api("v1", kind, Some(&self.name)),
        };
        api.patch(name, &Default::default(), &Patch::Merge(patch)).await.map(drop).map_err(Into::into)
    }
}

/// RFC 7396.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert_with(|| json!({})), value);
                }
            }
        }
        (into, patch) => *into = patch,
    }
}
