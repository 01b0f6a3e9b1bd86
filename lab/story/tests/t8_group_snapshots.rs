//! Several disks at one moment: a plain backup with `take-now`, where the ConfigMap names a VolumeGroupSnapshotClass, through
//! the real snapshot controller, the real sidecars and the lab's own driver.

mod stage;

use anyhow::{Context, Result, ensure};
use kube::api::{ListParams, Patch};
use leeward_lab::{CLASS, Cluster, DRIVER, Site, velero::NAMESPACE as VELERO};
use leeward_lab_story::{
    files,
    parts::{self, Stage},
    velero::Velero,
};
use leeward_model::keys::{CONFIG_MAP, CONFIG_MAP_PROMOTE, SNAPSHOT_GROUP};
use serde_json::{Value, json};
use stage::on_the_lab;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tokio::process::Command;

const SITE: Site = Site::East;
/// Time for each of the things that are waited for, on two cores that also run two clusters.
const DONE: Duration = Duration::from_secs(240);
const SNAPSHOT: (&str, &str) = ("snapshot.storage.k8s.io/v1", "VolumeSnapshot");
const GROUP: (&str, &str) = ("groupsnapshot.storage.k8s.io/v1", "VolumeGroupSnapshot");
const GROUP_CLASS: (&str, &str) = ("groupsnapshot.storage.k8s.io/v1", "VolumeGroupSnapshotClass");
const CLAIM: (&str, &str) = ("v1", "PersistentVolumeClaim");

