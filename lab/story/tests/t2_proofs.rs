//! Proofs that can fail: without the rewriting the guest does not come up; a damaged byte is found; killed at any step, a
//! run goes on and ends the same.

mod stage;

use anyhow::{Context, Result, bail};
use leeward_lab::{PluginSet, Site, velero::NAMESPACE as VELERO};
use leeward_lab_story::{
    files,
    guests::{self, GUESTS},
    leeward::Leeward,
    parts::{self, Stage},
};
use serde_json::{Value, json};
use stage::{at_home, killed_behind, on_the_lab, refused, with_fault};
use std::os::unix::fs::FileExt;

/// Deletes the group's objects at its standby, data left alone, so that the next restore has to make them anew.
async fn clear_standby(stage: &Stage<'_>, site: Site) -> Result<()> {
    let cluster = stage.lab.cluster(site).await?;
    let options = Default::default();
    for (vm, disks) in GUESTS {
        let _ = cluster.api("kubevirt.io/v1", "VirtualMachine", Some(guests::NAMESPACE)).delete(vm, &options).await;
        for disk in disks {
            let claims = cluster.api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE));
            let Some(claim) = claims.get_opt(disk).await? else { continue };
            let volume =
                serde_json::to_value(claim)?.pointer("/spec/volumeName").and_then(Value::as_str).map(str::to_owned);
            claims.delete(disk, &options).await?;
            if let Some(volume) = volume {
                let _ = cluster.api("v1", "PersistentVolume", None).delete(&volume, &options).await;
            }
        }
    }
    Ok(())
}

#[test]
fn without_the_rewriting_the_guest_does_not_come_up() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        clear_standby(stage, Site::West).await?;
        let without = stage.lab.restart_velero(Site::West, PluginSet::Plain);
        let test = async {
            // Velero alone restores the volumes as they were: pointing home. Leeward sees that before it stages anything more.
            refused(stage, &["cycle", "shop"], 1, &["is not halted"]).await?;
            let west = stage.lab.cluster(Site::West).await?;
            let claim = west.api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE)).get("db-data").await?;
            let volume = serde_json::to_value(claim)?
                .pointer("/spec/volumeName")
                .and_then(Value::as_str)
                .context("bound")?
                .to_owned();
            let volume = serde_json::to_value(west.api("v1", "PersistentVolume", None).get(&volume).await?)?;
            let server =
                volume.pointer("/spec/csi/volumeAttributes/server").and_then(Value::as_str).unwrap_or_default();
            stage.tale.check(
                "without the plug-in the volume points home",
                server == Site::East.address().to_string(),
                server,
            );
            // The home of the data is gone: a guest that is started on such a volume has nothing to boot from.
            let boots = guests::count(stage.lab, Site::West, "db")?;
            stage.lab.kill_site(Site::East).await?;
            let started = start_and_watch(stage, "db", boots).await;
            stage.lab.heal_site(Site::East).await?;
            stage.tale.check("the guest does not come up", !started?, "no boot on its console at west within 20 s");
            Ok(())
        };
        let undo = async {
            stage.lab.restart_velero(Site::West, PluginSet::Leeward).await?;
            clear_standby(stage, Site::West).await?;
            stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
            Ok(())
        };
        with_fault(without, test, undo).await
    });
}

#[test]
fn tables_beside_the_mapping_reach_the_plug_ins_of_both_sites() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let folder = stage.lab.root().path();
        let (tables, config) = (folder.join("tables"), folder.join("tables.yaml"));
        fs_err::create_dir_all(tables.join("luns-1"))?;
        let table = |name: &str| format!("east,west\n3600e{name},3600f{name}\n");
        fs_err::write(tables.join("own.csv"), table("a"))?;
        fs_err::write(tables.join("luns-1/rows.csv"), table("b"))?;
        let rule = "  - name: san\n    east: { inTree: fc }\n    west: { inTree: fc }\n    \
                    table: { parts: [wwid], from: [own.csv, luns-1/rows.csv] }\n";
        fs_err::write(tables.join("mapping.yaml"), format!("{}{rule}", files::mapping()))?;
        let text = fs_err::read_to_string(&stage.leeward.config)?;
        fs_err::write(&config, text.replace("mapping: mapping.yaml", "mapping: tables/mapping.yaml"))?;
        let with_tables = Leeward { program: stage.leeward.program.clone(), config: config.clone() };
        // The plug-in has to make the volumes anew, and refuses a mapping whose tables it does not find.
        clear_standby(stage, Site::West).await?;
        with_tables.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
        for site in Site::ALL {
            let maps = stage.lab.cluster(site).await?.api("v1", "ConfigMap", Some(VELERO));
            let text =
                async |map: &str, key: &str| Ok::<_, anyhow::Error>(maps.get(map).await?.data["data"][key].clone());
            let found = (text("leeward-site", "own.csv").await?, text("luns-1", "rows.csv").await?);
            let wanted = (Value::from(table("a")), Value::from(table("b")));
            stage.tale.check(format!("{site} has both tables"), found == wanted, format!("{found:?}"));
            maps.delete("luns-1", &Default::default()).await?;
        }
        stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
        fs_err::remove_dir_all(tables)?;
        fs_err::remove_file(config).map_err(Into::into)
    });
}

