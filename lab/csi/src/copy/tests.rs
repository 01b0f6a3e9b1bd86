use std::os::unix::fs::symlink;

use super::*;

/// Data at both ends of a 64 MiB file and nothing between.
fn sparse(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(b"last", (64 << 20) - 4).unwrap();
}

#[test]
fn a_sparse_file_stays_sparse_and_equal() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    sparse(&from.join("disk.img"));
    let copied = copy_tree(&from, &to).unwrap();
    assert_eq!((copied.files, copied.length), (1, 64 << 20));
    let meta = std::fs::metadata(to.join("disk.img")).unwrap();
    assert!(meta.blocks() * 512 < 1 << 20, "{} bytes are taken on disk", meta.blocks() * 512);
    assert!(std::fs::read(from.join("disk.img")).unwrap() == std::fs::read(to.join("disk.img")).unwrap());
    assert_eq!(length_of_tree(&to).unwrap(), 64 << 20);
}

#[test]
fn the_sparse_copy_reads_only_data() {
    let dir = tempfile::tempdir().unwrap();
    sparse(&dir.path().join("a"));
    let (source, target) = (File::open(dir.path().join("a")).unwrap(), File::create(dir.path().join("b")).unwrap());
    let moved = copy_data(&source, &target, 64 << 20, Path::new("a")).unwrap();
    assert!((1..1 << 20).contains(&moved), "{moved} bytes were read");
    assert!(std::fs::read(dir.path().join("a")).unwrap() == std::fs::read(dir.path().join("b")).unwrap());
}

#[test]
fn a_file_that_is_one_hole_keeps_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    File::create(from.join("empty.img")).unwrap().set_len(1 << 30).unwrap();
    copy_tree(&from, &to).unwrap();
    assert_eq!(std::fs::metadata(to.join("empty.img")).unwrap().len(), 1 << 30);
}

#[test]
fn links_modes_and_times_are_kept_and_symlinks_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir_all(from.join("sub/deep")).unwrap();
    std::fs::write(dir.path().join("outside"), "secret").unwrap();
    std::fs::write(from.join("sub/one"), "1").unwrap();
    std::fs::hard_link(from.join("sub/one"), from.join("two")).unwrap();
    symlink("../outside", from.join("leak")).unwrap();
    std::fs::set_permissions(from.join("sub/deep"), Permissions::from_mode(0o1751)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    File::open(from.join("sub/one")).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    rustix::fs::mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();

    copy_tree(&from, &to).unwrap();
    assert_eq!(std::fs::read_link(to.join("leak")).unwrap(), Path::new("../outside"));
    let (one, two) = (std::fs::metadata(to.join("sub/one")).unwrap(), std::fs::metadata(to.join("two")).unwrap());
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));
    assert_ne!(one.ino(), std::fs::metadata(from.join("two")).unwrap().ino());
    assert_eq!(one.modified().unwrap(), old);
    assert_eq!(std::fs::metadata(to.join("sub/deep")).unwrap().mode() & 0o7777, 0o1751);
    assert!(!std::fs::symlink_metadata(to.join("pipe")).unwrap().is_file());
}

#[test]
fn a_folder_that_is_a_symlink_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/etc", dir.path().join("from")).unwrap();
    let error = copy_tree(&dir.path().join("from"), &dir.path().join("to")).unwrap_err();
    assert!(matches!(error, CopyError::Read { .. }), "{error:?}");
    assert!(!dir.path().join("to").exists());
}

#[test]
fn what_is_there_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("from")).unwrap();
    std::fs::create_dir(dir.path().join("to")).unwrap();
    assert!(copy_tree(&dir.path().join("from"), &dir.path().join("to")).is_err());
}