#[test]
fn claims_of_one_group_are_of_one_moment_and_go_together() {
    on_the_lab(async |stage| {
        let shelf = Shelf::begin(stage, "group-moment").await?;
        shelf
            .policy(&format!("{{ policy: take-now, keepNewest: 1, groupSnapshotClasses: {{ {DRIVER}: {CLASS} }} }}"))
            .await?;
        let folders = [shelf.folder("log").await?, shelf.folder("data").await?];

        let stop = AtomicBool::new(false);
        let backed_up = async {
            let phase = shelf.back_up("first").await;
            stop.store(true, Ordering::Relaxed);
            phase
        };
        let (phase, written) = tokio::join!(backed_up, write_in_turn(&folders, &stop));
        written?;
        let phase = phase?;
        stage.tale.check(
            "the backup is whole",
            phase == "Completed",
            format!("{phase}: {}", shelf.errors("first").await),
        );

        let groups = shelf.all(GROUP).await?;
        let group = groups.first().context("a group")?;
        let members: Vec<_> = shelf.all(SNAPSHOT).await?;
        let (of_group, alone): (Vec<_>, Vec<_>) = members.iter().partition(|snapshot| owner(snapshot) == uid(group));
        let sources = |of: &[&Value]| {
            let mut sources: Vec<_> =
                of.iter().filter_map(|s| s["spec"]["source"]["persistentVolumeClaimName"].as_str()).collect();
            sources.sort_unstable();
            sources.join(" ")
        };
        stage.tale.check(
            "the two with one label are taken by one group, the third by itself",
            groups.len() == 1 && sources(&of_group) == "data log" && sources(&alone) == "other",
            format!("{} groups; {}; {}", groups.len(), sources(&of_group), sources(&alone)),
        );
        let marks: Vec<_> = shelf
            .all(CLAIM)
            .await?
            .into_iter()
            .filter(|claim| claim["metadata"].to_string().contains(SNAPSHOT_GROUP))
            .collect();
        stage.tale.check("no claim bears the group's mark any more", marks.is_empty(), format!("{marks:?}"));

        let promoted = shelf.promoted().await?;
        let turn = |claim: &str| -> Result<u64> {
            let volume = promoted[claim]["spec"]["volumeName"].as_str().context("a bound claim")?;
            let text = fs_err::read_to_string(stage.lab.export(SITE).join(volume).join("turn"))?;
            Ok(text.trim().parse()?)
        };
        let (log, data) = (turn("log")?, turn("data")?);
        stage.tale.check(
            "what is promoted of them is of one moment: the log is written first",
            log == data || log == data + 1,
            format!("log {log}, data {data}"),
        );
        let held = shelf.held("first").await?;
        let missing: Vec<_> = ["log", "data", "other"]
            .iter()
            .flat_map(|claim| [(*claim).to_owned(), name(&promoted[*claim]).to_owned()])
            .filter(|claim| !held.contains(&format!("/{claim}.json")))
            .collect();
        stage.tale.check("all is in the backup", missing.is_empty(), format!("missing: {missing:?}"));
        stage.tale.check("and no mark", !shelf.stored("first", "data").await?.contains(SNAPSHOT_GROUP), "");

        let phase = shelf.back_up("second").await?;
        stage.tale.check(
            "a second backup is whole",
            phase == "Completed",
            format!("{phase}: {}", shelf.errors("second").await),
        );
        shelf.delete("first").await?;
        let began = Instant::now();
        loop {
            let (groups, snapshots) = (shelf.all(GROUP).await?, shelf.all(SNAPSHOT).await?);
            let old =
                groups.iter().chain(&snapshots).filter(|o| members.iter().chain([group]).any(|old| uid(old) == uid(o)));
            if old.count() == 0 {
                stage.tale.check(
                    "with its backup goes the older group, the newest stays",
                    groups.len() == 1 && snapshots.len() == 3,
                    format!("{} groups, {} snapshots", groups.len(), snapshots.len()),
                );
                break;
            }
            ensure!(began.elapsed() < DONE, "the first backup's group stays: {groups:?} {snapshots:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        shelf.end().await
    });
}

#[test]
fn a_group_that_cannot_be_taken_fails_the_backup_and_nothing_is_taken_one_by_one() {
    on_the_lab(async |stage| {
        let shelf = Shelf::begin(stage, "group-refused").await?;
        let class = json!({
            "apiVersion": GROUP_CLASS.0, "kind": GROUP_CLASS.1, "metadata": {"name": "painted"},
            "driver": DRIVER, "deletionPolicy": "Delete", "parameters": {"colour": "red"},
        });
        shelf.cluster.apply(&class).await?;
        let cases = [
            ("missing", "LW-0634", "there is none of that name"),
            // The driver's own words, as the sidecar hands them on.
            ("painted", "LW-0629", "the parameter colour is unknown to this driver"),
        ];
        for (class, code, words) in cases {
            let policy =
                format!("{{ policy: take-now, deadlineSeconds: 20, groupSnapshotClasses: {{ {DRIVER}: {class} }} }}");
            shelf.policy(&policy).await?;
            let phase = shelf.back_up(class).await?;
            let errors = shelf.errors(class).await;
            stage.tale.check(
                format!("class {class}: the backup fails, with the reason and both claims"),
                phase == "PartiallyFailed"
                    && [code, words, "group-refused/data, group-refused/log"].iter().all(|part| errors.contains(part)),
                format!("{phase}: {errors}"),
            );
            let (groups, snapshots) = (shelf.all(GROUP).await?.len(), shelf.all(SNAPSHOT).await?);
            let of_group =
                snapshots.iter().filter(|s| s["spec"]["source"]["persistentVolumeClaimName"] != "other").count();
            let marked =
                shelf.all(CLAIM).await?.iter().filter(|c| c["metadata"].to_string().contains(SNAPSHOT_GROUP)).count();
            let begun = if class == "painted" { 1 } else { 0 };
            stage.tale.check(
                format!("class {class}: nothing is taken, no mark is left"),
                (groups, of_group, marked) == (begun, 0, 0),
                format!("{groups} groups, {of_group} snapshots, {marked} marked claims"),
            );
        }
        shelf.cluster.api(GROUP_CLASS.0, GROUP_CLASS.1, None).delete("painted", &Default::default()).await?;

        // A driver that is not named: as ever.
        shelf
            .policy(&format!("{{ policy: take-now, groupSnapshotClasses: {{ other.example.com: {CLASS} }} }}"))
            .await?;
        let phase = shelf.back_up("single").await?;
        let promoted = shelf.promoted().await?;
        stage.tale.check(
            "of another driver each claim is taken by itself",
            phase == "Completed" && promoted.len() == 3,
            format!("{phase}, {} promoted: {}", promoted.len(), shelf.errors("single").await),
        );
        shelf.end().await
    });
}

/// Writes the number of each turn into the first folder, then the second, so that at any moment the first is the same or one
/// ahead. Between two turns there is time to cut both.
async fn write_in_turn(folders: &[PathBuf; 2], stop: &AtomicBool) -> Result<()> {
    for turn in 1.. {
        for folder in folders {
            fs_err::write(folder.join("next"), turn.to_string())?;
            fs_err::rename(folder.join("next"), folder.join("turn"))?;
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    Ok(())
}

/// A namespace with three claims: `data` and `log` bear one group's label, `other` another's.
struct Shelf<'a> {
    stage: &'a Stage<'a>,
    cluster: Cluster,
    namespace: &'static str,
    /// What tells this run's backups from those of an earlier one.
    run: String,
}

impl<'a> Shelf<'a> {
    async fn begin(stage: &'a Stage<'a>, namespace: &'static str) -> Result<Self> {
        if !stage.lab.is_plugged(SITE) {
            stage.lab.heal_site(SITE).await?;
        }
        parts::wait_until_it_answers(stage, SITE).await?;
        let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis().to_string();
        let shelf = Self { stage, cluster: stage.lab.cluster(SITE).await?, namespace, run };
        shelf.cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await?;
        for (claim, group) in [("data", "books"), ("log", "books"), ("other", "toys")] {
            let claim = json!({
                "apiVersion": CLAIM.0, "kind": CLAIM.1,
                "metadata": {"namespace": namespace, "name": claim, "labels": {"velero.io/volume-group": group}},
                "spec": {
                    "accessModes": ["ReadWriteMany"], "storageClassName": CLASS,
                    "resources": {"requests": {"storage": "1Mi"}},
                },
            });
            shelf.cluster.apply(&claim).await?;
        }
        for claim in ["data", "log", "other"] {
            fs_err::write(shelf.folder(claim).await?.join("turn"), "0")?;
        }
        Ok(shelf)
    }

    /// Where the file server has a claim's volume. The lab's driver names a folder as its PersistentVolume.
    async fn folder(&self, claim: &str) -> Result<PathBuf> {
        let claims = self.cluster.api(CLAIM.0, CLAIM.1, Some(self.namespace));
        let bound = |claim: &Value| claim["status"]["phase"] == "Bound";
        let claim = self.cluster.wait(&claims, claim, DONE, "csi-provisioner", bound).await?;
        let volume = claim["spec"]["volumeName"].as_str().context("a bound claim has a volume")?;
        Ok(self.stage.lab.export(SITE).join(volume))
    }

    /// What the plug-in does with Backups that say nothing themselves.
    async fn policy(&self, policy: &str) -> Result<()> {
        let mut map = files::plugin_config(SITE, VELERO, &files::mapping());
        map["data"][CONFIG_MAP_PROMOTE] = policy.into();
        self.cluster.apply(&map).await
    }

    fn backup(&self, name: &str) -> String {
        format!("{}-{name}-{}", self.namespace, self.run)
    }

    fn velero(&self) -> Velero<'_> {
        Velero::at(self.stage.lab, SITE)
    }

    /// A plain backup; its phase at the end.
    async fn back_up(&self, name: &str) -> Result<String> {
        self.velero().back_up(&self.backup(name), self.namespace, "", &[]).await
    }

    /// The errors in a backup's log, or why there is no log.
    async fn errors(&self, name: &str) -> String {
        match self.velero().call(&["backup", "logs", &self.backup(name)]).await {
            Ok(log) => log
                .lines()
                .filter(|l| l.contains("level=error") || l.contains("level=warn"))
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// What a backup holds, as `tar` lists it.
    async fn held(&self, name: &str) -> Result<String> {
        self.tar(name, "-tzf", &[]).await
    }

    /// A claim as the backup has it.
    async fn stored(&self, name: &str, claim: &str) -> Result<String> {
        let path = format!("resources/persistentvolumeclaims/namespaces/{}/{claim}.json", self.namespace);
        self.tar(name, "-xOzf", &[&path]).await
    }

    async fn tar(&self, name: &str, how: &str, what: &[&str]) -> Result<String> {
        let name = self.backup(name);
        let file = self.stage.lab.root().path().join(format!("{name}.tar.gz"));
        let path = file.to_str().context("a path")?;
        self.velero().call(&["backup", "download", &name, "--force", "--output", path]).await?;
        let output = Command::new("tar").args([how, path]).args(what).output().await?;
        fs_err::remove_file(&file)?;
        ensure!(output.status.success(), "tar {how} {path}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.velero().delete(&self.backup(name)).await
    }

    async fn all(&self, (version, kind): (&str, &str)) -> Result<Vec<Value>> {
        let listed = self.cluster.api(version, kind, Some(self.namespace)).list(&ListParams::default()).await?;
        listed.items.into_iter().map(|object| serde_json::to_value(object).map_err(Into::into)).collect()
    }

    /// The newest promoted claim of each claim.
    async fn promoted(&self) -> Result<BTreeMap<String, Value>> {
        let mut claims = self.all(CLAIM).await?;
        claims.sort_by_key(|claim| claim["metadata"]["creationTimestamp"].to_string());
        let from =
            |claim: &Value| claim["metadata"]["annotations"]["leeward.io/promoted-from"].as_str().map(str::to_owned);
        Ok(claims.into_iter().filter_map(|claim| Some((from(&claim)?, claim))).collect())
    }

    /// Takes the policy back and the namespace away, and waits until nothing of it is left on the storage.
    async fn end(&self) -> Result<()> {
        let config = self.cluster.api("v1", "ConfigMap", Some(VELERO));
        let patch = Patch::Merge(json!({"data": {CONFIG_MAP_PROMOTE: null}}));
        config.patch(CONFIG_MAP, &Default::default(), &patch).await?;
        let namespaces = self.cluster.api("v1", "Namespace", None);
        namespaces.delete(self.namespace, &Default::default()).await?;
        let contents = self.cluster.api(GROUP.0, "VolumeGroupSnapshotContent", None);
        let began = Instant::now();
        loop {
            let there = namespaces.get_opt(self.namespace).await?.is_some();
            let contents = contents.list(&ListParams::default()).await?.items;
            let own =
                contents.iter().filter(|c| c.data["spec"]["volumeGroupSnapshotRef"]["namespace"] == self.namespace);
            let own = own.count();
            if !there && own == 0 {
                return Ok(());
            }
            ensure!(
                began.elapsed() < DONE,
                "namespace {} does not go away; {own} groups of it are left",
                self.namespace
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or("(none)")
}

fn owner(object: &Value) -> &str {
    object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default()
}
