//! The plug-ins without the rest of Leeward: a plain `velero backup create` at one site and a plain `velero restore create`
//! at the other are enough, with every Velero that OADP ships, in both directions.
//!
//! What the storage would replicate is copied from export to export.

mod stage;

use anyhow::{Context, Result, ensure};
use leeward_lab::{PluginSet, Site, VeleroBuild};
use leeward_lab_story::{
    guests::{self, GUESTS, NAMESPACE},
    parts::{self, Stage},
    stopwatch,
    velero::Velero,
};
use serde_json::{Value, json};
use stage::{at_home, on_the_lab};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// The Veleros that `cargo xtask matrix` has built: a JSON file of builds by version. Without it the lab's own is tested.
const BUILDS: &str = "LEEWARD_VELEROS";
/// What the other site makes for itself, as in the learning path.
const EXCLUDED: &str = "pods,events,events.events.k8s.io,poddisruptionbudgets.policy,virtualmachineinstances.kubevirt.io,\
                        volumesnapshots.snapshot.storage.k8s.io";
/// Velero looks for new backups once a minute.
const SYNCED: Duration = Duration::from_secs(100);

#[test]
fn the_lab_s_velero() {
    on_the_lab(async |stage| there_and_back(stage, "own").await);
}

#[test]
fn velero_1_14_1() {
    with_version("1.14.1");
}

#[test]
fn velero_1_16_2() {
    with_version("1.16.2");
}

fn with_version(version: &str) {
    let Some(path) = std::env::var_os(BUILDS) else {
        eprintln!("NOT RUN: `cargo xtask matrix` builds Velero {version} and runs this");
        return;
    };
    on_the_lab(async |stage| {
        let builds: BTreeMap<String, VeleroBuild> = serde_json::from_slice(&fs_err::read(path)?)?;
        let build = builds.get(version).context("not among the builds")?;
        for site in Site::ALL {
            stage.lab.swap_velero(site, build, PluginSet::Leeward).await?;
            let runs = stage.lab.velero_version(site).await?;
            ensure!(runs.trim_start_matches('v') == version, "{site} runs {runs}");
        }
        there_and_back(stage, &version.replace('.', "-")).await
    });
}

/// East → west from the live volumes of stopped VMs, west → east from promoted snapshots, then Velero without the plug-in.
async fn there_and_back(stage: &Stage<'_>, name: &str) -> Result<()> {
    at_home(stage).await?;
    // The test before this one has left volumes of the same names on other storage.
    clear(stage, Site::West).await?;
    // It also writes the plug-ins' ConfigMap at both sites.
    stage.leeward.done(&["cycle", "shop"], &|_| {}).await?;
    live(stage, &format!("live-{name}")).await?;
    promoted(stage, &format!("promoted-{name}")).await?;
    without(stage, &format!("plain-{name}")).await
}

async fn live(stage: &Stage<'_>, name: &str) -> Result<()> {
    let (from, to) = (Site::East, Site::West);
    power(stage, from, false).await?;
    let boots = stage.boots(to)?;
    back_up(stage, from, name, &[]).await?;
    clear(stage, to).await?;
    restore(stage, to, name).await?;
    replicate(stage, from, to).await?;
    writable(stage, to).await?;
    power(stage, to, true).await?;
    guests::wait_for_records(stage.lab, to, 1, parts::WRITES).await?;
    stage.nothing_lost(&stage.last(from, None)?, &stage.found(to, &boots)?);
    Ok(())
}

/// West's guests run while their disks are snapshotted and the snapshots promoted by the backup. East's restored claims
/// have the promoted volumes' copies under their own names.
async fn promoted(stage: &Stage<'_>, name: &str) -> Result<()> {
    let (from, to) = (Site::West, Site::East);
    let cluster = stage.lab.cluster(from).await?;
    // web's static volume has no snapshots: its claim says so, and is recovered from the volume itself.
    let none = kube::api::Patch::Merge(json!({"metadata": {"annotations": {"leeward.io/promote": "none"}}}));
    cluster.api("v1", "PersistentVolumeClaim", Some(NAMESPACE)).patch("web-disk", &Default::default(), &none).await?;
    policy(stage, from, Some("policy: take-now\nrecoverFrom: promoted\n")).await?;
    let (live, before) = (volumes(stage, from).await?, stage.last(from, None)?);
    let backed_up = back_up(stage, from, name, &[]).await;
    policy(stage, from, None).await?;
    backed_up?;
    guests::wait_for_records(stage.lab, from, 2, parts::WRITES).await?;
    power(stage, from, false).await?;
    let boots = stage.boots(to)?;
    clear(stage, to).await?;
    restore(stage, to, name).await?;
    for (claim, volume) in volumes(stage, to).await? {
        let (was, is) = (folder(stage, from, &live[&claim])?, folder(stage, to, &volume)?);
        let is_own = was.file_name() == is.file_name();
        stage.tale.check(
            format!("{name}: {claim} is bound to the volume it is to be recovered from"),
            is_own == (claim == "web-disk") && volume["metadata"]["name"] == live[&claim]["metadata"]["name"],
            format!("{} → {}", was.display(), is.display()),
        );
    }
    replicate(stage, from, to).await?;
    power(stage, to, true).await?;
    guests::wait_for_records(stage.lab, to, 1, parts::WRITES).await?;
    let (after, last) = (stage.found(to, &boots)?, stage.last(from, None)?);
    for (disk, found) in after {
        // A snapshot is of a moment of the backup; web's volume is as it was when web stopped.
        let oldest = if disk == "web-disk" { last[disk].number } else { before[disk].number };
        stage.tale.check(
            format!("{name}: {disk} is as of the backup"),
            (oldest..=last[disk].number).contains(&found.number),
            format!("found {}, of {oldest} to {}", found.number, last[disk].number),
        );
    }
    Ok(())
}

