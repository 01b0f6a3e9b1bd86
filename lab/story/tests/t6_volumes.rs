//! Plain Velero with volumes that are unusual, huge, in the way, or cannot be at another site.

mod stage;

use anyhow::{Context, ensure};
use leeward_lab::Site::{East, West};
use leeward_lab_story::files;
use serde_json::{Value, json};
use stage::plain::{delete, nfs, on_ground};

/// A volume of csi-driver-nfs.
fn csi(server: &str, share: &str, subdir: &str) -> Value {
    let handle = format!("{server}#{}#{subdir}##", share.trim_matches('/'));
    let attributes = json!({"server": server, "share": share, "subdir": subdir});
    json!({"csi": {"driver": "nfs.csi.k8s.io", "volumeHandle": handle, "volumeAttributes": attributes}})
}

/// A path without slashes that mean nothing.
fn path(text: &Value) -> String {
    let folders = text.as_str().unwrap_or_default().split('/').filter(|folder| !folder.is_empty());
    folders.map(|folder| format!("/{folder}")).collect()
}

#[test]
fn a_volume_of_that_name_is_the_one_or_it_is_refused() {
    on_ground("t6-there", async |ground| {
        let east = async |claim: &str| ground.volume(East, claim, nfs("10.77.0.1", &format!("/export/{claim}"))).await;
        let west = async |volume: &str, claim: &str, source| ground.unclaimed(West, volume, claim, source).await;
        let (same, released) = (east("same").await?, east("released").await?);
        ground.back_up(East, "fine", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "fine").await?;
        // Another spelling of the same directory.
        west(&same, "same", nfs("10.77.0.2", "/vault//same/")).await?;
        ground.restore(West, "fine", "first", json!({})).await?.completed(&[])?;
        let stays = ground.bound(West, "same").await?;
        ensure!(stays["spec"]["volumeName"] == same.as_str(), "{stays}");
        let first = ground.bound(West, "released").await?;
        delete(&ground.own(West, "PersistentVolumeClaim").await?, "released").await?;
        ground.volume_is(West, &released, "Released").await?;
        ground.restore(West, "fine", "second", json!({})).await?.completed(&["was released; made it ready"])?;
        let second = ground.bound(West, "released").await?;
        ensure!(second["spec"]["volumeName"] == released.as_str(), "{second}");
        ensure!(second["metadata"]["uid"] != first["metadata"]["uid"], "it is the claim that was deleted");
        let volume = ground.volume_is(West, &released, "Bound").await?;
        ensure!(volume["spec"]["nfs"]["server"] == "10.77.0.2", "{volume}");

        let (elsewhere, taken) = (east("elsewhere").await?, east("taken").await?);
        ground.back_up(East, "wrong", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "wrong").await?;
        west(&elsewhere, "elsewhere", nfs("10.77.0.2", "/vault/another")).await?;
        west(&taken, "another", nfs("10.77.0.2", "/vault/taken")).await?;
        let ended = ground.restore(West, "wrong", "wrong", json!({})).await?;
        ended.refused(&[
            "LW-0620",
            &elsewhere,
            "nfs://10.77.0.2/vault/another",
            "nfs://10.77.0.2/vault/elsewhere",
            "delete",
        ])?;
        ended.refused(&["LW-0621", &taken, &format!("{}/another", ground.name), "delete"])?;
        for (claim, volume) in [("elsewhere", &elsewhere), ("taken", &taken)] {
            ended.refused(&["LW-0641", &format!("{}/{claim}", ground.name), volume])?;
        }
        let mut claims = ground.claims(West).await?;
        claims.sort();
        ensure!(claims == ["released", "same"], "{claims:?}");
        Ok(())
    });
}

