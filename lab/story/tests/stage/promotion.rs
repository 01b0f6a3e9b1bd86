//! What the tests of promotions share.

use anyhow::{Context, Result, ensure};
use leeward_lab::{Lab, Place, Record, Site};
use leeward_lab_story::{
    files,
    parts::{self, Stage},
    promotion::{Claims, MADE},
    velero::Velero,
};
use leeward_model::keys::{CONFIG_MAP_PROMOTE, MADE_BY, USED_BY};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

/// The plug-in's program.
pub(crate) const PLUG_IN: &str = "leeward-velero-plugin";
/// Time for deleted claims and snapshots to go, with what the storage has of them.
const GONE: Duration = Duration::from_secs(60);
/// Another Velero's namespace, prefix in the bucket, and process.
pub(crate) const OTHER: &str = "velero-too";
const VELERO: &str = "velero";

/// The backups that a test has made.
pub(crate) struct Backups {
    prefix: String,
    made: RefCell<Vec<String>>,
}

impl Backups {
    /// A name that no backup has had.
    pub(crate) fn name(&self) -> String {
        let mut made = self.made.borrow_mut();
        let name = format!("{}-{}", self.prefix, made.len() + 1);
        made.push(name.clone());
        name
    }
}

/// Plays `test` at east with a namespace of its own and takes that, and the backups, away again, however it ends.
pub(crate) fn on_claims<T>(namespace: &str, test: T)
where
    T: AsyncFnOnce(&Stage<'_>, &Claims<'_>, &Velero<'_>, &Backups) -> Result<()>,
{
    super::on_the_lab(async |stage| {
        let site = Site::East;
        beside_velero(stage, site).await?;
        let (claims, velero) = (Claims::begin(stage.lab, site, namespace).await?, Velero::at(stage.lab, site));
        let made = RefCell::default();
        let backups = Backups { prefix: format!("{namespace}-{}", unique()), made };
        let tested = test(stage, &claims, &velero, &backups).await;
        let cleared = async {
            policy(stage, site, None).await?;
            for backup in backups.made.take() {
                // Some were made by another Velero, or deleted by the test itself.
                if velero.phase("Backup", &backup).await.is_ok() {
                    velero.delete(&backup).await?;
                }
            }
            claims.remove().await
        };
        // What the test found comes first.
        let cleared = cleared.await;
        tested.and(cleared)
    });
}

/// Letters that no earlier run of a test has used.
pub(crate) fn unique() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", seconds.as_millis())
}

/// The site answers, and the plug-ins have their ConfigMap, as for somebody who uses nothing else of Leeward.
pub(crate) async fn beside_velero(stage: &Stage<'_>, site: Site) -> Result<()> {
    if !stage.lab.is_plugged(site) {
        stage.lab.heal_site(site).await?;
    }
    parts::wait_until_it_answers(stage, site).await?;
    policy(stage, site, None).await
}

/// Sets what the plug-in does with Backups that say nothing themselves.
pub(crate) async fn policy(stage: &Stage<'_>, site: Site, policy: Option<&str>) -> Result<()> {
    config(stage, site, VELERO, policy).await
}

async fn config(stage: &Stage<'_>, site: Site, namespace: &str, policy: Option<&str>) -> Result<()> {
    let mut map = files::plugin_config(site, namespace, &files::mapping());
    map["data"][CONFIG_MAP_PROMOTE] = policy.unwrap_or_default().into();
    stage.lab.cluster(site).await?.apply(&map).await
}

/// `PREFIX-00` and so on.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n:02}")).collect()
}

/// The plug-ins that the site's Velero has running.
pub(crate) fn plug_ins(lab: &Lab, site: Site) -> Result<Vec<Record>> {
    let name = |process: &leeward_lab::ProcStatus| process.place == Place::Site(site) && process.name == VELERO;
    let velero = lab.status().into_iter().find(name).and_then(|process| process.pid);
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let parent = of("status").lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<i32>().ok());
        if velero.is_some()
            && parent == velero
            && of("cmdline").split('\0').next().is_some_and(|p| p.ends_with(PLUG_IN))
        {
            found.extend(Record::of(pid));
        }
    }
    Ok(found)
}

/// The one plug-in that the site's Velero has running.
pub(crate) async fn plug_in(lab: &Lab, site: Site) -> Result<Record> {
    let mut found = plug_ins(lab, site)?;
    ensure!(found.len() == 1, "the Velero of {site} has these plug-ins running: {found:?}");
    found.pop().context("one")
}

/// Which objects they are, by the claims that they are promoted from.
pub(crate) fn uids(promoted: &BTreeMap<String, Vec<Value>>) -> BTreeMap<&str, Vec<&str>> {
    let mut found = BTreeMap::new();
    for (from, claims) in promoted {
        found.insert(from.as_str(), claims.iter().filter_map(|claim| claim["metadata"]["uid"].as_str()).collect());
    }
    found
}

/// Checks that a backup holds these promoted claims, one of each, with the claims they are of and the volumes of both.
pub(crate) fn holds_each(
    stage: &Stage<'_>,
    what: &str,
    claims: &Claims<'_>,
    held: &BTreeSet<String>,
    promoted: &BTreeMap<String, Vec<Value>>,
) {
    let claim = |name: &str| format!("persistentvolumeclaims/namespaces/{}/{name}", claims.namespace());
    let mut wrong = Vec::new();
    for (from, claims) in promoted {
        let [promoted] = claims.as_slice() else {
            wrong.push(format!("{} promoted claims of {from}", claims.len()));
            continue;
        };
        let volume = promoted["spec"]["volumeName"].as_str().unwrap_or("(unbound)");
        let name = promoted["metadata"]["name"].as_str().unwrap_or_default();
        let wanted = [claim(from), claim(name), format!("persistentvolumes/cluster/{volume}")];
        wrong.extend(wanted.into_iter().filter(|object| !held.contains(object)));
    }
    stage.tale.check(
        what,
        wrong.is_empty() && !promoted.is_empty(),
        format!("{} promoted, missing: {wrong:?}", promoted.len()),
    );
}

