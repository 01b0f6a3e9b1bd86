//! The NFS adapter on two file servers of this machine, without an NFS server: everything but the fence.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod nfs_bed;

use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
use leeward_storage::{
    Consistency, StorageAdapter, StorageError, SyncRequest, SyncVolume, VolumeRef,
    contract::{self, Bed},
};
use nfs_bed::{NfsBed, address, flip, site};
use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt, symlink},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[tokio::test]
async fn passes_the_contract() {
    contract::data(&NfsBed::new()).await;
}

fn east() -> SiteName {
    site("east")
}

fn west() -> SiteName {
    site("west")
}

fn request(point: &str, base: Option<&str>, volumes: &[&str]) -> SyncRequest {
    let volume = |name: &&str| SyncVolume {
        key: "pv-1".to_owned(),
        source: address(&east(), name),
        consistency: Consistency::Stopped,
        at: jiff::Timestamp::UNIX_EPOCH,
        seed: None,
    };
    SyncRequest {
        group: GroupName::parse("shop").unwrap(),
        point: PointId::parse(point).unwrap(),
        base: base.map(|base| PointId::parse(base).unwrap()),
        from: east(),
        to: west(),
        epoch: Epoch(1),
        volumes: volumes.iter().map(volume).collect(),
        carried: vec![],
    }
}

/// `bytes` of noise that no two seeds share.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
}

/// A disk of `bytes` at the east, whose replication takes some seconds.
async fn slow(bed: &NfsBed, seed: u64, bytes: usize) {
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(seed, bytes)).await;
    bed.limit(&east(), 256 << 10);
}

/// Waits until the disk of point `point` has begun to arrive.
async fn arriving(bed: &NfsBed, point: &str) {
    let partial = bed.export(&west(), &format!(".leeward/points/shop/{point}.partial/pv-1/disk.img"));
    until("the transfer", || fs::metadata(&partial).is_ok_and(|file| file.blocks() > 0)).await;
}

#[tokio::test]
async fn a_mover_that_is_killed_at_work_leaves_the_last_point_and_is_continued() {
    let mut bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(1, 4 << 20)).await;
    let first = bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();

    slow(&bed, 2, 4 << 20).await;
    fs::remove_file(bed.at(&east(), "sync.pid")).unwrap();
    let second = request("rp-2", None, &["a"]);
    let killed = async {
        arriving(&bed, "rp-2").await;
        kill("-9", &bed.syncing(&east()).unwrap());
    };
    let (broken, ()) = tokio::join!(bed.adapter.sync(&second), killed);
    assert!(matches!(&broken, Err(StorageError::Remote { reason, .. }) if reason.contains("137")), "{broken:?}");
    let points = bed.adapter.points(&west(), &second.group).await.unwrap();
    assert_eq!(points, std::slice::from_ref(&first), "half a point is no point");

    // The same at the other side: the link breaks, as the sender sees it.
    let pid = bed.serving(&west()).pid();
    let killed = async {
        until("the next transfer", || bed.syncing(&east()).is_some()).await;
        arriving(&bed, "rp-2").await;
        kill("-9", &pid);
    };
    fs::remove_file(bed.at(&east(), "sync.pid")).unwrap();
    let (broken, ()) = tokio::join!(bed.adapter.sync(&second), killed);
    assert!(matches!(&broken, Err(StorageError::Transfer { .. })), "{broken:?}");
    assert!(broken.unwrap_err().is_transient(), "it is worth repeating");
    bed.serving(&west()).kill();
    bed.serving(&west()).start_again();
    assert_eq!(bed.adapter.points(&west(), &second.group).await.unwrap(), std::slice::from_ref(&first));
    bed.adapter.verify(&west(), &first).await.unwrap();

    bed.limit(&east(), 0);
    let made = bed.adapter.sync(&second).await.unwrap();
    bed.adapter.verify(&west(), &made).await.unwrap();
    bed.adapter.verify(&west(), &first).await.unwrap();
    assert_eq!(bed.adapter.points(&west(), &second.group).await.unwrap().len(), 2);
    assert!(!bed.export(&west(), ".leeward/points/shop/rp-2.partial").exists());
}