/// Sets what the plug-in does with Backups that say nothing themselves, or takes that back.
async fn policy(stage: &Stage<'_>, site: Site, policy: Option<&str>) -> Result<()> {
    let config = stage.lab.cluster(site).await?.api("v1", "ConfigMap", Some("velero"));
    let patch = kube::api::Patch::Merge(json!({"data": {"promote": policy}}));
    config.patch("leeward-site", &Default::default(), &patch).await.map(drop).map_err(Into::into)
}

/// Lifts the fence that Leeward's last move has left at its standby, as an operator would by hand.
async fn writable(stage: &Stage<'_>, site: Site) -> Result<()> {
    let folder = stage.lab.root().place(site).join("ganesha");
    let config = fs_err::read_to_string(folder.join("ganesha.conf"))?;
    fs_err::write(
        folder.join("ganesha.conf"),
        config.replace("Access_Type = RO; # leeward-was RW;", "Access_Type = RW;"),
    )?;
    let server = fs_err::read_to_string(folder.join("ganesha.pid"))?;
    let told = Command::new("kill").args(["-HUP", server.trim()]).status().await?;
    ensure!(told.success(), "the file server of {site} is not there");
    let began = Instant::now();
    loop {
        let probe = format!("probe-{}", began.elapsed().as_millis());
        let url = format!("nfs://{}{}/{probe}", site.address(), site.share());
        let written = Command::new("nfs-cp").args(["/etc/hostname", &url]).output().await?;
        if written.status.success() {
            fs_err::remove_file(stage.lab.export(site).join(probe))?;
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "{site} stays read-only");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Velero works as before once the plug-in is gone, and goes on when it is back.
async fn without(stage: &Stage<'_>, name: &str) -> Result<()> {
    for site in Site::ALL {
        stage.lab.restart_velero(site, PluginSet::Plain).await?;
    }
    let (east, west) = (stage.lab.cluster(Site::East).await?, stage.lab.cluster(Site::West).await?);
    east.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    let note = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": name}, "data": {"a": "b"}});
    east.apply(&note).await?;
    let velero = Velero::at(stage.lab, Site::East);
    velero.call(&["backup", "create", name, "--include-namespaces", name, "--wait"]).await?;
    restore(stage, Site::West, name).await?;
    let landed = west.api("v1", "ConfigMap", Some(name)).get_opt("note").await?;
    stage.tale.check(format!("{name}: Velero without the plug-in restores as ever"), landed.is_some(), "");
    for site in Site::ALL {
        stage.lab.restart_velero(site, PluginSet::Leeward).await?;
    }
    Ok(())
}

/// What the storage's replication would do with the volumes that were restored at `to`.
async fn replicate(stage: &Stage<'_>, from: Site, to: Site) -> Result<()> {
    for volume in volumes(stage, to).await?.values() {
        let to = folder(stage, to, volume)?;
        let from = stage.lab.export(from).join(to.file_name().context("a folder")?);
        fs_err::create_dir_all(&to)?;
        let mut copy = Command::new("cp");
        let status = copy.args(["-a", "--sparse=always", "--"]).arg(from.join("disk.img")).arg(&to).status().await?;
        ensure!(status.success(), "cp {} {}: {status}", from.display(), to.display());
    }
    Ok(())
}

async fn back_up(stage: &Stage<'_>, site: Site, name: &str, more: &[&str]) -> Result<()> {
    let velero = Velero::at(stage.lab, site);
    let more: Vec<_> = ["--exclude-resources", EXCLUDED].iter().chain(more).copied().collect();
    let phase = velero.back_up(name, NAMESPACE, "", &more).await?;
    if phase != "Completed" {
        let errors = velero.errors(name).await.unwrap_or_default();
        anyhow::bail!("Backup {name} is {phase}: {}", errors.join("\n"));
    }
    Ok(())
}

async fn restore(stage: &Stage<'_>, site: Site, backup: &str) -> Result<()> {
    let velero = Velero::at(stage.lab, site);
    stopwatch::synced(&stage.lab.cluster(site).await?, backup, SYNCED).await?;
    velero.call(&["restore", "create", backup, "--from-backup", backup, "--wait"]).await?;
    let phase = velero.phase("Restore", backup).await?;
    if phase != "Completed" {
        let said = velero.call(&["restore", "describe", backup]).await.unwrap_or_default();
        anyhow::bail!("Restore {backup} is {phase}: {said}");
    }
    Ok(())
}

/// Stops the VMs at a site, or starts them, and waits for the instances to go.
async fn power(stage: &Stage<'_>, site: Site, on: bool) -> Result<()> {
    let cluster = stage.lab.cluster(site).await?;
    let (vms, instances) = (
        cluster.api("kubevirt.io/v1", "VirtualMachine", Some(NAMESPACE)),
        cluster.api("kubevirt.io/v1", "VirtualMachineInstance", Some(NAMESPACE)),
    );
    for (vm, _) in GUESTS {
        if on {
            let landed = serde_json::to_value(vms.get(vm).await?)?;
            let strategy = landed.pointer("/spec/runStrategy").and_then(Value::as_str);
            stage.tale.check(
                format!("{vm} lands halted at {site}"),
                strategy == Some("Halted"),
                format!("{strategy:?}"),
            );
        }
        let strategy = if on { "Always" } else { "Halted" };
        let patch =
            json!({"metadata": {"annotations": {"leeward.io/run-strategy": null}}, "spec": {"runStrategy": strategy}});
        vms.patch(vm, &Default::default(), &kube::api::Patch::Merge(patch)).await?;
    }
    let began = Instant::now();
    while !on && !instances.list(&Default::default()).await?.items.is_empty() {
        ensure!(began.elapsed() < parts::WRITES, "the VMs at {site} do not stop");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Deletes the shop at a site, its volumes' objects included, and leaves their data alone.
async fn clear(stage: &Stage<'_>, site: Site) -> Result<()> {
    let cluster = stage.lab.cluster(site).await?;
    let (namespaces, volumes) = (cluster.api("v1", "Namespace", None), cluster.api("v1", "PersistentVolume", None));
    for volume in volumes.list(&Default::default()).await?.items {
        let name = volume.metadata.name.clone().unwrap_or_default();
        let keep = kube::api::Patch::Merge(json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}));
        volumes.patch(&name, &Default::default(), &keep).await?;
    }
    let _ = namespaces.delete(NAMESPACE, &Default::default()).await;
    let began = Instant::now();
    while namespaces.get_opt(NAMESPACE).await?.is_some() {
        ensure!(began.elapsed() < Duration::from_secs(90), "namespace {NAMESPACE} at {site} does not go away");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for volume in volumes.list(&Default::default()).await?.items {
        let _ = volumes.delete(&volume.metadata.name.clone().unwrap_or_default(), &Default::default()).await;
    }
    Ok(())
}

/// The PV that each claim of a guest's disk is bound to.
async fn volumes(stage: &Stage<'_>, site: Site) -> Result<BTreeMap<String, Value>> {
    let cluster = stage.lab.cluster(site).await?;
    let mut found = BTreeMap::new();
    for claim in GUESTS.iter().flat_map(|(_, disks)| disks.iter()) {
        let pvc = serde_json::to_value(cluster.api("v1", "PersistentVolumeClaim", Some(NAMESPACE)).get(claim).await?)?;
        let bound = pvc.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
        let name = pvc.pointer("/spec/volumeName").and_then(Value::as_str).filter(|_| bound);
        let name = name.with_context(|| format!("claim {claim} at {site} is not bound: {pvc}"))?;
        let pv = serde_json::to_value(cluster.api("v1", "PersistentVolume", None).get(name).await?)?;
        found.insert((*claim).to_owned(), pv);
    }
    Ok(found)
}

/// Where a site's file server keeps a volume that points at it.
fn folder(stage: &Stage<'_>, site: Site, pv: &Value) -> Result<PathBuf> {
    let text = |pointer: &str| pv.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let csi = "/spec/csi/volumeAttributes";
    let server = text("/spec/nfs/server").or_else(|| text(&format!("{csi}/server"))).context("a server")?;
    ensure!(server == site.address().to_string(), "a volume at {site} points at {server}: {pv}");
    let path = text("/spec/nfs/path").or_else(|| text(&format!("{csi}/subdir"))).context("a path")?;
    // In-tree paths begin with the export, others are below it.
    let below = path.rsplit('/').next().context("a folder")?;
    Ok(stage.lab.export(site).join(below))
}
