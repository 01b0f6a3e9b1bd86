use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::*;
use crate::handle::OnDelete;
use crate::pace::Pace;
use crate::record::ContentSource;

struct Lab {
    dir: tempfile::TempDir,
    store: Option<Store>,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(open(dir.path()).unwrap());
        Lab { dir, store }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn restart(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path()).unwrap());
    }

    fn volume(&self, name: &str) -> String {
        let made = self.store().create_volume(wanted(name)).unwrap();
        self.store().export().volume_handle(&made.name, made.on_delete)
    }

    fn snapshot(&self, name: &str, of: &str) -> String {
        let made = self.store().create_snapshot(name, of).unwrap();
        self.store().export().snapshot_handle(&made.name, made.source_name.as_str())
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.dir.path().join(path), content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn names(&self, filter: &SnapshotFilter, limit: usize, token: &str) -> (Vec<String>, String) {
        let page = self.store().list_snapshots(filter, limit, token).unwrap();
        (page.snapshots.iter().map(|snapshot| snapshot.name.to_string()).collect(), page.next)
    }
}

fn open(root: &Path) -> Result<Store, StoreError> {
    Store::open(root, Export::new("10.77.0.1", "/export"))
}

fn wanted(name: &str) -> NewVolume {
    NewVolume {
        name: name.to_owned(),
        required_bytes: 1 << 20,
        limit_bytes: 0,
        on_delete: OnDelete::Delete,
        mode: None,
        pace: None,
        source: None,
    }
}

fn code<T>(result: Result<T, StoreError>) -> Code {
    result.err().map_or(Code::Ok, |error| Status::from(error).code())
}

#[test]
fn a_snapshot_is_a_moment_and_a_volume_from_it_has_that_content() {
    let lab = Lab::new();
    let volume = lab.volume("db");
    lab.write("db/disk.img", "before");
    let snapshot = lab.snapshot("snap", &volume);
    lab.write("db/disk.img", "after");
    let from = |source| NewVolume { source: Some(source), ..wanted("restored") };
    let restored = lab.store().create_volume(from(ContentSource::Snapshot(snapshot))).unwrap();
    assert_eq!(lab.read("restored/disk.img"), "before");
    assert_eq!(lab.read(".snapshots/snap/disk.img"), "before");
    assert_eq!(restored.capacity_bytes, 1 << 20);
    let clone = NewVolume { name: "clone".to_owned(), ..from(ContentSource::Volume(volume)) };
    lab.store().create_volume(clone).unwrap();
    assert_eq!(lab.read("clone/disk.img"), "after");
}

#[test]
fn a_copy_takes_the_time_that_it_is_given() {
    let lab = Lab::new();
    let volume = lab.volume("db");
    let pace = Some(Pace::parse("1").unwrap());
    let timed = |name: &str, source| {
        let began = Instant::now();
        lab.store().create_volume(NewVolume { pace, source, ..wanted(name) }).unwrap();
        began.elapsed()
    };
    let copy = Some(ContentSource::Snapshot(lab.snapshot("snap", &volume)));
    assert!(timed("copy", copy) >= Duration::from_secs(1));
}