#[tokio::test]
async fn a_sync_that_is_given_up_stops_at_the_site_too() {
    let bed = NfsBed::new();
    slow(&bed, 1, 4 << 20).await;
    let wanted = request("rp-1", None, &["a"]);
    {
        let sync = bed.adapter.sync(&wanted);
        tokio::select! {
            done = sync => panic!("too early: {done:?}"),
            () = until("the sync", || bed.syncing(&east()).is_some()) => {}
        }
    }
    let pid = bed.syncing(&east()).unwrap();
    until("the end of the mover", || !std::path::Path::new("/proc").join(pid.trim()).exists()).await;
    bed.limit(&east(), 0);
    let made = bed.adapter.sync(&wanted).await.unwrap();
    bed.adapter.verify(&west(), &made).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_falls_silent_is_an_error_and_no_hang() {
    let mut bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(1, 1 << 20)).await;
    let pid = bed.serving(&west()).pid();
    kill("-STOP", &pid);
    let stalled = bed.adapter.sync(&request("rp-1", None, &["a"])).await;
    kill("-CONT", &pid);
    assert!(matches!(stalled, Err(StorageError::Transfer { .. })), "{stalled:?}");
    bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_written_meanwhile_is_refused() {
    let bed = NfsBed::new();
    for (how, write) in [
        ("it grows", "printf x >>disk.img"),
        // The same length, and the modification time put back: only ctime and content tell.
        ("it is overwritten", "cp -p disk.img ../o; printf y | dd of=disk.img conv=notrunc; touch -r ../o disk.img"),
    ] {
        slow(&bed, 1, 2 << 20).await;
        let folder = bed.export(&east(), "a");
        let written = async {
            arriving(&bed, "rp-1").await;
            let mut shell = Command::new("sh");
            assert!(shell.args(["-c", write]).current_dir(folder).stderr(Stdio::null()).status().unwrap().success());
        };
        let wanted = request("rp-1", None, &["a"]);
        let (refused, ()) = tokio::join!(bed.adapter.sync(&wanted), written);
        assert!(
            matches!(&refused, Err(StorageError::SourceChanged { file, .. }) if file == "disk.img"),
            "{how}: {refused:?}"
        );
        assert_eq!(bed.adapter.points(&west(), &request("rp-1", None, &[]).group).await.unwrap(), []);
        fs::remove_dir_all(bed.export(&west(), ".leeward/points/shop/rp-1.partial")).unwrap();
    }
    bed.limit(&east(), 0);
    bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
}

#[tokio::test]
async fn hostile_names_are_only_names() {
    let bed = NfsBed::new();
    let folder = "we'ird $(touch pwned) `id` \"dir\" -n; rm *\\";
    let volume = address(&east(), folder);
    let names = [
        "-rf",
        "a'b",
        "a\nb",
        "$(touch pwned)",
        "\\n",
        " ",
        "sub dir/-x\n",
        "*",
        "@",
        "ü",
        "\"",
        "host:path",
        "manifest.json",
    ];
    for name in names {
        bed.write(&east(), &volume, name, name.as_bytes()).await;
    }
    let made = bed.adapter.sync(&request("rp-1", None, &[folder])).await.unwrap();
    let mut sorted: Vec<_> = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(made.volumes[0].files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), sorted);
    bed.adapter.verify(&west(), &made).await.unwrap();
    let target = VolumeRef { key: "pv-1".into(), address: address(&west(), folder) };
    for _ in 0..2 {
        bed.adapter.present(&west(), &made, std::slice::from_ref(&target)).await.unwrap();
    }
    for name in names {
        let read = bed.read(&west(), &target.address, name).await;
        assert_eq!(read.as_deref(), Some(name.as_bytes()), "{name:?}");
    }
    let live = VolumeRef { key: "pv-1".into(), address: volume };
    assert!(bed.adapter.divergence(&east(), &made, &[live]).await.unwrap()[0].is_same());
    for site in [east(), west()] {
        assert!(!bed.at(&site, "pwned").exists() && !bed.export(&site, "pwned").exists());
        assert!(!bed.export(&site, folder).join("pwned").exists());
    }
}