/// Starts another Velero with the plug-in for the site's cluster. It stands at the object store's place: Velero opens
/// ports of fixed numbers.
pub(crate) async fn another_velero<'a>(stage: &Stage<'a>, site: Site) -> Result<Velero<'a>> {
    let cluster = stage.lab.cluster(site).await?;
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER}})).await?;
    let location = cluster.api("velero.io/v1", "BackupStorageLocation", Some(VELERO)).get("default").await?;
    let mut spec = location.data["spec"].clone();
    spec["objectStorage"]["prefix"] = OTHER.into();
    let location = json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "namespace": OTHER}, "spec": spec,
    });
    cluster.apply(&location).await?;
    config(stage, site, OTHER, None).await?;
    let mut process = stage.lab.topology().find(site, VELERO)?.clone();
    (process.name, process.place) = (OTHER.to_owned(), Place::Object);
    for word in &mut process.argv {
        if word.starts_with("--namespace=") {
            *word = format!("--namespace={OTHER}");
        }
    }
    let folder = stage.lab.root().place(Place::Object).join(OTHER);
    process.cwd = folder.join("home");
    for (name, path) in [("TMPDIR", folder.join("tmp")), ("VELERO_SCRATCH_DIR", folder.join("scratch"))] {
        fs_err::create_dir_all(&path)?;
        process.env.insert(name.to_owned(), path.display().to_string());
    }
    process.env.insert("VELERO_NAMESPACE".to_owned(), OTHER.to_owned());
    process.start(stage.lab.root())?;
    let locations = cluster.api("velero.io/v1", "BackupStorageLocation", Some(OTHER));
    cluster.wait(&locations, "default", MADE, OTHER, |location| location["status"]["phase"] == "Available").await?;
    Ok(Velero::of(stage.lab, site, OTHER))
}

/// Ends it and takes away what it had in the cluster.
pub(crate) async fn end_another_velero(stage: &Stage<'_>, site: Site) -> Result<()> {
    let record = Record::read(&stage.lab.root().pid(Place::Object, OTHER)).context("it was started")?;
    record.stop(rustix::process::Signal::TERM, Duration::from_secs(10)).await?;
    let namespaces = stage.lab.cluster(site).await?.api("v1", "Namespace", None);
    namespaces.delete(OTHER, &Default::default()).await?;
    let began = Instant::now();
    while namespaces.get_opt(OTHER).await?.is_some() {
        ensure!(began.elapsed() < MADE, "namespace {OTHER} does not go away");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// What a backup with `take-now` has made of one claim.
pub(crate) struct Promoted {
    claim: String,
    snapshot: String,
    /// What the storage has of both.
    folders: [PathBuf; 2],
}

impl Promoted {
    pub(crate) async fn of(claims: &Claims<'_>, backup: &str) -> Result<Self> {
        let used_by = format!("{USED_BY}velero.{backup}");
        let own = |claim: &&Value| claim["metadata"]["annotations"].get(&used_by).is_some();
        let promoted = claims.promoted().await?;
        let ours = |claim: &&Value| claim["metadata"]["labels"].get(MADE_BY).is_some();
        let claim = promoted.values().flatten().filter(own).find(ours);
        let claim = claim.with_context(|| format!("{backup} has promoted nothing"))?;
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        let api = claims.cluster().api("v1", "PersistentVolumeClaim", Some(claims.namespace()));
        let bound = |claim: &Value| claim["status"]["phase"] == "Bound";
        // One of an interrupted backup may still be on its way.
        let claim = claims.cluster().wait(&api, name, MADE, "csi-provisioner", bound).await?;
        let name = |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let snapshot = name("/spec/dataSource/name");
        let folders = [claims.folder(&claim)?, claims.data_of(&snapshot).await?];
        Ok(Self { claim: name("/metadata/name"), snapshot, folders })
    }

    /// What is there of it.
    pub(crate) async fn parts(&self, claims: &Claims<'_>) -> Result<Vec<String>> {
        let mut there: Vec<_> = live_claims(claims).await?.into_iter().filter(|name| *name == self.claim).collect();
        there.extend(claims.snapshots().await?.into_iter().filter(|name| *name == self.snapshot));
        there.extend(self.folders.iter().filter(|folder| folder.exists()).map(|folder| folder.display().to_string()));
        Ok(there)
    }

    /// Waits until nothing is there of it.
    pub(crate) async fn wait_until_gone(&self, claims: &Claims<'_>) -> Result<()> {
        let began = Instant::now();
        loop {
            let there = self.parts(claims).await?;
            if there.is_empty() {
                return Ok(());
            }
            ensure!(began.elapsed() < GONE, "this stays of a backup that is gone: {there:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The names of the claims that are not being deleted.
pub(crate) async fn live_claims(claims: &Claims<'_>) -> Result<BTreeSet<String>> {
    let all = claims.all("v1", "PersistentVolumeClaim").await?;
    let live = all.iter().filter(|claim| claim["metadata"]["deletionTimestamp"].is_null());
    Ok(live.filter_map(|claim| claim["metadata"]["name"].as_str().map(str::to_owned)).collect())
}
