//! The shop: two virtual machines with three disks, on both kinds of NFS volumes Leeward knows.
//!
//! `db` has two disks on volumes of the CSI driver; `web` has one on an in-tree NFS volume that somebody made by hand.
//! The disks' images are written straight into the export: an importer's part, played.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use leeward_lab_guest::image::format_image;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::objects::{CLASS, condition};
use crate::place::Site;

/// The shop's namespace.
pub const NAMESPACE: &str = "shop";
/// Size of each disk in bytes; the image is sparse.
pub const DISK_BYTES: u64 = 64 << 20;
/// Memory of each machine.
const MEMORY: &str = "192Mi";

/// The machines of the shop, each with the claims of its disks; a disk's serial number is its claim's name.
pub const MACHINES: [(&str, &[&str]); 2] = [("db", &["db-data", "db-log"]), ("web", &["web-disk"])];

/// A disk of the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The machine it is of.
    pub machine: &'static str,
    /// Its claim, which is its serial number too.
    pub claim: &'static str,
    /// Its volume.
    pub volume: String,
    /// Its image, as the host sees it.
    pub image: PathBuf,
}

/// Makes the shop at a site and gives its disks; fine when it is there. The machines start at once.
pub async fn seed_shop(lab: &Lab, site: Site) -> Result<Vec<Disk>> {
    let cluster = lab.cluster(site).await?;
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })).await?;
    fs_err::create_dir_all(lab.export(site).join("web-disk"))?;
    cluster.apply(&static_volume(site)).await?;
    let mut disks = Vec::new();
    for (machine, claims) in MACHINES {
        for claim in claims {
            cluster.apply(&claim_object(claim)).await?;
        }
        for claim in claims {
            disks.push(disk(lab, &cluster, site, machine, claim).await?);
        }
        cluster.apply(&machine_object(machine, claims)).await?;
    }
    Ok(disks)
}

/// Waits until every machine of the shop has found its disks whole and writes to them.
pub async fn wait_for_guests(lab: &Lab, site: Site, limit: Duration) -> Result<()> {
    let cluster = lab.cluster(site).await?;
    let instances = cluster.api("kubevirt.io/v1", "VirtualMachineInstance", Some(NAMESPACE));
    for (machine, _) in MACHINES {
        cluster.wait(&instances, machine, limit, "lab-node", |instance| condition(instance, "AgentConnected")).await?;
    }
    Ok(())
}

/// Waits for a claim's volume and puts an empty image into it, once.
async fn disk(lab: &Lab, cluster: &Cluster, site: Site, machine: &'static str, claim: &'static str) -> Result<Disk> {
    let claims = cluster.api("v1", "PersistentVolumeClaim", Some(NAMESPACE));
    let bound = cluster
        .wait(&claims, claim, Duration::from_secs(60), "csi-provisioner", |claim| claim["status"]["phase"] == "Bound")
        .await?;
    let volume = bound["spec"]["volumeName"].as_str().context("a bound claim names its volume")?.to_owned();
    let object = serde_json::to_value(cluster.api("v1", "PersistentVolume", None).get(&volume).await?)?;
    let image = lab.export(site).join(directory(&object, site)?).join("disk.img");
    if !image.exists() {
        format_image(&image, claim, DISK_BYTES).with_context(|| format!("making {}", image.display()))?;
    }
    Ok(Disk { machine, claim, volume, image })
}

/// The folder of a volume within its site's export.
fn directory(volume: &Value, site: Site) -> Result<PathBuf> {
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
    let path = match text("/spec/nfs/path") {
        Some(path) => path.to_owned(),
        None => {
            let attribute = |name: &str| text(&format!("/spec/csi/volumeAttributes/{name}"));
            let share = attribute("share").context("a volume of the CSI driver has the attribute share")?;
            let folder = attribute("subdir").context("a volume of the CSI driver has the attribute subdir")?;
            format!("{share}/{folder}")
        }
    };
    match Path::new(&path).strip_prefix(site.share()) {
        Ok(folder) => Ok(folder.to_owned()),
        Err(_) => bail!("{path} is not in {}, the export of {site}", site.share()),
    }
}

fn static_volume(site: Site) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": "web-disk" },
        "spec": {
            "capacity": { "storage": "64Mi" },
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "nfs": { "server": site.address().to_string(), "path": format!("{}/web-disk", site.share()) },
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": NAMESPACE, "name": "web-disk",
            },
        },
    })
}

fn claim_object(claim: &str) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim, "namespace": NAMESPACE, "labels": { "app": NAMESPACE } },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Filesystem",
            "resources": { "requests": { "storage": "64Mi" } },
            "storageClassName": CLASS,
        },
    });
    if claim == "web-disk" {
        object["spec"]["storageClassName"] = json!("");
        object["spec"]["volumeName"] = json!("web-disk");
    }
    object
}

fn machine_object(name: &str, claims: &[&str]) -> Value {
    let disks: Vec<_> =
        claims.iter().map(|claim| json!({ "name": claim, "serial": claim, "disk": { "bus": "virtio" } })).collect();
    let volumes: Vec<_> =
        claims.iter().map(|claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } })).collect();
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "app": NAMESPACE, "tier": name } },
        "spec": {
            "runStrategy": "Always",
            "template": {
                "metadata": { "labels": { "app": NAMESPACE, "tier": name } },
                "spec": {
                    "domain": {
                        "cpu": { "cores": 1 },
                        "memory": { "guest": MEMORY },
                        "resources": { "requests": { "memory": MEMORY } },
                        "devices": { "disks": disks },
                    },
                    "terminationGracePeriodSeconds": 10,
                    "volumes": volumes,
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_either_kind_of_volume_is_found() {
        let csi = json!({ "spec": { "csi": { "volumeAttributes": { "share": "/vault", "subdir": "pvc-1" } } } });
        assert_eq!(directory(&csi, Site::West).unwrap(), Path::new("pvc-1"));
        assert_eq!(directory(&static_volume(Site::East), Site::East).unwrap(), Path::new("web-disk"));
        assert!(directory(&static_volume(Site::East), Site::West).is_err(), "a volume that still points home");
    }
}
