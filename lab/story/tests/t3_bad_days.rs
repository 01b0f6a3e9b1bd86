//! Bad input and bad days: a clear error or a wait that says for what; nothing lost; a repeat finishes the job.

mod stage;

use anyhow::{Context, Result, bail};
use leeward_lab::{Place, Site};
use leeward_lab_story::{
    guests,
    parts::{self, Stage},
};
use serde_json::{Value, json};
use stage::{at_home, on_the_lab, refused, with_fault};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// A copy of the configuration with one thing changed; `leeward` is called with it.
async fn with_config(stage: &Stage<'_>, from: &str, to: &str, args: &[&str], code: i32, saying: &[&str]) -> Result<()> {
    edited(stage, "leeward.yaml", from, to, args, code, saying).await
}

async fn edited(
    stage: &Stage<'_>,
    file: &str,
    from: &str,
    to: &str,
    args: &[&str],
    code: i32,
    saying: &[&str],
) -> Result<()> {
    let folder = stage.lab.root().path().join("edited");
    fs_err::create_dir_all(&folder)?;
    for name in ["leeward.yaml", "mapping.yaml", "credentials"] {
        let mut text = fs_err::read_to_string(stage.lab.root().path().join(name))?;
        if name == file {
            if !text.contains(from) {
                bail!("{name} has no {from:?}");
            }
            text = text.replacen(from, to, 1);
        }
        fs_err::write(folder.join(name), text)?;
    }
    let mut leeward = stage.leeward.clone();
    leeward.config = folder.join("leeward.yaml");
    let stage = Stage { leeward: &leeward, ..*stage };
    let refused = refused(&stage, args, code, saying).await.map(drop);
    fs_err::remove_dir_all(&folder)?;
    refused
}

#[test]
fn wrong_configurations_are_refused_by_line_and_field() {
    on_the_lab(async |stage| {
        let cycle = &["cycle", "shop"][..];
        let config = |from, to, saying| with_config(stage, from, to, cycle, 2, saying);
        config("home: east", "hoem: east", &["line", "hoem", "LW-0502"]).await?;
        config("home: east", "home: esat", &["line", "groups.shop.home", "esat", "LW-0503"]).await?;
        config("/west/kubeconfig", "/west/nowhere", &["line", "sites.west.kubeconfig", "LW-0504"]).await?;
        let mapping = |from, to, code, saying| edited(stage, "mapping.yaml", from, to, cycle, code, saying);
        mapping("rules:", "ruels:", 2, &["line", "ruels", "LW-0121"]).await?;
        mapping("path: /export", "path: /elsewhere", 3, &["db-data", "10.77.0.1", "rule"]).await?;
        let two = "  - name: other\n    east: { nfs: { server: 10.77.0.1, path: /export } }\n    west: { nfs: { server: 10.77.0.2, path: /else } }\nrules_end:";
        let two = two.replace("rules_end:", "");
        mapping("rules:\n", &format!("rules:\n{two}"), 2, &["line", "rules["]).await?;
        refused(stage, &["cycle", "nothing"], 2, &["there is no group nothing", "shop"]).await?;
        refused(stage, &["migrate", "shop", "--yes", "--to", "north"], 3, &["north", "LW-0160"]).await.map(drop)
    });
}

#[test]
fn a_claim_that_does_not_exist_is_named() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let vms = stage.lab.cluster(Site::East).await?.api("kubevirt.io/v1", "VirtualMachine", Some(guests::NAMESPACE));
        let ghost: Value = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "ghost", "namespace": guests::NAMESPACE},
            "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {"disks": [{"name": "d", "disk": {}}]}},
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "ghost-disk"}}]}}}
        });
        let fault = async {
            vms.create(&Default::default(), &serde_json::from_value(ghost)?).await?;
            Ok(())
        };
        let test =
            async { refused(stage, &["cycle", "shop"], 3, &["shop/ghost", "ghost-disk", "LW-0170"]).await.map(drop) };
        let undo = async {
            vms.delete("ghost", &Default::default()).await?;
            Ok(())
        };
        with_fault(fault, test, undo).await
    });
}

#[test]
fn a_second_run_while_one_is_going_is_refused() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let first = stage.leeward.call(&["cycle", "shop"], &|_| {});
        let second = async {
            // The first one holds the lock from its first moment on; wait until it has begun to work.
            loop {
                let status = stage.leeward.done(&["status", "shop"], &|_| {}).await?;
                if status.data.pointer("/groups/0/unfinished").is_some_and(Value::is_string) {
                    return stage.leeward.call(&["migrate", "shop", "--yes"], &|_| {}).await;
                }
            }
        };
        let (first, second) = tokio::join!(first, tokio::time::timeout(Duration::from_secs(60), second));
        let (first, second) = (first?, second.context("the first one never began")??);
        stage.tale.check("the first goes on", first.code == Some(0), first.talk);
        let refused = second.code == Some(3) && second.talk.contains("LW-0440");
        stage.tale.check("the second is refused", refused, second.talk);
        Ok(())
    });
}

