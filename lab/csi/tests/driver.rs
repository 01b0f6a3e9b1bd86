//! The driver as a process, and the store on file systems of a certain kind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Driver, Mounted, call, not_run};
use leeward_lab_csi::copy::copy_tree;
use leeward_lab_csi::handle::{Export, OnDelete};
use leeward_lab_csi::proto::volume_capability::access_mode::Mode;
use leeward_lab_csi::proto::volume_capability::{AccessMode, AccessType, MountVolume};
use leeward_lab_csi::proto::{
    CreateSnapshotRequest, CreateSnapshotResponse, CreateVolumeRequest, CreateVolumeResponse, VolumeCapability,
};
use leeward_lab_csi::record::ContentSource;
use leeward_lab_csi::store::{NewVolume, Store};
use tonic::{Code, Status};

const MIB: usize = 1 << 20;

/// Data that no file system can make smaller.
fn fill(path: &Path, mib: usize) {
    let mut file = File::create(path).unwrap();
    let mut state = 1_u64;
    let mut block = vec![0_u8; MIB];
    for _ in 0..mib {
        for word in block.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

fn volume(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        volume_capabilities: vec![VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::MultiNodeMultiWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume::default())),
        }],
        parameters: BTreeMap::from([
            ("server".to_owned(), "10.77.0.1".to_owned()),
            ("share".to_owned(), "/export".to_owned()),
            ("csi.storage.k8s.io/pvc/name".to_owned(), "db-data".to_owned()),
        ]),
        ..CreateVolumeRequest::default()
    }
}

fn snapshot(name: &str, of: &str) -> CreateSnapshotRequest {
    CreateSnapshotRequest { name: name.to_owned(), source_volume_id: of.to_owned(), ..CreateSnapshotRequest::default() }
}

const CREATE_VOLUME: &str = "/csi.v1.Controller/CreateVolume";
const CREATE_SNAPSHOT: &str = "/csi.v1.Controller/CreateSnapshot";

#[tokio::test]
async fn a_volume_looks_like_one_of_csi_driver_nfs() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    std::fs::create_dir(&export).unwrap();
    let driver = Driver::start(dir.path(), &export);
    let channel = driver.connect().await;
    let made: CreateVolumeResponse = call(&channel, CREATE_VOLUME, volume("pvc-1")).await.unwrap();
    let made = made.volume.unwrap();
    assert_eq!(made.volume_id, "10.77.0.1#export#pvc-1##");
    let context = BTreeMap::from([
        ("csi.storage.k8s.io/pvc/name", "db-data"),
        ("server", "10.77.0.1"),
        ("share", "/export"),
        ("subdir", "pvc-1"),
    ]);
    assert_eq!(made.volume_context.iter().map(|(k, v)| (&**k, &**v)).collect::<BTreeMap<_, _>>(), context);
    assert_eq!(std::fs::metadata(export.join("pvc-1")).unwrap().mode() & 0o777, 0o777);
    let unknown: Result<CreateVolumeResponse, Status> =
        call(&channel, "/csi.v1.Controller/GetCapacity", volume("x")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn on_sigterm_what_is_under_way_is_finished_and_the_socket_goes() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    std::fs::create_dir(&export).unwrap();
    let mut driver = Driver::start(dir.path(), &export);
    let channel = driver.connect().await;
    // Sidecars stay connected; an idle one must not keep the driver.
    let idle = driver.connect().await;
    let made: CreateVolumeResponse = call(&idle, CREATE_VOLUME, volume("pvc-1")).await.unwrap();
    fill(&export.join("pvc-1/disk.img"), 128);
    let id = made.volume.unwrap().volume_id;
    let request = snapshot("snap", &id);
    let taking =
        tokio::spawn(async move { call::<_, CreateSnapshotResponse>(&channel, CREATE_SNAPSHOT, request).await });
    until_copying(&export).await;
    driver.signal_terminate();
    let taken = taking.await.unwrap().unwrap().snapshot.unwrap();
    assert!(taken.ready_to_use);
    assert_eq!(taken.snapshot_id, "10.77.0.1#export#snap#snap#pvc-1");
    assert_eq!(taken.size_bytes, 128 << 20, "the volume has no capacity, so its content counts");
    assert!(driver.wait().success());
    drop(idle);
    assert!(!driver.socket.exists());
    assert_same(&export.join("pvc-1/disk.img"), &export.join(".snapshots/snap/disk.img"));
}