#[test]
fn repeats_are_answered_and_other_wishes_refused_also_after_a_restart() {
    let mut lab = Lab::new();
    let volume = lab.volume("db");
    lab.write("db/disk.img", "data");
    let other = lab.volume("other");
    let snapshot = lab.store().create_snapshot("snap", &volume).unwrap();
    for _ in 0..2 {
        let store = lab.store();
        assert_eq!(store.create_volume(wanted("db")).unwrap().capacity_bytes, 1 << 20);
        assert_eq!(code(store.create_volume(NewVolume { required_bytes: 1, ..wanted("db") })), Code::Ok);
        assert_eq!(
            code(store.create_volume(NewVolume { required_bytes: 2 << 20, ..wanted("db") })),
            Code::AlreadyExists
        );
        let smaller = NewVolume { required_bytes: 1, limit_bytes: 2, ..wanted("db") };
        assert_eq!(code(store.create_volume(smaller)), Code::AlreadyExists);
        let filled = NewVolume { source: Some(ContentSource::Volume(other.clone())), ..wanted("db") };
        assert_eq!(code(store.create_volume(filled)), Code::AlreadyExists);
        let kept = NewVolume { on_delete: OnDelete::Retain, ..wanted("db") };
        assert_eq!(code(store.create_volume(kept)), Code::AlreadyExists);
        assert_eq!(lab.read("db/disk.img"), "data");

        assert_eq!(store.create_snapshot("snap", &volume).unwrap(), snapshot, "the same, with its first time");
        assert_eq!(code(store.create_snapshot("snap", &other)), Code::AlreadyExists);
        lab.restart();
    }
}

#[test]
fn deleting_twice_and_deleting_what_cannot_exist_is_no_error() {
    let lab = Lab::new();
    let volume = lab.volume("db");
    let snapshot = lab.snapshot("snap", &volume);
    for _ in 0..2 {
        lab.store().delete_volume(&volume).unwrap();
        lab.store().delete_snapshot(&snapshot).unwrap();
    }
    assert!(!lab.dir.path().join("db").exists());
    assert!(!lab.dir.path().join(".snapshots/snap").exists());
    assert_eq!(std::fs::read_dir(lab.dir.path().join(".csi/tmp")).unwrap().count(), 0);
    lab.store().delete_volume("fake-vol-id").unwrap();
    lab.store().delete_snapshot("fake-snap-id").unwrap();
    assert_eq!(code(lab.store().create_snapshot("snap", &volume)), Code::NotFound);
    let from = NewVolume { source: Some(ContentSource::Snapshot(snapshot)), ..wanted("restored") };
    assert_eq!(code(lab.store().create_volume(from)), Code::NotFound);
    assert!(!lab.dir.path().join("restored").exists());
}

#[test]
fn what_is_of_another_export_is_neither_deleted_nor_called_missing() {
    let lab = Lab::new();
    lab.volume("db");
    let elsewhere = "10.77.0.2#vault#db##";
    assert_eq!(code(lab.store().delete_volume(elsewhere)), Code::InvalidArgument);
    assert_eq!(code(lab.store().create_snapshot("snap", elsewhere)), Code::InvalidArgument);
    assert_eq!(code(lab.store().delete_snapshot("10.77.0.2#vault#s#s#db")), Code::InvalidArgument);
    assert!(lab.dir.path().join("db").exists());
}

#[test]
fn names_and_handles_cannot_leave_the_export() {
    let lab = Lab::new();
    let outside = tempfile::tempdir().unwrap();
    for name in ["..", ".", ".snapshots", "a/b", "../x", "/etc", ""] {
        assert_eq!(code(lab.store().create_volume(wanted(name))), Code::InvalidArgument, "{name:?}");
        assert_eq!(code(lab.store().create_snapshot(name, "x")), Code::InvalidArgument, "{name:?}");
    }
    for name in ["..", ".snapshots", "a/../..", "."] {
        let handle = format!("10.77.0.1#export#{name}##");
        lab.store().delete_volume(&handle).unwrap();
        assert_eq!(code(lab.store().create_snapshot("snap", &handle)), Code::NotFound, "{name:?}");
    }
    // A client of the export puts a link where a volume would be.
    std::os::unix::fs::symlink(outside.path(), lab.dir.path().join("link")).unwrap();
    std::fs::write(outside.path().join("precious"), "x").unwrap();
    assert_eq!(code(lab.store().create_snapshot("snap", "10.77.0.1#export#link##")), Code::NotFound);
    lab.store().delete_volume("10.77.0.1#export#link##").unwrap();
    assert!(outside.path().join("precious").exists());
}