#[test]
fn a_process_that_is_down_is_named_and_a_repeat_finishes() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let cases: [(Place, &str, &[&str]); 2] =
            [(Place::Object, "s3", &["object store", "LW-0401"]), (Place::Site(Site::West), "ganesha", &["west"])];
        for (place, process, saying) in cases {
            let process = name_of(stage, place, process)?;
            let fault = stage.lab.stop_proc(place, &process);
            let test = async {
                let called = stage.leeward.call(&["migrate", "shop", "--yes"], &|line| eprintln!("   {line}")).await?;
                stage.tale.check(
                    format!("without {process} a move fails"),
                    called.code.is_some_and(|code| code != 0),
                    called.talk.clone(),
                );
                let named = saying.iter().all(|words| called.talk.contains(words));
                stage.tale.check(format!("it says that {process} is missing"), named, called.talk);
                Ok(())
            };
            with_fault(fault, test, stage.lab.start_proc(place, &process)).await?;
            stage.leeward.done(&["migrate", "shop", "--yes"], &|line| eprintln!("   {line}")).await?;
            at_home(stage).await?;
        }
        Ok(())
    });
}

fn name_of(stage: &Stage<'_>, place: Place, part: &str) -> Result<String> {
    let processes = stage.lab.status();
    let found = processes.iter().find(|process| process.place == place && process.name.contains(part));
    found.map(|process| process.name.clone()).with_context(|| format!("{place} has no process {part}"))
}

#[test]
fn a_full_standby_is_said_before_anything_is_lost() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let filler: PathBuf = stage.lab.export(Site::West).join("filler");
        let test = async {
            // What was deleted before frees its room at any time: when the file server closes it, when XFS gets round to
            // it. So the room is taken until the call is over.
            let path = filler.clone();
            let keep_full = async {
                loop {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || fill(&path)).await??;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let called = tokio::select! {
                called = stage.leeward.call(&["cycle", "shop"], &|line| eprintln!("   {line}")) => called?,
                filled = keep_full => return filled,
            };
            // A standby that is fenced is found full when the data comes; one that can be written to, by the first look.
            let said = match called.code {
                Some(1) => called.talk.contains("full"),
                Some(3) => called.talk.contains("NOSPC"),
                _ => false,
            };
            let what = format!("{:?}: {}", called.code, called.talk);
            stage.tale.check("that west is full is said", said && called.talk.contains("west"), what);
            Ok(())
        };
        let undo = async { Ok(fs_err::remove_file(&filler)?) };
        let fault = async {
            let path = filler.clone();
            tokio::task::spawn_blocking(move || fill(&path)).await?
        };
        with_fault(fault, test, undo).await?;
        stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await.map(drop)
    });
}

/// Takes all the room that is left on the file system.
fn fill(path: &Path) -> Result<()> {
    let file = std::fs::File::options().create(true).append(true).open(path)?;
    let mut length = file.metadata()?.len();
    // The last blocks go one by one: the file's own extents take room, too.
    for piece in [256 << 20, 1 << 20, 64 << 10, 4 << 10] {
        while rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), length, piece).is_ok() {
            length += piece;
        }
    }
    Ok(())
}

/// The guest that a cycle copies while it runs; of the other one there may be no copy yet.
const DB: [(&str, &[&str]); 1] = [("db", &["db-data", "db-log"])];

#[test]
fn a_link_that_is_cut_in_the_middle_of_a_cycle_leaves_the_point_before() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let before = guests::newest(stage.lab, Site::East, "db")?;
        let whole = stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
        let point = whole.data.get("point").and_then(Value::as_str).context("a point")?.to_owned();
        // The next one has something to send, and takes its time.
        guests::wait_for_records_of(&DB, stage.lab, Site::East, 3, parts::WRITES).await?;
        let slow = slow_link(stage, Site::East)?;
        let test = async {
            let cut = async {
                tokio::time::timeout(Duration::from_secs(120), half_a_point(stage, Site::West))
                    .await
                    .context("the second point was never under way")??;
                stage.lab.kill_site(Site::East).await
            };
            let cycle = async { stage.leeward.call(&["cycle", "shop"], &|line| eprintln!("   {line}")).await };
            let (cycled, cut) = tokio::join!(cycle, cut);
            cut?;
            let cycled = cycled?;
            let said = cycled.code == Some(1) && cycled.talk.contains("LW-03") && cycled.talk.contains("east");
            stage.tale.check("the cycle fails and says why", said, format!("{:?}: {}", cycled.code, cycled.talk));
            let failover = ["failover", "shop", "--yes", "--to", "west", "--reason", "test"];
            let failed_over = stage.leeward.done(&failover, &|line| eprintln!("   {line}")).await?;
            let used = failed_over.data.get("point").and_then(Value::as_str).unwrap_or_default().to_owned();
            stage.tale.check("it starts from the last whole point", used == point, format!("{used}, not {point}"));
            Ok(())
        };
        with_fault(async { Ok(()) }, test, async { Ok(fs_err::write(&slow.0, &slow.1)?) }).await?;
        guests::wait_for_records_of(&DB, stage.lab, Site::West, 1, parts::WRITES).await?;
        let now = guests::newest(stage.lab, Site::West, "db")?;
        for disk in ["db-data", "db-log"] {
            let (acknowledged, found) = (before.last(disk, None), now.found(disk));
            let holds = found.zip(acknowledged.as_ref()).is_some_and(|(found, last)| found.number >= last.number);
            stage.tale.check(
                format!("{disk} is whole, as it was or later"),
                holds,
                format!("{acknowledged:?} → {found:?}"),
            );
        }
        parts::homecoming(stage).await
    });
}

