//! Plain claims with a small file each, their snapshots, and what backups promote them to. No machine is needed for that.

use crate::promotions::{Promoted, Promotions};
use crate::velero::Velero;
use anyhow::{Context, Result, ensure};
use kube::api::ListParams;
use leeward_lab::{CLASS, Cluster, Lab, Site};
use leeward_model::keys::{PROMOTED_FROM, RECOVERY_POINT};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Time for fifty claims, or fifty snapshots, on two cores that also run two clusters.
pub const MADE: Duration = Duration::from_secs(180);
const CLAIM: &str = "PersistentVolumeClaim";
const SNAPSHOTS: (&str, &str) = ("snapshot.storage.k8s.io/v1", "VolumeSnapshot");

/// A namespace of claims at a site.
pub struct Claims<'a> {
    lab: &'a Lab,
    site: Site,
    cluster: Cluster,
    namespace: String,
}

impl<'a> Claims<'a> {
    /// Makes the namespace, anew if it is there.
    ///
    /// # Errors
    /// The cluster refuses it, or the old one does not go away.
    pub async fn begin(lab: &'a Lab, site: Site, namespace: &str) -> Result<Self> {
        let claims = Self::of(lab, site, namespace).await?;
        claims.remove().await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        claims.cluster.apply(&namespace).await?;
        Ok(claims)
    }

    /// Those of a namespace that somebody else has made.
    ///
    /// # Errors
    /// The site's kubeconfig cannot be read.
    pub async fn of(lab: &'a Lab, site: Site, namespace: &str) -> Result<Self> {
        Ok(Self { lab, site, cluster: lab.cluster(site).await?, namespace: namespace.to_owned() })
    }

    /// Its name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The site's API server.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Makes claims of the lab's class, waits until they are bound, and writes each one's name into a file of its volume.
    ///
    /// # Errors
    /// They are not bound within [`MADE`].
    pub async fn make(&self, names: &[String], labels: &Value) -> Result<()> {
        let claims: Vec<_> = names.iter().map(|name| self.claim(name, CLASS, labels)).collect();
        self.make_these(&claims).await
    }

    /// As [`Self::make`], of claims as they are applied.
    ///
    /// # Errors
    /// As there.
    pub async fn make_these(&self, claims: &[Value]) -> Result<()> {
        self.cluster.apply_all(claims).await?;
        let name = |claim: &Value| claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let names: Vec<_> = claims.iter().map(name).collect();
        let bound = |claim: &Value| claim["status"]["phase"] == "Bound";
        for claim in self.wait_for("v1", CLAIM, &names, bound).await? {
            fs_err::write(self.folder(&claim)?.join("name"), name(&claim))?;
        }
        Ok(())
    }