#[test]
fn a_volume_that_cannot_be_elsewhere_is_refused_or_skipped() {
    on_ground("t6-local", async |ground| {
        let node = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]},
        ]}]}});
        let local = json!({"local": {"path": "/disk"}, "nodeAffinity": node});
        let (local, host) = (
            ground.volume(East, "local", local).await?,
            ground.volume(East, "host", json!({"hostPath": {"path": "/disk"}})).await?,
        );
        ground.volume(East, "web", nfs("10.77.0.1", "/export/web")).await?;
        ground.back_up(East, "b", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "b").await?;
        let ended = ground.restore(West, "b", "refused", json!({})).await?;
        for (volume, kind) in [(&local, "spec.local"), (&host, "spec.hostPath")] {
            ended.refused(&["LW-0136", volume, kind, "keeps its data on a node", "`skip`"])?;
        }
        let only_web = async || {
            let (claims, volumes) = (ground.claims(West).await?, ground.volumes(West).await?);
            ensure!(claims == ["web"] && volumes.len() == 1, "{claims:?}, {:?}", volumes.keys());
            ground.bound(West, "web").await.map(drop)
        };
        only_web().await?;
        let mapping = format!("{}skip:\n  - inTree: local\n  - inTree: hostPath\n", files::mapping());
        ground.configure(West, Some(json!({"site": "west", "mapping.yaml": mapping}))).await?;
        let ended = ground.restore(West, "b", "skipped", json!({})).await?;
        ended.completed(&[&format!("left out PersistentVolumeClaim {}/local", ground.name)])?;
        ended.completed(&[&format!("left out PersistentVolumeClaim {}/host", ground.name)])?;
        only_web().await
    });
}

/// Velero files a volume as `<name>.json`, and no file of its file system may have a longer name than 255 bytes.
const LONGEST: usize = 250;

#[test]
fn hostile_names_and_paths_land_right() {
    on_ground("t6-odd", async |ground| {
        let side = |server: &str, path: &str| format!("{{ nfs: {{ server: '{server}', path: {path} }} }}");
        let rule =
            |name: &str, east: String, west: String| format!("  - name: {name}\n    east: {east}\n    west: {west}\n");
        let mapping = format!(
            "{}{}{}",
            files::mapping(),
            rule("six", side("fd00:77::1", "/export"), side("fd00:77::2", "/six")),
            rule("ten", side("10.77.0.10", "/export"), side("10.77.0.20", "/ten")),
        );
        for site in [East, West] {
            ground.configure(site, Some(json!({"site": site.name(), "mapping.yaml": mapping}))).await?;
        }
        let long = format!("{}-{}", ground.name, "n".repeat(LONGEST - ground.name.len() - 1));
        let odd = [
            ("long", "10.77.0.1", "/export/long", "10.77.0.2", "/vault/long"),
            ("space", "10.77.0.1", "/export/with a  space /x", "10.77.0.2", "/vault/with a  space /x"),
            ("utf8", "10.77.0.1", "/export/größe-日本-🐘", "10.77.0.2", "/vault/größe-日本-🐘"),
            ("regex", "10.77.0.1", "/export/.*+?$1${x}[a](b)|^\\d", "10.77.0.2", "/vault/.*+?$1${x}[a](b)|^\\d"),
            ("slashes", "10.77.0.1", "//export///twice//x/", "10.77.0.2", "/vault/twice/x"),
            ("itself", "10.77.0.1", "/export/", "10.77.0.2", "/vault"),
            ("inside", "10.77.0.1", "/export/10.77.0.1/export", "10.77.0.2", "/vault/10.77.0.1/export"),
            ("six", "fd00:77:0::1", "/export/a", "fd00:77::2", "/six/a"),
            ("ten", "10.77.0.10", "/export/a", "10.77.0.20", "/ten/a"),
        ];
        for (claim, server, path, ..) in odd {
            let name = if claim == "long" { long.clone() } else { format!("{}-{claim}", ground.name) };
            ground.named_volume(East, &name, claim, nfs(server, path)).await?;
        }
        ground.volume(East, "csi", csi("10.77.0.1", "/export", "a b/größe.*")).await?;
        ground.back_up(East, "b", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "b").await?;
        ground.restore(West, "b", "b", json!({})).await?.completed(&[])?;
        let volumes = ground.volumes(West).await?;
        for (claim, _, _, server, wanted) in odd {
            let claim = ground.bound(West, claim).await?;
            let name = claim["spec"]["volumeName"].as_str().context("a volume")?;
            let landed = &volumes[name]["spec"]["nfs"];
            ensure!(landed["server"] == server && path(&landed["path"]) == wanted, "{name}: {landed}");
        }
        ground.bound(West, "csi").await?;
        let landed = &volumes[&format!("{}-csi", ground.name)]["spec"]["csi"];
        let attributes = json!({"server": "10.77.0.2", "share": "/vault", "subdir": "a b/größe.*"});
        ensure!(landed["volumeAttributes"] == attributes, "{landed}");
        ensure!(landed["volumeHandle"] == "10.77.0.2#vault#a b/größe.*##", "{landed}");

        let unstorable = "n".repeat(LONGEST + 1);
        ground.named_volume(East, &unstorable, "unstorable", nfs("10.77.0.1", "/export/b")).await?;
        ground.back_up(East, "unstorable", json!({})).await?.refused(&["LW-0636", &unstorable, "251 bytes"])?;
        ground.hand_over(East, "unstorable").await?;
        // What it has is restorable, and here already. The claim is not in it: Velero takes a claim with its volume or not.
        ground.restore(West, "unstorable", "unstorable", json!({})).await?.completed(&[])?;
        ensure!(!ground.claims(West).await?.contains(&"unstorable".to_owned()), "a claim without its volume");
        ground.remove(East, &unstorable, "unstorable").await?;

        for (claim, source) in [
            ("up", nfs("10.77.0.1", "/export/../etc")),
            ("up-csi", csi("10.77.0.1", "/export", "../etc")),
            ("near", nfs("10.77.0.100", "/export/a")),
            ("exports", nfs("10.77.0.1", "/exports/a")),
        ] {
            ground.volume(East, claim, source).await?;
        }
        ground.back_up(East, "bad", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "bad").await?;
        let ended = ground.restore(West, "bad", "bad", json!({})).await?;
        for (claim, saying) in [("up", "it must not contain '..'"), ("up-csi", "it must not contain '..'")] {
            ended.refused(&["LW-0112", &format!("{}-{claim}", ground.name), saying])?;
        }
        for claim in ["near", "exports"] {
            ended.refused(&["LW-0130", &format!("{}-{claim}", ground.name)])?;
        }
        let now = ground.volumes(West).await?;
        ensure!(now.keys().eq(volumes.keys()), "{:?}", now.keys());
        Ok(())
    });
}