#[test]
fn a_folder_brought_by_others_is_a_volume_but_is_not_given_away() {
    let lab = Lab::new();
    std::fs::create_dir(lab.dir.path().join("moved")).unwrap();
    lab.write("moved/disk.img", "12345");
    let snapshot = lab.store().create_snapshot("snap", "10.77.0.1#export#moved##").unwrap();
    assert_eq!(snapshot.size_bytes, 5);
    assert_eq!(code(lab.store().create_volume(wanted("moved"))), Code::AlreadyExists);
    assert_eq!(lab.read("moved/disk.img"), "12345");
    lab.store().delete_volume("10.77.0.1#export#moved##").unwrap();
    assert!(!lab.dir.path().join("moved").exists());
}

#[test]
fn a_volume_is_at_least_as_large_as_its_source() {
    let lab = Lab::new();
    let volume = lab.volume("db");
    let source = Some(ContentSource::Snapshot(lab.snapshot("snap", &volume)));
    let from = |required_bytes, limit_bytes| NewVolume {
        required_bytes,
        limit_bytes,
        source: source.clone(),
        ..wanted("new")
    };
    assert_eq!(code(lab.store().create_volume(from((1 << 20) - 1, 0))), Code::OutOfRange);
    assert_eq!(code(lab.store().create_volume(from(0, 1))), Code::OutOfRange);
    assert_eq!(code(lab.store().create_volume(from(2, 1))), Code::OutOfRange);
    assert_eq!(lab.store().create_volume(from(0, 0)).unwrap().capacity_bytes, 1 << 20);
}

#[test]
fn a_retained_volume_keeps_its_folder() {
    let lab = Lab::new();
    let kept = lab.store().create_volume(NewVolume { on_delete: OnDelete::Retain, ..wanted("kept") }).unwrap();
    lab.store().delete_volume(&lab.store().export().volume_handle(&kept.name, kept.on_delete)).unwrap();
    assert!(lab.dir.path().join("kept").exists());
}

#[test]
fn lists_are_paged_filtered_and_survive_deletions_between_pages() {
    let lab = Lab::new();
    let (one, two) = (lab.volume("one"), lab.volume("two"));
    for name in ["a", "b", "c"] {
        lab.snapshot(name, &one);
    }
    let last = lab.snapshot("d", &two);
    let all = SnapshotFilter::default();
    assert_eq!(lab.names(&all, 0, ""), (vec!["a".into(), "b".into(), "c".into(), "d".into()], String::new()));
    assert_eq!(lab.names(&all, 4, "").1, "", "nothing is left");
    let (page, next) = lab.names(&all, 2, "");
    assert_eq!(page, ["a", "b"]);
    lab.store().delete_snapshot("10.77.0.1#export#b#b#one").unwrap();
    assert_eq!(lab.names(&all, 0, &next).0, ["c", "d"]);
    assert_eq!(code(lab.store().list_snapshots(&all, 0, "17")), Code::Aborted);

    let of = |source: &str| SnapshotFilter { source: Some(source.to_owned()), ..SnapshotFilter::default() };
    assert_eq!(lab.names(&of(&one), 0, "").0, ["a", "c"]);
    assert_eq!(lab.names(&of(&one), 1, "").0, ["a"]);
    assert!(lab.names(&of("fake"), 0, "").0.is_empty());
    let this = |handle: &str| SnapshotFilter { snapshot: Some(handle.to_owned()), ..SnapshotFilter::default() };
    assert_eq!(lab.names(&this(&last), 0, "").0, ["d"]);
    assert!(lab.names(&this("fake"), 0, "").0.is_empty());
    assert!(lab.names(&this("10.77.0.2#vault#d#d#two"), 0, "").0.is_empty());
}