/// Starts a VM by hand at west; whether its guest wrote anything within 20 s. Stops it again.
async fn start_and_watch(stage: &Stage<'_>, vm: &str, boots: usize) -> Result<bool> {
    let west = stage.lab.cluster(Site::West).await?;
    let vms = west.api("kubevirt.io/v1", "VirtualMachine", Some(guests::NAMESPACE));
    let strategy = |strategy: &str| kube::api::Patch::Merge(json!({"spec": {"runStrategy": strategy}}));
    vms.patch(vm, &Default::default(), &strategy("Always")).await?;
    let mut came_up = false;
    for _ in 0..40 {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        if guests::count(stage.lab, Site::West, vm)? > boots
            && !guests::newest(stage.lab, Site::West, vm)?.records.is_empty()
        {
            came_up = true;
            break;
        }
    }
    vms.patch(vm, &Default::default(), &strategy("Halted")).await?;
    Ok(came_up)
}

#[test]
fn a_damaged_byte_of_a_replica_is_found() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let cycle = stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
        let point = cycle.data.get("point").and_then(Value::as_str).context("a point")?.to_owned();
        let pv = cycle.data.pointer("/volumes/0/pv").and_then(Value::as_str).context("a volume")?.to_owned();
        let image = stage.lab.export(Site::West).join(format!(".leeward/points/shop/{point}/{pv}/disk.img"));
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&image)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4096 + 100)?;
        let flip = |to: u8| file.write_all_at(&[to], 4096 + 100).map_err(anyhow::Error::from);
        let boots = guests::count(stage.lab, Site::West, "db")?;
        let test = async {
            stage.lab.kill_site(Site::East).await?;
            let said = refused(
                stage,
                &["failover", "shop", "--yes", "--reason", "test"],
                1,
                &["disk.img", pv.as_str(), "LW-03"],
            )
            .await;
            let silent = guests::count(stage.lab, Site::West, "db")? == boots;
            stage.tale.check("no guest was started on the damaged disk", silent, "no boot on its console");
            said.map(drop)
        };
        // With the byte as it was, the very same command finishes what it began.
        let undo = async {
            flip(byte[0])?;
            stage
                .leeward
                .done(&["failover", "shop", "--yes", "--reason", "test"], &|line| eprintln!("   {line}"))
                .await?;
            parts::homecoming(stage).await
        };
        with_fault(async { flip(byte[0] ^ 1) }, test, undo).await
    });
}

#[test]
fn killed_after_each_step_a_move_goes_on_and_ends_the_same() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        stage.leeward.done(&["cycle", "shop"], &|_| {}).await?;
        let plan = stage.leeward.done(&["plan", "migrate", "shop"], &|_| {}).await?;
        let steps = plan.data.get("steps").and_then(Value::as_array).context("steps")?.clone();
        let steps: Vec<&str> = steps.iter().filter_map(Value::as_str).collect();
        // Killed after every second step on the way there, and after the others on the way back.
        for (first, target) in [Site::West, Site::East].into_iter().enumerate() {
            let boots: Vec<usize> =
                GUESTS.iter().map(|(vm, _)| guests::count(stage.lab, target, vm)).collect::<Result<_>>()?;
            let args = ["migrate", "shop", "--yes", "--to", target.name()];
            let mut ended = false;
            for step in steps.iter().skip(first).step_by(2) {
                ended = killed_after(stage, &args, step).await?;
            }
            if !ended {
                let resumed = stage.leeward.call(&args, &|_| {}).await?;
                // Killed after the last entry there is nothing to go on with, and the group is where it should be.
                let over = resumed.code == Some(3) && resumed.talk.contains("LW-0161");
                if resumed.code != Some(0) && !over {
                    bail!("killed again and again: {:?}\n{}", resumed.code, resumed.talk);
                }
            }
            guests::wait_for_records(stage.lab, target, 1, parts::WRITES).await?;
            nothing_lost(stage, target, &boots)?;
        }
        at_home(stage).await
    });
}