#[test]
fn huge_objects_and_tables_pass() {
    on_ground("t6-huge", async |ground| {
        let row = |site: char, row: usize| format!("3600{site}{row:028x}");
        let mapping = "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - name: luns\n    \
                       east: { inTree: fc }\n    west: { inTree: fc }\n    \
                       table: { parts: [wwid], from: [t6-luns-0/rows.csv, t6-luns-1/rows.csv] }\n";
        ground.configure(West, Some(json!({"site": "west", "mapping.yaml": mapping}))).await?;
        for half in [0, 1] {
            let rows = (half * 5_000..(half + 1) * 5_000).map(|n| format!("{},{}\n", row('a', n), row('b', n)));
            let rows = format!("east,west\n{}", rows.collect::<String>());
            ground.table(West, &format!("t6-luns-{half}"), json!({"rows.csv": rows})).await?;
        }
        let volumes = [0, 4_999, 5_000, 9_999];
        for n in volumes {
            ground.volume(East, &format!("lun-{n}"), json!({"fc": {"wwids": [row('a', n)]}})).await?;
        }
        // Kubernetes allows 256 KiB of annotations; Leeward's own need room, too.
        let annotations = json!({"metadata": {"annotations": {"example.io/huge": "a".repeat(260_000)}}});
        ground.patch(East, "PersistentVolume", &format!("{}-lun-0", ground.name), annotations.clone()).await?;
        ground.patch(East, "PersistentVolumeClaim", "lun-0", annotations).await?;
        // And 1 MiB in a ConfigMap.
        let text = "x".repeat((1 << 20) - 64);
        let huge =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "huge"}, "data": {"text": text}});
        let maps = ground.own(East, "ConfigMap").await?;
        maps.create(&Default::default(), &serde_json::from_value(huge)?).await?;
        ground.back_up(East, "b", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "b").await?;
        ground.restore(West, "b", "b", json!({})).await?.completed(&[])?;
        let landed = ground.volumes(West).await?;
        for n in volumes {
            ground.bound(West, &format!("lun-{n}")).await?;
            let volume = &landed[&format!("{}-lun-{n}", ground.name)];
            ensure!(volume["spec"]["fc"]["wwids"] == json!([row('b', n)]), "{}", volume["spec"]);
        }
        let annotation = |object: &Value| object["metadata"]["annotations"]["example.io/huge"].as_str().map(str::len);
        let claim = ground.bound(West, "lun-0").await?;
        let volume = &landed[&format!("{}-lun-0", ground.name)];
        ensure!(annotation(&claim) == Some(260_000) && annotation(volume) == Some(260_000), "annotations were cut");
        let huge = ground.own(West, "ConfigMap").await?.get("huge").await?;
        ensure!(huge.data["data"]["text"] == text.as_str(), "the ConfigMap was cut");

        let missing = ground.volume(East, "lun-x", json!({"fc": {"wwids": [row('a', 10_000)]}})).await?;
        ground.back_up(East, "missing", json!({})).await?.completed(&[])?;
        ground.hand_over(East, "missing").await?;
        ground.restore(West, "missing", "missing", json!({})).await?.refused(&["LW-0130", &missing, &row('a', 10_000)])
    });
}