#[tokio::test]
async fn links_lead_nowhere() {
    let bed = NfsBed::new();
    let outside = bed.at(&east(), "outside");
    fs::create_dir_all(outside.join("b")).unwrap();
    fs::write(outside.join("b/disk.img"), "secret").unwrap();
    fs::create_dir_all(bed.export(&east(), "c")).unwrap();
    symlink(&outside, bed.export(&east(), "a")).unwrap();
    symlink("../c", bed.export(&east(), "c/self")).unwrap();
    for path in ["a", "a/b"] {
        let refused = bed.adapter.sync(&request("rp-1", None, &[path])).await;
        assert!(matches!(refused, Err(StorageError::UnsafePath { .. })), "{path}: {refused:?}");
    }
    let refused = bed.adapter.sync(&request("rp-1", None, &["c"])).await;
    assert!(matches!(&refused, Err(StorageError::NotAFile { file, .. }) if file == "self"), "{refused:?}");

    // At the target, neither the volume's folder nor a file or folder in it may be one.
    let good = address(&east(), "d");
    bed.write(&east(), &good, "disk.img", b"data").await;
    bed.write(&east(), &good, "sub/disk.img", b"data").await;
    let made = bed.adapter.sync(&request("rp-1", None, &["d"])).await.unwrap();
    let outside = bed.at(&west(), "outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("disk.img"), "mine").unwrap();
    symlink(&outside, bed.export(&west(), "folder")).unwrap();
    fs::create_dir_all(bed.export(&west(), "file")).unwrap();
    symlink(outside.join("disk.img"), bed.export(&west(), "file/disk.img")).unwrap();
    fs::create_dir_all(bed.export(&west(), "sub")).unwrap();
    symlink(&outside, bed.export(&west(), "sub/sub")).unwrap();
    for (path, code) in [("folder", "0305"), ("folder/deeper", "0305"), ("file", "0307"), ("sub", "0307")] {
        let target = VolumeRef { key: "pv-1".into(), address: address(&west(), path) };
        let refused = bed.adapter.present(&west(), &made, &[target]).await.unwrap_err().to_string();
        assert!(refused.contains(code), "{path}: {refused}");
    }
    assert_eq!(fs::read(outside.join("disk.img")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn holes_stay_holes_and_zeros_replace_data() {
    let bed = NfsBed::new();
    let volume = address(&east(), "a");
    let mut bytes = noise(1, 8 << 20);
    bed.write(&east(), &volume, "disk.img", &bytes).await;
    bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    // The guest discards the middle: zeros there, which must replace what the base has.
    let source = bed.export(&east(), "a/disk.img");
    fs::remove_file(&source).unwrap();
    let file = fs::File::create(&source).unwrap();
    file.write_all_at(&bytes[..1 << 20], 0).unwrap();
    file.write_all_at(&bytes[7 << 20..], 7 << 20).unwrap();
    drop(file);
    bytes[1 << 20..7 << 20].fill(0);
    let made = bed.adapter.sync(&request("rp-2", Some("rp-1"), &["a"])).await.unwrap();
    let target = VolumeRef { key: "pv-1".into(), address: address(&west(), "a") };
    bed.adapter.present(&west(), &made, &[target]).await.unwrap();
    let presented = bed.export(&west(), "a/disk.img");
    assert!(fs::read(&presented).unwrap() == bytes);
    for file in [presented, bed.export(&west(), ".leeward/points/shop/rp-2/pv-1/disk.img")] {
        let allocated = fs::metadata(&file).unwrap().blocks() * 512;
        assert!(allocated <= 4 << 20, "{allocated} bytes allocated by {}", file.display());
    }
}

#[tokio::test]
async fn owner_and_mode_travel_with_the_image() {
    let bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", b"data").await;
    let source = bed.export(&east(), "a");
    assert!(Command::new("chmod").arg("2770").arg(&source).status().unwrap().success());
    assert!(Command::new("chmod").arg("640").arg(source.join("disk.img")).status().unwrap().success());
    let as_root = fs::metadata(&source).unwrap().uid() == 0;
    if as_root {
        std::os::unix::fs::chown(source.join("disk.img"), Some(107), Some(107)).unwrap();
    }
    let made = bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    let target = VolumeRef { key: "pv-1".into(), address: address(&west(), "new/a") };
    bed.adapter.present(&west(), &made, &[target]).await.unwrap();
    let (folder, file) = (bed.export(&west(), "new/a"), bed.export(&west(), "new/a/disk.img"));
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o7777, 0o2770);
    let file = fs::metadata(file).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o640);
    assert!(!as_root || (file.uid(), file.gid()) == (107, 107));
}

#[tokio::test]
async fn a_base_that_somebody_wrote_to_is_healed_by_a_sync_and_never_carried() {
    let bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(1, 100_000)).await;
    bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    let image = bed.export(&west(), ".leeward/points/shop/rp-1/pv-1/disk.img");
    flip(&image);
    fs::File::options().write(true).open(&image).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let carried = SyncRequest { carried: vec!["pv-1".into()], ..request("rp-2", Some("rp-1"), &[]) };
    let refused = bed.adapter.sync(&carried).await;
    assert!(matches!(&refused, Err(StorageError::Differs { file, .. }) if file == "disk.img"), "{refused:?}");
    let made = bed.adapter.sync(&request("rp-2", Some("rp-1"), &["a"])).await.unwrap();
    bed.adapter.verify(&west(), &made).await.unwrap();
}

#[tokio::test]
async fn what_has_rotted_unseen_is_found_before_it_is_used() {
    let bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(1, 100_000)).await;
    bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    // No time tells of it, so what is built upon it has it, too.
    flip(&bed.export(&west(), ".leeward/points/shop/rp-1/pv-1/disk.img"));
    let carried = SyncRequest { carried: vec!["pv-1".into()], ..request("rp-2", Some("rp-1"), &[]) };
    let made = bed.adapter.sync(&carried).await.unwrap();
    let found = bed.adapter.verify(&west(), &made).await;
    assert!(matches!(&found, Err(StorageError::Differs { file, .. }) if file == "disk.img"), "{found:?}");
    let target = VolumeRef { key: "pv-1".into(), address: address(&west(), "a") };
    let refused = bed.adapter.present(&west(), &made, &[target]).await;
    assert!(matches!(&refused, Err(StorageError::Differs { .. })), "{refused:?}");
}