/// Kills a run, begun or gone on with, as soon as a step of it is done. Whether it was over by then: the last step's end and the
/// run's lie so close together.
async fn killed_after(stage: &Stage<'_>, args: &[&str], step: &str) -> Result<bool> {
    let done = format!("{step}: done");
    let killed = stage.leeward.call_until(args, &|_| {}, |line| line.contains(&done)).await?;
    if killed.code.is_some() && (killed.code != Some(0) || step != "reprotect") {
        bail!("it was not killed after {step}: {:?}\n{}", killed.code, killed.talk);
    }
    stage.tale.say(&format!("   killed after {step}"));
    Ok(killed.code.is_some())
}

/// Each guest found at the target exactly what it had acknowledged at the source, and booted there once.
fn nothing_lost(stage: &Stage<'_>, target: Site, boots: &[usize]) -> Result<()> {
    for ((vm, disks), before) in GUESTS.iter().zip(boots) {
        let (source, here) = (guests::newest(stage.lab, target.other(), vm)?, guests::newest(stage.lab, target, vm)?);
        let once = guests::count(stage.lab, target, vm)? == before + 1;
        stage.tale.check(
            format!("killed after many a step: {vm} booted once"),
            once && here.is_whole(disks),
            format!("{:?}", here.chains),
        );
        stage::nothing_lost(stage, "killed after many a step: ", disks, &source, &here);
    }
    Ok(())
}

#[test]
fn a_move_is_taken_back_until_something_was_started() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let boots: Vec<usize> =
            GUESTS.iter().map(|(vm, _)| guests::count(stage.lab, Site::East, vm)).collect::<Result<_>>()?;
        killed_behind(stage, &["migrate", "shop", "--yes"], "present").await?;
        let before: Vec<_> =
            GUESTS.iter().map(|(vm, _)| guests::newest(stage.lab, Site::East, vm)).collect::<Result<_>>()?;
        refused(stage, &["failback", "shop", "--yes"], 3, &["LW-0443", "rollback"]).await?;
        stage.leeward.done(&["rollback", "shop", "--yes"], &|line| eprintln!("   {line}")).await?;
        guests::wait_for_records(stage.lab, Site::East, 1, parts::WRITES).await?;
        for (((vm, disks), before), boots) in GUESTS.iter().zip(before).zip(boots) {
            let now = guests::newest(stage.lab, Site::East, vm)?;
            stage.tale.check(
                format!("{vm} boots once more at east"),
                guests::count(stage.lab, Site::East, vm)? == boots + 1,
                "",
            );
            stage::nothing_lost(stage, "", disks, &before, &now);
        }
        refused(stage, &["rollback", "shop", "--yes"], 3, &["LW-0444"]).await.map(drop)
    });
}

#[test]
fn a_source_lost_in_the_middle_of_a_run_is_failed_over() {
    on_the_lab(async |stage| {
        // The move comes first: it is what brings web's disk, which no cycle can copy while web runs, to west.
        for (args, step, lossless) in
            [(&["migrate", "shop", "--yes"][..], "finalSync", true), (&["cycle", "shop"][..], "takeSnapshots", false)]
        {
            at_home(stage).await?;
            stage.leeward.done(&["cycle", "shop"], &|_| {}).await?;
            killed_behind(stage, args, step).await?;
            let before: Vec<_> =
                GUESTS.iter().map(|(vm, _)| guests::newest(stage.lab, Site::East, vm)).collect::<Result<_>>()?;
            stage.lab.kill_site(Site::East).await?;
            let failover = ["failover", "shop", "--yes", "--to", "west", "--reason", "test"];
            stage.leeward.done(&failover, &|line| eprintln!("   {line}")).await?;
            guests::wait_for_records(stage.lab, Site::West, 1, parts::WRITES).await?;
            for ((vm, disks), before) in GUESTS.iter().zip(before) {
                let now = guests::newest(stage.lab, Site::West, vm)?;
                for disk in *disks {
                    let (last, found) = (before.last(disk, None), now.found(disk));
                    let same = last.map(|r| r.number) == found.map(|r| r.number);
                    let holds = found.is_some() && (same || !lossless);
                    stage.tale.check(
                        format!("{args:?} killed behind {step}: {disk} goes on"),
                        holds,
                        format!("{last:?} → {found:?}"),
                    );
                }
            }
            if lossless {
                stage.lab.heal_site(Site::East).await?;
                at_home(stage).await?;
            } else {
                parts::homecoming(stage).await?;
            }
        }
        Ok(())
    });
}