#[tokio::test]
async fn a_driver_killed_in_the_middle_of_a_copy_leaves_no_half_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    std::fs::create_dir(&export).unwrap();
    let mut driver = Driver::start(dir.path(), &export);
    let channel = driver.connect().await;
    let made: CreateVolumeResponse = call(&channel, CREATE_VOLUME, volume("pvc-1")).await.unwrap();
    let id = made.volume.unwrap().volume_id;
    fill(&export.join("pvc-1/disk.img"), 128);
    let request = snapshot("snap", &id);
    let taking =
        tokio::spawn(async move { call::<_, CreateSnapshotResponse>(&channel, CREATE_SNAPSHOT, request).await });
    until_copying(&export).await;
    driver.kill();
    assert!(taking.await.unwrap().is_err());
    let there = export.join(".snapshots/snap");
    if there.exists() {
        // The copy was faster than the kill.
        assert_same(&export.join("pvc-1/disk.img"), &there.join("disk.img"));
    }

    let driver = Driver::start(dir.path(), &export);
    assert_eq!(std::fs::read_dir(export.join(".csi/tmp")).unwrap().count(), 0);
    let channel = driver.connect().await;
    let again: CreateSnapshotResponse = call(&channel, CREATE_SNAPSHOT, snapshot("snap", &id)).await.unwrap();
    assert!(again.snapshot.unwrap().ready_to_use);
    assert_same(&export.join("pvc-1/disk.img"), &export.join(".snapshots/snap/disk.img"));
}

/// Waits until a snapshot is being copied, or is done.
async fn until_copying(export: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_empty = |sub: &str| std::fs::read_dir(export.join(sub)).unwrap().next().is_none();
    while is_empty(".csi/tmp") && is_empty(".snapshots") {
        assert!(Instant::now() < deadline, "no copy was begun");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn assert_same(one: &Path, other: &Path) {
    // Not assert_eq: it would print the content.
    assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{one:?} and {other:?} differ");
}

#[test]
fn on_xfs_a_copy_shares_its_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let xfs = match Mounted::xfs(dir.path()) {
        Ok(xfs) => xfs,
        Err(why) => return not_run(&why),
    };
    let (from, to) = (xfs.path.join("from"), xfs.path.join("to"));
    std::fs::create_dir(&from).unwrap();
    fill(&from.join("disk.img"), 64);
    let before = xfs.free();
    let copied = copy_tree(&from, &to).unwrap();
    assert_eq!((copied.files, copied.cloned, copied.moved), (1, 1, 0));
    let taken = before - xfs.free();
    assert!(taken < MIB as u64, "{taken} bytes were taken on disk");
    assert_same(&from.join("disk.img"), &to.join("disk.img"));
}

#[test]
fn a_full_export_is_said_to_be_full_and_nothing_half_stays() {
    let dir = tempfile::tempdir().unwrap();
    let tmpfs = match Mounted::tmpfs(dir.path(), "8m") {
        Ok(tmpfs) => tmpfs,
        Err(why) => return not_run(&why),
    };
    let export = Export::new("10.77.0.1", "/export");
    let store = Store::open(&tmpfs.path, export).unwrap();
    let wanted = |name: &str, source| NewVolume {
        name: name.to_owned(),
        required_bytes: 0,
        limit_bytes: 0,
        on_delete: OnDelete::Delete,
        mode: None,
        pace: None,
        source,
    };
    let made = store.create_volume(wanted("db", None)).unwrap();
    let handle = store.export().volume_handle(&made.name, made.on_delete);
    fill(&tmpfs.path.join("db/disk.img"), 5);
    let free = tmpfs.free();
    let clone = wanted("clone", Some(ContentSource::Volume(handle.clone())));
    for error in [store.create_volume(clone).unwrap_err(), store.create_snapshot("snap", &handle).unwrap_err()] {
        let status = Status::from(error);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("the export is full"), "{status:?}");
        assert!(status.message().contains("LW-0986"), "{status:?}");
    }
    assert!(!tmpfs.path.join("clone").exists());
    assert_eq!(std::fs::read_dir(tmpfs.path.join(".snapshots")).unwrap().count(), 0);
    assert_eq!(tmpfs.free(), free);
    drop(store);
}
