//! What is missing at the other site: found by `leeward check backup` before a restore, and by the plug-in in a plain one.

mod stage;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use leeward_lab::{CLASS, Cluster, DRIVER, PluginSet, Site, velero::NAMESPACE as VELERO};
use leeward_lab_story::{files, guests::NAMESPACE, parts::Stage, stopwatch, velero::Velero};
use serde_json::{Value, json};
use stage::{at_home, on_the_lab, with_fault};
use std::time::{Duration, Instant};

/// The namespace of the machines that miss something, and where their network is.
const SPACES: [&str; 2] = ["checked", "nets"];
/// What the other site makes for itself, as in the learning path.
const EXCLUDED: &str = "pods,events,events.events.k8s.io,poddisruptionbudgets.policy,virtualmachineinstances.kubevirt.io,\
                        volumesnapshots.snapshot.storage.k8s.io";
/// As somebody would who does not know what a machine's revisions are for.
const REVISIONS: &str = "controllerrevisions.apps";
/// Velero looks for new backups once a minute; the machine may be busy.
const SYNCED: Duration = Duration::from_secs(180);
/// An API server publishes a new kind within seconds.
const SERVED: Duration = Duration::from_secs(60);

#[test]
fn what_the_other_site_lacks() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        configure(stage, &files::mapping()).await?;
        provisioned(stage, "db-data").await?;
        back_up(stage, Site::East, "shop-checked", NAMESPACE, EXCLUDED).await?;
        the_shop(stage, "shop-checked").await?;
        let tested = machines(stage).await;
        clear(stage).await?;
        tested
    });
}

/// A claim says that its class has made its volume. One that has moved, as a test before this one may have had it do, does not.
async fn provisioned(stage: &Stage<'_>, claim: &str) -> Result<()> {
    let claims = stage.lab.cluster(Site::East).await?.api("v1", "PersistentVolumeClaim", Some(NAMESPACE));
    let by = json!({"metadata": {"annotations": {"volume.kubernetes.io/storage-provisioner": DRIVER}}});
    claims.patch(claim, &PatchParams::default(), &Patch::Merge(by)).await.map(drop).map_err(Into::into)
}

/// The shop misses nothing, and its claims their class once that is gone.
async fn the_shop(stage: &Stage<'_>, backup: &str) -> Result<()> {
    let found = check(stage, &[backup], 0).await?;
    stage.tale.check(
        "nothing that the shop needs is missing in the west",
        errors(&found).is_empty(),
        found.to_string(),
    );
    let west = stage.lab.cluster(Site::West).await?;
    let classes = west.api("storage.k8s.io/v1", "StorageClass", None);
    let mut class = serde_json::to_value(classes.get(CLASS).await?)?;
    let named = json!({"name": CLASS, "annotations": class["metadata"]["annotations"]});
    class["metadata"] = named;
    with_fault(
        async { Ok(classes.delete(CLASS, &DeleteParams::default()).await.map(drop)?) },
        async {
            let found = check(stage, &[backup], 3).await?;
            let claims: Vec<&str> =
                errors(&found).iter().filter(|f| f["code"] == "LW-0184").filter_map(|f| f["object"].as_str()).collect();
            stage.tale.check(
                "a class that is gone is found, with its claims",
                claims.contains(&"PersistentVolumeClaim shop/db-data"),
                format!("{claims:?}"),
            );
            Ok(())
        },
        west.apply(&class),
    )
    .await
}

