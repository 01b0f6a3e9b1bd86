use super::*;
use crate::layer::read_exact_at;
use std::os::unix::fs::symlink;

fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

fn folder() -> (tempfile::TempDir, Disk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open_folder(folder.path()).unwrap();
    (folder, disk)
}

#[test]
fn bytes_and_holes_come_back() {
    let (_folder, disk) = folder();
    let file = disk.create(&place("a")).unwrap();
    file.set_size(3 << 20).unwrap();
    file.write_at(1 << 20, &[7; 5000]).unwrap();
    assert_eq!(file.size().unwrap(), 3 << 20);
    let data = file.next_data(0).unwrap().unwrap();
    assert!(data.start <= 1 << 20 && data.end >= (1 << 20) + 5000, "{data:?}");
    let before = file.identity().unwrap();
    file.zero((1 << 20)..(8 << 20)).unwrap();
    assert_eq!(file.size().unwrap(), 3 << 20, "a hole does not make it longer");
    let mut bytes = [1; 5000];
    read_exact_at(&file, 1 << 20, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 5000]);
    assert_eq!(file.next_data(0).unwrap(), None);
    assert_ne!(file.identity().unwrap(), before);
    assert_eq!(read_exact_at(&file, (3 << 20) - 1, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn no_path_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    let (folder, disk) = folder();
    symlink(outside.path(), folder.path().join("link")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    for path in ["link/secret", "file"] {
        assert!(disk.open(&place(path)).is_err(), "{path}");
    }
    assert!(disk.create(&place("link/new")).is_err());
    assert!(disk.create_folder(&place("link")).is_err());
    assert!(disk.list(&place("link")).is_err());
    assert!(disk.rename(&place("file"), &place("link/file")).is_err());
    disk.remove(&place("link")).unwrap();
    assert!(outside.path().join("secret").exists() && !folder.path().join("link").exists());
}

#[test]
fn folders_are_made_listed_renamed_and_removed() {
    let (folder, disk) = folder();
    for _ in 0..2 {
        disk.create_folder(&place("a")).unwrap();
        disk.create_folder(&place("a/b")).unwrap();
    }
    drop(disk.create(&place("a/b/c")).unwrap());
    assert_eq!(disk.create(&place("a/b/c")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    symlink("b/c", folder.path().join("a/l")).unwrap();
    let listed = disk.list(&place("a")).unwrap();
    assert_eq!(listed, [("b".to_owned(), Kind::Folder), ("l".to_owned(), Kind::Other)]);
    disk.rename(&place("a"), &place("z")).unwrap();
    disk.sync_folder(&place("z")).unwrap();
    assert!(disk.list(&place("a")).unwrap().is_empty());
    for _ in 0..2 {
        disk.remove(&place("z")).unwrap();
    }
    assert!(!folder.path().join("z").exists());
}

#[test]
fn what_is_no_file_is_not_opened() {
    let (folder, disk) = folder();
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), FileType::Fifo, FILE_MODE, 0).unwrap();
    disk.create_folder(&place("folder")).unwrap();
    for path in ["pipe", "folder"] {
        assert!(disk.open(&place(path)).is_err(), "{path}");
    }
    assert_eq!(disk.open(&place("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_clone_has_the_bytes_or_says_that_there_are_none() {
    let (_folder, disk) = folder();
    disk.create(&place("a")).unwrap().write_at(0, b"bytes").unwrap();
    match disk.clone_file(&place("a"), &place("b")) {
        Ok(()) => {
            let mut bytes = [0; 5];
            read_exact_at(&disk.open(&place("b")).unwrap(), 0, &mut bytes).unwrap();
            assert_eq!(&bytes, b"bytes");
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert_eq!(disk.open(&place("b")).unwrap_err().kind(), io::ErrorKind::NotFound, "nothing is left over");
        }
    }
}

#[test]
fn an_owner_s_permissions_come_along_and_no_more() {
    let (_folder, disk) = folder();
    let file = disk.create(&place("a")).unwrap();
    let owner = file.owner().unwrap();
    file.set_owner(Owner { mode: 0o4660, ..owner }).unwrap();
    assert_eq!(file.owner().unwrap(), Owner { mode: 0o660, ..owner });
}

#[test]
fn a_folder_s_owner_comes_along_without_its_files() {
    let (_folder, disk) = folder();
    disk.create_folder(&place("a")).unwrap();
    drop(disk.create(&place("a/b")).unwrap());
    let owner = disk.folder_owner(&place("a")).unwrap();
    disk.set_folder_owner(&place("a"), Owner { mode: 0o4775 | 0o2000, ..owner }).unwrap();
    assert_eq!(disk.folder_owner(&place("a")).unwrap(), Owner { mode: 0o2775, ..owner });
    assert_eq!(disk.open(&place("a/b")).unwrap().owner().unwrap().mode, 0o640);
    assert_eq!(disk.folder_owner(&place("a/b")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    assert_eq!(disk.folder_owner(&place("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_folder_is_held_alone_or_together() {
    let (_folder, disk) = folder();
    disk.create_folder(&place("a")).unwrap();
    let lock = |hold| disk.lock(&place("a"), hold).unwrap();
    let (one, two) = (lock(Hold::Shared).unwrap(), lock(Hold::Shared).unwrap());
    assert!(lock(Hold::Alone).is_none());
    drop((one, two));
    let alone = lock(Hold::Alone).unwrap();
    assert!(lock(Hold::Shared).is_none() && lock(Hold::Alone).is_none());
    disk.rename(&place("a"), &place("b")).unwrap();
    assert!(disk.lock(&place("b"), Hold::Shared).unwrap().is_none(), "it is the folder that is held, not its name");
    drop(alone);
    assert!(disk.lock(&place("b"), Hold::Alone).unwrap().is_some());
    assert_eq!(disk.lock(&place("a"), Hold::Alone).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_second_name_is_the_same_file_and_holes_take_up_nothing() {
    let (_folder, disk) = folder();
    let file = disk.create(&place("a")).unwrap();
    file.set_size(10 << 20).unwrap();
    file.write_at(0, &[1; 5000]).unwrap();
    file.sync().unwrap();
    disk.link(&place("a"), &place("b")).unwrap();
    assert_eq!(disk.link(&place("a"), &place("b")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.open_to_read(&place("b")).unwrap().identity().unwrap().inode, file.identity().unwrap().inode);
    assert!((5000..1 << 20).contains(&file.allocated().unwrap()));
    assert!(disk.free().unwrap() > 0);
    let read = disk.open_to_read(&place("a")).unwrap();
    assert!(read.write_at(0, b"x").is_err(), "what is opened to be read is not written");
}