#[test]
fn who_comes_while_another_works_is_told_to_come_again() {
    let lab = Lab::new();
    let volume = lab.volume("db");
    let held = lab.store().read_volume(&EntryName::parse("db").unwrap()).unwrap();
    assert_eq!(code(lab.store().delete_volume(&volume)), Code::Aborted, "a copy is being read from it");
    assert_eq!(code(lab.store().create_snapshot("snap", &volume)), Code::Ok, "two may read");
    drop(held);
    lab.store().delete_volume(&volume).unwrap();
}

#[test]
fn parallel_requests_for_one_name_make_one_volume() {
    let lab = Lab::new();
    let source = lab.volume("source");
    lab.write("source/disk.img", "data");
    let codes: Vec<Code> = std::thread::scope(|scope| {
        let request = || {
            let from = NewVolume { source: Some(ContentSource::Volume(source.clone())), ..wanted("copy") };
            code(lab.store().create_volume(from))
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(request)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|code| matches!(code, Code::Ok | Code::Aborted)), "{codes:?}");
    assert!(codes.contains(&Code::Ok));
    assert_eq!(lab.read("copy/disk.img"), "data");
}

#[test]
fn what_a_killed_driver_left_is_cleared_and_not_taken_for_data() {
    let mut lab = Lab::new();
    let volume = lab.volume("db");
    lab.snapshot("gone", &volume);
    // Killed in the middle of a copy, before a rename, and between the two halves of a deletion.
    std::fs::create_dir_all(lab.dir.path().join(".csi/tmp/half/sub")).unwrap();
    std::fs::remove_dir_all(lab.dir.path().join(".snapshots/gone")).unwrap();
    std::fs::remove_dir_all(lab.dir.path().join("db")).unwrap();
    assert!(lab.names(&SnapshotFilter::default(), 0, "").0.is_empty());
    lab.restart();
    for left in [".csi/tmp/half", ".csi/volumes/db.json", ".csi/snapshots/gone.json"] {
        assert!(!lab.dir.path().join(left).exists(), "{left}");
    }
    lab.volume("db");
}

#[test]
fn a_folder_in_the_way_of_a_snapshot_never_passes_for_one() {
    let lab = Lab::new();
    let volume = lab.volume("db");
    lab.write("db/disk.img", "data");
    std::fs::create_dir(lab.dir.path().join(".snapshots/snap")).unwrap();
    // The second time, nothing the first one left may make it look like a repeat.
    for _ in 0..2 {
        assert_eq!(code(lab.store().create_snapshot("snap", &volume)), Code::AlreadyExists);
    }
    assert!(lab.names(&SnapshotFilter::default(), 0, "").0.is_empty());

    // It came while the copy was being made.
    let name = EntryName::parse("snap").unwrap();
    let taken = lab.store().create_snapshot("other", &volume).unwrap();
    let staging = lab.store().staging();
    std::fs::create_dir(&staging.path).unwrap();
    let place = lab.store().snapshot_path(&name);
    let published = lab.store().publish(staging, &place, &lab.store().snapshots, &name, &taken);
    assert_eq!(code(published), Code::Internal);
    assert_eq!(lab.store().snapshots.load(&name).unwrap(), None);
    assert_eq!(std::fs::read_dir(lab.dir.path().join(".csi/tmp")).unwrap().count(), 0);
}

#[test]
fn an_export_is_served_once() {
    let mut lab = Lab::new();
    assert!(matches!(open(lab.dir.path()), Err(StoreError::Served { .. })));
    lab.restart();
    let missing = lab.dir.path().join("missing");
    assert!(matches!(open(&missing), Err(StoreError::Open { .. })));
}

#[test]
fn the_drivers_own_folders_may_not_lead_elsewhere() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), dir.path().join(".snapshots")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Open { .. })));
}

