use super::*;
use crate::disk::Disk;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

fn export() -> (tempfile::TempDir, PathBuf, Disk) {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("shop/pv-1");
    fs::create_dir_all(&volume).unwrap();
    let disk = Disk::open_folder(folder.path()).unwrap();
    (folder, volume, disk)
}

fn walked(disk: &Disk) -> Result<Walked, VolumeError> {
    walk(disk, "pv-1", &place("shop/pv-1"))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn files_at_any_depth_and_of_any_name_are_found_and_what_is_staged_is_not() {
    let (_folder, volume, disk) = export();
    for file in ["disk.img", "a b\n'$(x)/ü/deep", ".hidden", "empty", "x/.leeward-present/kept"] {
        write(&volume.join(file), if file == "empty" { b"" } else { b"bytes" });
    }
    write(&volume.join(".leeward-present/1"), b"staged");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o2775)).unwrap();
    let found = walked(&disk).unwrap();
    let names: Vec<&str> = found.files.keys().map(Place::as_str).collect();
    assert_eq!(names, [".hidden", "a b\n'$(x)/ü/deep", "disk.img", "empty", "x/.leeward-present/kept"]);
    assert_eq!(found.files[&place("empty")].identity.size, 0);
    assert_eq!(found.owner.mode, 0o2775);
    assert_eq!(found.folders.len(), 4);
    assert!(found.allocated() >= 5 && found.last_written().unwrap() > 1_700_000_000);
}

#[test]
fn what_cannot_be_replicated_is_named() {
    let (folder, volume, disk) = export();
    assert!(matches!(walked(&disk), Err(VolumeError::Empty { .. })));
    fs::create_dir(volume.join("x")).unwrap();
    assert!(matches!(walked(&disk), Err(VolumeError::Empty { .. })), "folders alone are no data");
    let absent = walk(&disk, "pv-2", &place("shop/pv-2"));
    assert!(matches!(absent, Err(VolumeError::Absent { ref volume, .. }) if volume == "pv-2"), "{absent:?}");
    write(&volume.join("x/disk.img"), b"1");
    let through = walk(&disk, "pv-1", &place("shop/pv-1/x/disk.img"));
    assert!(matches!(through, Err(VolumeError::NotAFile { .. })), "{through:?}");
    symlink("disk.img", volume.join("x/link")).unwrap();
    let link = walked(&disk);
    assert!(matches!(link, Err(VolumeError::NotAFile { ref file, .. }) if file == "x/link"), "{link:?}");
    fs::remove_file(volume.join("x/link")).unwrap();
    symlink("/etc", volume.join("x/.leeward-present")).unwrap();
    assert!(matches!(walked(&disk), Err(VolumeError::NotAFile { .. })));
    fs::remove_file(volume.join("x/.leeward-present")).unwrap();
    let not_utf8 = volume.join(std::ffi::OsStr::from_bytes(b"x/\xff"));
    write(&not_utf8, b"1");
    assert!(matches!(walked(&disk), Err(VolumeError::NotAFile { .. })));
    fs::remove_file(not_utf8).unwrap();
    walked(&disk).unwrap();
    symlink(&volume, folder.path().join("shop/link")).unwrap();
    let linked = walk(&disk, "pv-1", &place("shop/link"));
    assert!(matches!(linked, Err(VolumeError::NotAFile { .. })), "{linked:?}");
}

#[test]
fn whatever_changes_while_a_volume_is_read_is_found() {
    let (_folder, volume, disk) = export();
    write(&volume.join("a"), b"1");
    write(&volume.join("b"), b"2");
    let changes: [(&dyn Fn(), &str); 5] = [
        (&|| fs::write(volume.join("a"), b"longer").unwrap(), "a"),
        (&|| fs::set_permissions(volume.join("b"), fs::Permissions::from_mode(0o600)).unwrap(), "b"),
        (&|| write(&volume.join("c"), b"new"), "c"),
        (&|| fs::remove_file(volume.join("a")).unwrap(), "a"),
        (&|| fs::remove_dir_all(&volume).unwrap(), "b"),
    ];
    for (change, named) in changes {
        let before = walked(&disk).unwrap();
        recheck(&disk, [&before]).unwrap();
        change();
        let found = recheck(&disk, [&before]);
        assert!(matches!(found, Err(VolumeError::Changed { ref file, .. }) if file == named), "{named}: {found:?}");
    }
}