#[tokio::test]
async fn two_at_once_make_one_point() {
    let bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(1, 1 << 20)).await;
    let wanted = request("rp-1", None, &["a"]);
    let (one, two) = tokio::join!(bed.adapter.sync(&wanted), bed.adapter.sync(&wanted));
    let transient = |result: &Result<_, StorageError>| match result {
        Ok(_) => true,
        Err(error) => error.is_transient(),
    };
    assert!(transient(&one) && transient(&two), "{one:?} {two:?}");
    let made = bed.adapter.sync(&wanted).await.unwrap();
    bed.adapter.verify(&west(), &made).await.unwrap();
    for result in [one, two].into_iter().flatten() {
        assert_eq!(result, made);
    }
}

#[tokio::test]
async fn a_full_target_is_told_before_and_in_the_middle() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let mut bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", &noise(1, 2 << 20)).await;
    let export = bed.export(&west(), "");
    let mount = |arguments: &[&str]| Command::new(arguments[0]).args(&arguments[1..]).arg(&export).status().unwrap();
    assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=5m", "none"]).success());
    struct Unmount<'a>(&'a std::path::Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let unmount = Unmount(&export);
    // The one that runs has the folder beneath open.
    bed.serving(&west()).kill();
    bed.serving(&west()).start_again();
    let first = bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    // Too large from the start.
    bed.write(&east(), &address(&east(), "b"), "disk.img", &noise(2, 8 << 20)).await;
    let full = bed.adapter.sync(&request("rp-2", None, &["b"])).await;
    assert!(matches!(full, Err(StorageError::Full { needed, .. }) if needed >= 8 << 20), "{full:?}");
    // It would fit, but somebody else fills the space while the transfer is under way.
    bed.hook(&east(), &format!("head -c 2000000 /dev/zero >'{}'", export.join("filler").display()));
    bed.write(&east(), &address(&east(), "c"), "disk.img", &noise(3, 2 << 20)).await;
    let full = bed.adapter.sync(&request("rp-2", None, &["c"])).await;
    assert!(matches!(full, Err(StorageError::Full { .. })), "{full:?}");
    assert!(full.unwrap_err().to_string().contains("site west"));
    assert_eq!(bed.adapter.points(&west(), &first.group).await.unwrap(), std::slice::from_ref(&first));
    bed.adapter.verify(&west(), &first).await.unwrap();
    bed.unhook(&east());
    fs::remove_file(export.join("filler")).unwrap();
    bed.adapter.sync(&request("rp-2", None, &["c"])).await.unwrap();
    drop(unmount);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told() {
    let bed = NfsBed::new();
    bed.write(&east(), &address(&east(), "a"), "disk.img", b"data").await;
    let made = bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    let record = bed.export(&west(), ".leeward/points/shop/rp-1/.point.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let told = bed.adapter.points(&west(), &made.group).await;
    assert!(
        matches!(&told, Err(StorageError::Remote { reason, .. }) if reason.contains("rp-1/.point.json")),
        "{told:?}"
    );
    // A point that was made by hand does not say of which moment it is.
    fs::write(&record, text.replace("\"at\"", "\"when\"")).unwrap();
    let told = bed.adapter.points(&west(), &made.group).await;
    assert!(matches!(&told, Err(StorageError::Manifest { point, .. }) if *point == made.point), "{told:?}");
}

#[tokio::test]
async fn divergence_is_finer_than_files() {
    let mut bed = NfsBed::new();
    let mut bytes = noise(1, 4 << 20);
    let live = VolumeRef { key: "pv-1".into(), address: address(&east(), "a") };
    bed.write(&east(), &live.address, "disk.img", &bytes).await;
    let made = bed.adapter.sync(&request("rp-1", None, &["a"])).await.unwrap();
    let target = VolumeRef { key: "pv-1".into(), address: address(&west(), "a") };
    bed.adapter.present(&west(), &made, std::slice::from_ref(&target)).await.unwrap();
    bytes[1 << 20..(1 << 20) + 100].iter_mut().for_each(|byte| *byte ^= 0xff);
    bed.write(&east(), &live.address, "disk.img", &bytes).await;
    bed.write(&west(), &target.address, "disk.img", &bytes).await;
    for (at, volume) in [(west(), &target), (east(), &live)] {
        let moved = bed.adapter.divergence(&at, &made, std::slice::from_ref(volume)).await.unwrap();
        assert!((100..200_000).contains(&moved[0].bytes_changed), "{moved:?}: a block");
    }
    bed.adapter.verify(&west(), &made).await.unwrap();
    // Without the other site there is nothing to compare with.
    bed.serving(&west()).kill();
    let alone = bed.adapter.divergence(&east(), &made, &[live]).await.unwrap();
    assert_eq!((alone[0].bytes_changed, alone[0].last_written), (4 << 20, None));
}