/// Machines with a network and an instance type that the west lacks.
async fn machines(stage: &Stage<'_>) -> Result<()> {
    let (east, west) = (stage.lab.cluster(Site::East).await?, stage.lab.cluster(Site::West).await?);
    for cluster in [&east, &west] {
        for space in SPACES {
            cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await?;
        }
        cluster.apply(&definition()).await?;
        let definitions = cluster.api("apiextensions.k8s.io/v1", "CustomResourceDefinition", None);
        let established = |crd: &Value| leeward_lab::condition(crd, "Established");
        let name = "network-attachment-definitions.k8s.cni.cncf.io";
        cluster.wait(&definitions, name, SERVED, "kube-apiserver", established).await?;
    }
    // Velero asks for new kinds only once in five minutes, and cannot take along what it does not know.
    for site in Site::ALL {
        stage.lab.restart_velero(site, PluginSet::Leeward).await?;
    }
    make_network(&east, "vlan7").await?;
    east.apply(&instance_type()).await?;
    east.apply(&machine("networked", json!({}), Some("nets/vlan7"))).await?;
    east.apply(&machine("typed", json!({"instancetype": {"name": "large"}}), None)).await?;

    back_up(stage, Site::East, "lacking", SPACES[0], REVISIONS).await?;
    let found = check(stage, &["lacking"], 3).await?;
    for (vm, code, name) in [("networked", "LW-0182", "nets/vlan7"), ("typed", "LW-0183", "large")] {
        let is = |f: &&Value| f["object"] == format!("VirtualMachine checked/{vm}") && f["code"] == code;
        let finding = errors(&found).into_iter().find(is);
        let what = finding.and_then(|f| f["what"].as_str()).unwrap_or_default();
        stage.tale.check(
            format!("check backup names what {vm} lacks in the west"),
            what.contains(name),
            found.to_string(),
        );
    }
    let (phase, logs) = restore(stage, Site::West, "lacking", "lacking").await?;
    for (vm, code) in [("networked", "LW-0650"), ("typed", "LW-0651")] {
        let said = logs.lines().any(|line| line.contains(&format!("checked/{vm}")) && line.contains(code));
        let landed = machines_at(stage, Site::West).await?.get_opt(vm).await?.is_some();
        stage.tale.check(
            format!("a plain restore refuses {vm}, and says why"),
            said && !landed && phase == "PartiallyFailed",
            format!("{phase}, landed: {landed}"),
        );
    }
    mapped(stage).await
}

/// With the network mapped, and the other site's made, the machine lands with that one; and comes home with its own.
async fn mapped(stage: &Stage<'_>) -> Result<()> {
    make_network(&stage.lab.cluster(Site::West).await?, "vlan70").await?;
    let file = stage.leeward.config.parent().context("a folder")?.join("mapping.yaml");
    let plain = fs_err::read_to_string(&file)?;
    let mapping = format!("{plain}networks:\n- {{ east: nets/vlan7, west: nets/vlan70 }}\n");
    fs_err::write(&file, &mapping)?;
    let tested = there_and_back(stage, &mapping).await;
    fs_err::write(&file, &plain)?;
    configure(stage, &plain).await?;
    tested
}

/// Writes the plug-ins' ConfigMap at both sites.
async fn configure(stage: &Stage<'_>, mapping: &str) -> Result<()> {
    for site in Site::ALL {
        let config = files::plugin_config(site, VELERO, mapping);
        stage.lab.cluster(site).await?.apply(&config).await?;
    }
    Ok(())
}