#[test]
fn a_point_of_an_older_epoch_is_not_taken() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await?;
        let listed = ask_mover(stage, Site::West, "points", &json!({"group": "shop"}))?.1;
        let points = listed.as_array().context("points")?;
        let epoch = points.iter().filter_map(|point| point["epoch"].as_u64()).max().context("an epoch")?;
        anyhow::ensure!(epoch > 0, "the group never moved: {listed}");
        let folder = stage.lab.export(Site::East).join("stray");
        fs_err::create_dir_all(&folder)?;
        fs_err::write(folder.join("disk.img"), b"from the past")?;
        let order = |epoch: u64| {
            json!({
                "group": "shop", "point": "stray", "from": "east", "to": "west", "epoch": epoch,
                "volumes": [{"key": "stray", "folder": "stray"}],
            })
        };
        let (code, refused) = ask_mover(stage, Site::East, "sync", &order(epoch - 1))?;
        fs_err::remove_dir_all(&folder)?;
        let text = refused["error"]["text"].as_str().unwrap_or_default();
        let said =
            code == Some(3) && refused["error"]["kind"] == "oldEpoch" && text.contains(&format!("epoch {epoch}"));
        stage.tale.check(
            "a sender of the epoch before is refused, both epochs named",
            said,
            format!("{code:?}: {refused}"),
        );
        let after = ask_mover(stage, Site::West, "points", &json!({"group": "shop"}))?.1;
        stage.tale.check("the points are what they were", after == listed, format!("{after}"));
        let folder = stage.lab.export(Site::West).join(".leeward/points/shop");
        let stray =
            fs_err::read_dir(folder)?.flatten().any(|entry| entry.file_name().to_string_lossy().contains("stray"));
        stage.tale.check("nothing of it was begun", !stray, "a folder of it is there");
        Ok(())
    });
}

/// Runs a verb of the mover at a site's file server, as the adapter does; its exit code and answer.
fn ask_mover(stage: &Stage<'_>, site: Site, verb: &str, request: &Value) -> Result<(Option<i32>, Value)> {
    let words = [stage.lab.ssh(site), stage.lab.mover(site)].concat();
    let (program, words) = words.split_first().context("a command")?;
    let mut command = Command::new(program);
    command.args(words).args([verb, "--output", "json", "--request", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("its stdin")?.write_all(request.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    let answer = serde_json::from_slice(&output.stdout).context("the mover's answer")?;
    Ok((output.status.code(), answer))
}

/// Lets a site's mover send no more than a few blocks a second; its configuration, and what stood in it.
fn slow_link(stage: &Stage<'_>, site: Site) -> Result<(PathBuf, String)> {
    let words = stage.lab.mover(site);
    let config = PathBuf::from(words.last().context("a configuration")?);
    let text = fs_err::read_to_string(&config)?;
    fs_err::write(&config, format!("{text}limits: {{ bytesPerSecond: 4096 }}\n"))?;
    Ok((config, text))
}

/// Waits until a site has begun to take a point.
async fn half_a_point(stage: &Stage<'_>, site: Site) -> Result<()> {
    let points = stage.lab.export(site).join(".leeward/points/shop");
    loop {
        for entry in fs_err::read_dir(&points)? {
            if entry?.path().extension().is_some_and(|end| end == "partial") {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_foreign_volume_of_that_name_at_the_standby_is_refused() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let west = stage.lab.cluster(Site::West).await?;
        let (claims, volumes) = (
            west.api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE)),
            west.api("v1", "PersistentVolume", None),
        );
        let fault = async {
            let _ = claims.delete("web-disk", &Default::default()).await;
            let _ = volumes.delete("web-disk", &Default::default()).await;
            let gone = std::time::Instant::now();
            while volumes.get_opt("web-disk").await?.is_some() {
                anyhow::ensure!(gone.elapsed().as_secs() < 30, "the old volume does not go away");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            west.apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "web-disk"},
                "spec": {"capacity": {"storage": "64Mi"}, "accessModes": ["ReadWriteMany"], "persistentVolumeReclaimPolicy": "Retain",
                    "nfs": {"server": "10.77.0.9", "path": "/foreign"}}
            }))
            .await
        };
        let test = async { refused(stage, &["cycle", "shop"], 1, &["web-disk"]).await.map(drop) };
        let undo = async {
            volumes.delete("web-disk", &Default::default()).await?;
            let _ = claims.delete("web-disk", &Default::default()).await;
            Ok(())
        };
        with_fault(fault, test, undo).await?;
        stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await.map(drop)
    });
}