#[test]
fn a_group_is_one_moment_of_several_volumes() {
    let lab = Lab::new();
    let (one, two) = (lab.volume("one"), lab.volume("two"));
    lab.write("one/disk.img", "1");
    lab.write("two/disk.img", "1");
    let group = lab.store().create_group("g", &[two.clone(), one.clone()]).unwrap();
    let of = |group: &Group| group.snapshots.iter().map(|s| s.source_name.to_string()).collect::<Vec<_>>();
    assert_eq!(of(&group), ["one", "two"]);
    assert!(group.snapshots.iter().all(|s| s.created == group.record.created));
    lab.write("one/disk.img", "2");
    assert_eq!(lab.read(".snapshots/g-0/disk.img"), "1");

    // Asked for again, it is what it was; of other volumes it is none.
    assert_eq!(lab.store().create_group("g", &[one.clone(), two.clone()]).unwrap(), group);
    assert_eq!(code(lab.store().create_group("g", std::slice::from_ref(&one))), Code::AlreadyExists);
    assert_eq!(code(lab.store().create_group("h", &[one.clone(), "fake".into()])), Code::NotFound);
    assert_eq!(lab.names(&SnapshotFilter::default(), 0, "").0, ["g-0", "g-1"], "a half group leaves nothing");

    // A volume is made from one of its snapshots, as from any.
    let handle =
        |s: &crate::record::SnapshotRecord| lab.store().export().snapshot_handle(&s.name, s.source_name.as_str());
    let members: Vec<_> = group.snapshots.iter().map(handle).collect();
    let from = NewVolume { source: Some(ContentSource::Snapshot(members[0].clone())), ..wanted("restored") };
    lab.store().create_volume(from).unwrap();
    assert_eq!(lab.read("restored/disk.img"), "1");

    let id = lab.store().export().group_handle(&group.record.name);
    assert_eq!(lab.store().find_group(&id, &members).unwrap(), group);
    assert_eq!(code(lab.store().find_group(&id, &members[..1])), Code::InvalidArgument);
    assert_eq!(code(lab.store().delete_snapshot(&members[0])), Code::InvalidArgument, "never by itself");
    assert_eq!(code(lab.store().delete_group(&id, &members[..1])), Code::InvalidArgument);
    for _ in 0..2 {
        lab.store().delete_group(&id, &members).unwrap();
    }
    assert!(lab.names(&SnapshotFilter::default(), 0, "").0.is_empty());
    assert_eq!(code(lab.store().find_group(&id, &[])), Code::NotFound);
}

#[test]
fn volumes_that_are_written_to_without_a_pause_are_no_moment() {
    let lab = Lab::new();
    let (one, two) = (lab.volume("one"), lab.volume("two"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let path = lab.dir.path().join("two/disk.img");
    let taken = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = File::create(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut file, b"x").unwrap();
            }
        });
        // Not before the first byte.
        while std::fs::metadata(&path).map_or(0, |meta| meta.len()) == 0 {
            std::thread::yield_now();
        }
        // On a busy machine the writer may pause after all, and that is a moment.
        let volumes = [one, two];
        let take = |number: u32| (number, lab.store().create_group(&format!("g{number}"), &volumes));
        let taken = (0..1000).map(take).find(|(_, taken)| taken.is_err());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        taken
    });
    let (number, taken) = taken.expect("1000 moments while somebody writes");
    assert_eq!(code(taken), Code::Aborted);
    let failed = format!("g{number}-");
    assert!(!lab.names(&SnapshotFilter::default(), 0, "").0.iter().any(|name| name.starts_with(&failed)));
    assert_eq!(std::fs::read_dir(lab.dir.path().join(".csi/tmp")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_driver_took_for_a_group_it_did_not_complete_goes() {
    let mut lab = Lab::new();
    let volumes = [lab.volume("one"), lab.volume("two")];
    lab.store().create_group("whole", &volumes).unwrap();
    lab.store().create_group("half", &volumes).unwrap();
    std::fs::remove_file(lab.dir.path().join(".csi/groups/half.json")).unwrap();
    lab.restart();
    assert_eq!(lab.names(&SnapshotFilter::default(), 0, "").0, ["whole-0", "whole-1"]);
}