async fn there_and_back(stage: &Stage<'_>, mapping: &str) -> Result<()> {
    configure(stage, mapping).await?;
    let found = check(stage, &["lacking"], 3).await?;
    let still = errors(&found).iter().any(|f| f["code"] == "LW-0182");
    stage.tale.check("a network that is mapped is not missing", !still, found.to_string());
    restore(stage, Site::West, "lacking", "mapped").await?;
    network_is(stage, Site::West, "nets/vlan70").await?;
    back_up(stage, Site::West, "homeward", SPACES[0], REVISIONS).await?;
    let east = machines_at(stage, Site::East).await?;
    east.delete("networked", &DeleteParams::default()).await?;
    let began = Instant::now();
    while east.get_opt("networked").await?.is_some() {
        ensure!(began.elapsed() < SERVED, "the machine at {} does not go away", Site::East);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    restore(stage, Site::East, "homeward", "homeward").await?;
    network_is(stage, Site::East, "nets/vlan7").await
}

async fn network_is(stage: &Stage<'_>, site: Site, expected: &str) -> Result<()> {
    let vm = machines_at(stage, site).await?.get_opt("networked").await?;
    let vm = serde_json::to_value(vm)?;
    let name = vm.pointer("/spec/template/spec/networks/0/multus/networkName").and_then(Value::as_str);
    stage.tale.check(
        format!("at {site} the machine's network is {expected}"),
        name == Some(expected),
        format!("{name:?}"),
    );
    Ok(())
}

async fn machines_at(stage: &Stage<'_>, site: Site) -> Result<Api<DynamicObject>> {
    Ok(stage.lab.cluster(site).await?.api("kubevirt.io/v1", "VirtualMachine", Some(SPACES[0])))
}

/// What `leeward check backup` prints.
async fn check(stage: &Stage<'_>, args: &[&str], code: i32) -> Result<Value> {
    let called = stage.leeward.call(&[&["check", "backup"], args].concat(), &|line| eprintln!("   {line}")).await?;
    ensure!(
        called.code == Some(code),
        "`leeward check backup` ended with {:?}, not {code}: {}",
        called.code,
        called.data
    );
    Ok(called.data)
}

fn errors(found: &Value) -> Vec<&Value> {
    let findings = found["findings"].as_array().into_iter().flatten();
    findings.filter(|finding| finding["severity"] == "error").collect()
}

async fn back_up(stage: &Stage<'_>, site: Site, name: &str, space: &str, excluded: &str) -> Result<()> {
    let phase = Velero::at(stage.lab, site).back_up(name, space, "", &["--exclude-resources", excluded]).await?;
    ensure!(phase == "Completed", "Backup {name} is {phase}");
    Ok(())
}

/// Restores; the phase and what was logged.
async fn restore(stage: &Stage<'_>, site: Site, backup: &str, name: &str) -> Result<(String, String)> {
    let velero = Velero::at(stage.lab, site);
    stopwatch::synced(&stage.lab.cluster(site).await?, backup, SYNCED).await?;
    velero.call(&["restore", "create", name, "--from-backup", backup, "--wait"]).await?;
    Ok((velero.phase("Restore", name).await?, velero.call(&["restore", "logs", name]).await?))
}

/// Takes everything away again that is not the shop's.
async fn clear(stage: &Stage<'_>) -> Result<()> {
    for site in Site::ALL {
        let cluster = stage.lab.cluster(site).await?;
        for space in SPACES {
            let _ = cluster.api("v1", "Namespace", None).delete(space, &DeleteParams::default()).await;
        }
        let types = cluster.api("instancetype.kubevirt.io/v1beta1", "VirtualMachineClusterInstancetype", None);
        let _ = types.delete("large", &DeleteParams::default()).await;
    }
    Ok(())
}

/// The least that is a NetworkAttachmentDefinition.
fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {
            "group": "k8s.cni.cncf.io", "scope": "Namespaced",
            "names": {
                "plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition"
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}
            }]
        }
    })
}

async fn make_network(cluster: &Cluster, name: &str) -> Result<()> {
    let network = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": SPACES[1], "name": name}, "spec": {"config": "{}"}
    });
    // Its plural is none that could be guessed.
    let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions");
    let networks: Api<DynamicObject> = Api::namespaced_with(cluster.client(), SPACES[1], &resource);
    let apply = PatchParams::apply("leeward-lab").force();
    networks.patch(name, &apply, &Patch::Apply(&network)).await.with_context(|| format!("making network {name}"))?;
    Ok(())
}

fn instance_type() -> Value {
    json!({
        "apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterInstancetype",
        "metadata": {"name": "large"}, "spec": {"cpu": {"guest": 2}, "memory": {"guest": "128Mi"}}
    })
}

/// A machine that is off. virt-controller takes networks away that no interface is for.
fn machine(name: &str, more: Value, network: Option<&str>) -> Value {
    let interfaces: Vec<_> = network.iter().map(|_| json!({"name": "lan", "bridge": {}})).collect();
    let networks: Vec<_> = network.iter().map(|name| json!({"name": "lan", "multus": {"networkName": name}})).collect();
    let spec = json!({"domain": {"devices": {"interfaces": interfaces}}, "networks": networks});
    let mut machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"namespace": SPACES[0], "name": name},
        "spec": {"runStrategy": "Halted", "template": {"spec": spec}}
    });
    if let (Some(spec), Value::Object(more)) = (machine["spec"].as_object_mut(), more) {
        spec.extend(more);
    }
    machine
}
