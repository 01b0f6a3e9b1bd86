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
};
use serde_json::{Value, json};
use stage::{at_home, on_the_lab};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
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
    for (claim, volume) in volumes(stage, to).await? {
        let source = volumes(stage, from).await?.remove(&claim).with_context(|| format!("{claim} at {from}"))?;
        copy(&folder(stage, from, &source)?, &folder(stage, to, &volume)?).await?;
    }
    power(stage, to, true).await?;
    guests::wait_for_records(stage.lab, to, 1, parts::WRITES).await?;
    for (vm, disks) in GUESTS {
        let last = guests::newest(stage.lab, from, vm)?;
        let now = guests::newest(stage.lab, to, vm)?;
        stage.tale.check(format!("{name}: {vm} finds every chain whole"), now.is_whole(disks), format!("{:?}", now.chains));
        for disk in disks {
            let (last, found) = (last.last(disk, None), now.found(disk));
            stage.tale.check(
                format!("{name}: 0 records of {disk} lost"),
                last.map(|record| record.number) == found.map(|record| record.number),
                format!("{last:?} → {found:?}"),
            );
        }
    }
    ensure!(stage.boots(to)?.iter().zip(boots).all(|(now, before)| now - before == 1), "each guest boots once");
    Ok(())
}

/// Runs Velero's command line at a site; what it prints.
async fn velero(stage: &Stage<'_>, site: Site, args: &[&str]) -> Result<String> {
    let output = Command::from(stage.lab.velero(site)).args(args).output().await?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "`velero {}` at {site}: {said}", args.join(" "));
    Ok(said)
}

async fn back_up(stage: &Stage<'_>, site: Site, name: &str, more: &[&str]) -> Result<()> {
    let mut args = vec!["backup", "create", name, "--include-namespaces", NAMESPACE, "--exclude-resources", EXCLUDED];
    args.extend(["--snapshot-volumes=false", "--default-volumes-to-fs-backup=false", "--wait"]);
    args.extend(more);
    velero(stage, site, &args).await?;
    let phase = phase(stage, site, "Backup", name).await?;
    if phase != "Completed" {
        let logs = velero(stage, site, &["backup", "logs", name]).await.unwrap_or_default();
        let errors: Vec<&str> = logs.lines().filter(|line| line.contains("level=error")).collect();
        anyhow::bail!("Backup {name} is {phase}: {}", errors.join("\n"));
    }
    Ok(())
}

async fn restore(stage: &Stage<'_>, site: Site, backup: &str) -> Result<()> {
    let began = Instant::now();
    while velero(stage, site, &["backup", "get", backup]).await.is_err() {
        ensure!(began.elapsed() < SYNCED, "{site} does not see backup {backup}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    velero(stage, site, &["restore", "create", backup, "--from-backup", backup, "--wait"]).await?;
    let phase = phase(stage, site, "Restore", backup).await?;
    if phase != "Completed" {
        let said = velero(stage, site, &["restore", "describe", backup]).await.unwrap_or_default();
        anyhow::bail!("Restore {backup} is {phase}: {said}");
    }
    Ok(())
}

async fn phase(stage: &Stage<'_>, site: Site, kind: &str, name: &str) -> Result<String> {
    let object = stage.lab.cluster(site).await?.api("velero.io/v1", kind, Some("velero")).get(name).await?;
    let object = serde_json::to_value(object)?;
    Ok(object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("without a phase").to_owned())
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
            stage.tale.check(format!("{vm} lands halted at {site}"), strategy == Some("Halted"), format!("{strategy:?}"));
        }
        let strategy = if on { "Always" } else { "Halted" };
        let patch = json!({"metadata": {"annotations": {"leeward.io/run-strategy": null}}, "spec": {"runStrategy": strategy}});
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

/// What the storage's replication would do.
async fn copy(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    let status =
        Command::new("cp").args(["-a", "--sparse=always", "--"]).arg(from.join("disk.img")).arg(to).status().await?;
    ensure!(status.success(), "cp {} {}: {status}", from.display(), to.display());
    Ok(())
}