#[test]
fn on_the_way_home_a_promoted_claim_lets_go_of_the_disk() {
    on_ground("t6-home", async |ground| {
        ground.claim(East, "db", json!({})).await?;
        let own = ground.bound(East, "db").await?["spec"]["volumeName"].as_str().context("a volume")?.to_owned();
        let promoted = json!({"leeward.io/promote": "take-now", "leeward.io/recover-from": "promoted"});
        ground.back_up(East, "there", json!({"metadata": {"annotations": promoted}})).await?.completed(&[])?;
        ground.hand_over(East, "there").await?;
        let claims = ground.claims(East).await?;
        let claim = claims.iter().find(|claim| *claim != "db").context("a promoted claim")?;
        let volume = ground.bound(East, claim).await?["spec"]["volumeName"].as_str().context("a volume")?.to_owned();
        let subdir = |volume: &Value| volume["spec"]["csi"]["volumeAttributes"]["subdir"].clone();
        let at_east = ground.volumes(East).await?;
        let (disk, policy) = (subdir(&at_east[&volume]), &at_east[&volume]["spec"]["persistentVolumeReclaimPolicy"]);
        ensure!(disk != subdir(&at_east[&own]) && policy == "Delete", "{}", at_east[&volume]);
        let data = ground.stage.lab.export(East).join(disk.as_str().context("a folder")?).join("data");
        fs_err::write(&data, "the machine's")?;

        ground.restore(West, "there", "there", json!({})).await?.completed(&[])?;
        ground.bound(West, "db").await?;
        let at_west = ground.volumes(West).await?;
        ensure!(at_west.len() == 1 && subdir(&at_west[&own]) == disk, "west has {at_west:?}");
        ground.back_up(West, "home", json!({})).await?.completed(&[])?;
        ground.hand_over(West, "home").await?;

        ground.remove(East, &own, "db").await?;
        let ended = ground.restore(East, "home", "home", json!({})).await?;
        ended.completed(&[])?;
        let home = ground.bound(East, "db").await?;
        ensure!(home["spec"]["volumeName"] == own.as_str(), "{home}");
        ensure!(subdir(&ground.volumes(East).await?[&own]) == disk, "home on another disk");
        delete(&ground.own(East, "PersistentVolumeClaim").await?, claim).await?;
        // With `Delete` its provisioner would delete it now, volume and disk.
        ground.volume_is(East, &volume, "Released").await?;
        let left = ground.volumes(East).await?;
        let policy = left.get(&volume).map(|volume| &volume["spec"]["persistentVolumeReclaimPolicy"]);
        ensure!(policy == Some(&json!("Retain")), "the promoted claim's volume has {policy:?}");
        ensure!(fs_err::read_to_string(&data)? == "the machine's", "the disk is gone");
        ended.completed(&[&format!("PersistentVolume {volume} names the same storage as {own}; set it to Retain")])
    });
}