    /// A claim as it is applied.
    #[must_use]
    pub fn claim(&self, name: &str, class: &str, labels: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": CLAIM,
            "metadata": {"namespace": self.namespace, "name": name, "labels": labels},
            "spec": {
                "accessModes": ["ReadWriteMany"], "storageClassName": class,
                "resources": {"requests": {"storage": "1Mi"}},
            },
        })
    }

    /// Takes a snapshot of each of these claims for a recovery point and waits until all are ready.
    ///
    /// # Errors
    /// They are not ready within [`MADE`].
    pub async fn snapshot(&self, names: &[String], point: &str) -> Result<()> {
        let snapshot = |claim: &String| {
            json!({
                "apiVersion": SNAPSHOTS.0, "kind": SNAPSHOTS.1,
                "metadata": {
                    "namespace": self.namespace, "name": format!("{claim}-{point}"), "labels": {RECOVERY_POINT: point},
                },
                "spec": {"volumeSnapshotClassName": CLASS, "source": {"persistentVolumeClaimName": claim}},
            })
        };
        self.cluster.apply_all(&names.iter().map(snapshot).collect::<Vec<_>>()).await?;
        let names: Vec<_> = names.iter().map(|claim| format!("{claim}-{point}")).collect();
        let ready = |snapshot: &Value| snapshot["status"]["readyToUse"] == true;
        self.wait_for(SNAPSHOTS.0, SNAPSHOTS.1, &names, ready).await.map(drop)
    }

    /// The folder of the export that holds a snapshot's data.
    ///
    /// # Errors
    /// The snapshot is not there, or not ready.
    pub async fn data_of(&self, snapshot: &str) -> Result<PathBuf> {
        let found = self.cluster.api(SNAPSHOTS.0, SNAPSHOTS.1, Some(&self.namespace)).get(snapshot).await?;
        let found = serde_json::to_value(found)?;
        let content = found.pointer("/status/boundVolumeSnapshotContentName").and_then(Value::as_str);
        let content = content.with_context(|| format!("snapshot {snapshot} is not bound"))?;
        let content = self.cluster.api(SNAPSHOTS.0, "VolumeSnapshotContent", None).get(content).await?;
        let content = serde_json::to_value(content)?;
        let handle = content.pointer("/status/snapshotHandle").and_then(Value::as_str).context("a handle")?;
        // server#share#snapshot#snapshot#volume
        let name = handle.split('#').nth(2).context("a snapshot's handle has five parts")?;
        Ok(self.lab.export(self.site).join(".snapshots").join(name))
    }

    /// The folder of the export that holds a bound claim's data.
    ///
    /// # Errors
    /// It is not bound.
    pub fn folder(&self, claim: &Value) -> Result<PathBuf> {
        let volume = claim.pointer("/spec/volumeName").and_then(Value::as_str);
        // The lab's driver names a folder as its PersistentVolume.
        Ok(self.lab.export(self.site).join(volume.with_context(|| format!("a claim without a volume: {claim}"))?))
    }

    /// All objects of a kind in the namespace.
    ///
    /// # Errors
    /// The cluster does not list them.
    pub async fn all(&self, version: &str, kind: &str) -> Result<Vec<Value>> {
        let api = self.cluster.api(version, kind, Some(&self.namespace));
        let listed = api.list(&ListParams::default()).await?;
        listed.items.into_iter().map(|object| serde_json::to_value(object).map_err(Into::into)).collect()
    }

    /// The names of the snapshots.
    ///
    /// # Errors
    /// The cluster does not list them.
    pub async fn snapshots(&self) -> Result<Vec<String>> {
        let all = self.all(SNAPSHOTS.0, SNAPSHOTS.1).await?;
        Ok(all.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// The promoted claims, by the claims that they are promoted from.
    ///
    /// # Errors
    /// The cluster does not list them.
    pub async fn promoted(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for claim in self.all("v1", CLAIM).await? {
            if let Some(from) = claim["metadata"]["annotations"][PROMOTED_FROM].as_str() {
                found.entry(from.to_owned()).or_default().push(claim);
            }
        }
        Ok(found)
    }

    /// Waits until so many promoted claims are there, in whatever state.
    ///
    /// # Errors
    /// They do not come within [`MADE`].
    pub async fn wait_for_promoted(&self, count: usize) -> Result<BTreeMap<String, Vec<Value>>> {
        let began = Instant::now();
        loop {
            let promoted = self.promoted().await?;
            let are = promoted.values().map(Vec::len).sum::<usize>();
            if are == count {
                return Ok(promoted);
            }
            ensure!(began.elapsed() < MADE, "{are} promoted claims in {}, not {count}: {promoted:?}", self.namespace);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Looks at objects of a kind until each of these is as wished.
    async fn wait_for(
        &self,
        version: &str,
        kind: &str,
        names: &[String],
        wished: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        let api = self.cluster.api(version, kind, Some(&self.namespace));
        let mut done = Vec::new();
        for name in names {
            done.push(self.cluster.wait(&api, name, MADE, "csi-provisioner", &wished).await?);
        }
        Ok(done)
    }

    /// Deletes the namespace and waits until it and its volumes are gone.
    ///
    /// # Errors
    /// They do not go within [`MADE`].
    pub async fn remove(&self) -> Result<()> {
        let (namespaces, volumes) =
            (self.cluster.api("v1", "Namespace", None), self.cluster.api("v1", "PersistentVolume", None));
        if namespaces.get_opt(&self.namespace).await?.is_some() {
            namespaces.delete(&self.namespace, &Default::default()).await?;
        }
        let began = Instant::now();
        loop {
            let there = namespaces.get_opt(&self.namespace).await?.is_some();
            let volumes = volumes.list(&ListParams::default()).await?.items;
            let own = volumes.iter().filter(|pv| pv.data["spec"]["claimRef"]["namespace"] == *self.namespace).count();
            if !there && own == 0 {
                return Ok(());
            }
            ensure!(began.elapsed() < MADE, "namespace {} does not go away; {own} volumes of it", self.namespace);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Makes a namespace of `count` claims with a snapshot each, times a backup that promotes them all, and removes everything.
/// Beside the promotions: the whole backup, from the command to the end.
///
/// # Errors
/// The backup is not `Completed`, or anything before it fails.
pub async fn measure(lab: &Lab, site: Site, namespace: &str, count: usize) -> Result<(Promoted, Duration)> {
    let (claims, velero) = (Claims::begin(lab, site, namespace).await?, Velero::at(lab, site));
    let names: Vec<_> = (0..count).map(|n| format!("c-{n:03}")).collect();
    let backup = format!("{namespace}-{}", jiff::Timestamp::now().as_millisecond());
    let timed = async {
        claims.make(&names, &json!({})).await?;
        claims.snapshot(&names, "timed").await?;
        let promotions = Promotions::watch(&claims.cluster, namespace, count).await?;
        let began = Instant::now();
        let phase = velero.back_up(&backup, namespace, &format!("{RECOVERY_POINT}=timed"), &[]).await?;
        let took = began.elapsed();
        ensure!(phase == "Completed", "backup {backup} is {phase}: {:?}", velero.errors(&backup).await?);
        Ok((promotions.end().await?, took))
    }
    .await;
    let _never_begun = velero.delete(&backup).await;
    claims.remove().await?;
    timed
}