/// Calls `leeward`, and once it says `words`, does `then`; the call must succeed after that.
async fn goes_on_after(
    stage: &Stage<'_>,
    args: &[&str],
    words: &str,
    then: impl Future<Output = Result<()>>,
) -> Result<()> {
    let said = tokio::sync::Notify::new();
    let hear = |line: &str| {
        eprintln!("   {line}");
        if line.contains(words) {
            said.notify_one();
        }
    };
    let call = stage.leeward.done(args, &hear);
    let help = async {
        tokio::time::timeout(Duration::from_secs(90), said.notified())
            .await
            .with_context(|| format!("it never said {words:?}"))?;
        then.await
    };
    // Helped or not, the fault is over before the call is waited for.
    let (called, helped) = tokio::join!(call, help);
    helped?;
    called.map(drop)
}

#[test]
fn containers_beside_the_vms_do_not_start_at_the_standby() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let (east, west) = (stage.lab.cluster(Site::East).await?, stage.lab.cluster(Site::West).await?);
        let labels = json!({"app": "shop-front"});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "front", "namespace": guests::NAMESPACE},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "front", "image": "front"}]}}}
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": guests::NAMESPACE},
            "spec": {"selector": labels, "ports": [{"port": 80}]}
        });
        east.apply(&deployment).await?;
        east.apply(&service).await?;
        let cycled = stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await;
        east.api("apps/v1", "Deployment", Some(guests::NAMESPACE)).delete("front", &Default::default()).await?;
        east.api("v1", "Service", Some(guests::NAMESPACE)).delete("front", &Default::default()).await?;
        cycled?;
        let there = async |version, kind| west.api(version, kind, Some(guests::NAMESPACE)).get_opt("front").await;
        stage.tale.check("the Service is staged", there("v1", "Service").await?.is_some(), "");
        stage.tale.check("the Deployment is not", there("apps/v1", "Deployment").await?.is_none(), "");
        Ok(())
    });
}

#[test]
fn a_velero_that_is_down_is_waited_for_by_name() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let process = name_of(stage, Place::Site(Site::East), "velero")?;
        stage.lab.stop_proc(Site::East, &process).await?;
        let back = stage.lab.start_proc(Site::East, &process);
        goes_on_after(stage, &["cycle", "shop"], "is Velero's server running in namespace velero of site east?", back)
            .await
    });
}

#[test]
fn a_promoted_claim_that_does_not_bind_is_waited_for() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let process = name_of(stage, Place::Site(Site::East), "csi-provisioner")?;
        stage.lab.stop_proc(Site::East, &process).await?;
        let claims = stage.lab.cluster(Site::East).await?.api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE));
        let seen = async {
            let pending = async {
                loop {
                    for claim in claims.list(&Default::default()).await? {
                        let claim = serde_json::to_value(claim)?;
                        if claim.pointer("/status/phase").and_then(Value::as_str) == Some("Pending") {
                            return anyhow::Ok(());
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(30), pending).await;
            stage.lab.start_proc(Site::East, &process).await?;
            waited.context("no promoted claim was ever pending")?
        };
        goes_on_after(stage, &["cycle", "shop"], "in progress", seen).await
    });
}

#[test]
fn a_partially_failed_backup_is_refused_by_the_objects_name() {
    on_the_lab(async |stage| {
        at_home(stage).await?;
        let east = stage.lab.cluster(Site::East).await?;
        let stray = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "stray", "namespace": guests::NAMESPACE},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "nowhere", "resources": {"requests": {"storage": "1Mi"}}}
        });
        let fault = east.apply(&stray);
        let test = async { refused(stage, &["cycle", "shop"], 1, &["stray", "LW-02"]).await.map(drop) };
        let undo = async {
            east.api("v1", "PersistentVolumeClaim", Some(guests::NAMESPACE))
                .delete("stray", &Default::default())
                .await?;
            Ok(())
        };
        with_fault(fault, test, undo).await?;
        stage.leeward.done(&["cycle", "shop"], &|line| eprintln!("   {line}")).await.map(drop)
    });
}
