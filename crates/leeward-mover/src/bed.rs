//! For tests: two exports at this machine, on whatever file system temporary files are, or on one that shares blocks.

use crate::disk::Disk;
use crate::place::Place;
use crate::points::Points;
use crate::send::{Manner, SendError, Sent};
use crate::sync::{Asked, sync};
use leeward_model::mover;
use leeward_model::name::{Epoch, GroupName, PointId, SiteName};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system whose files share blocks, in a file; unmounted when dropped.
pub(crate) struct Xfs {
    folder: tempfile::TempDir,
}

impl Xfs {
    const SIZE: u64 = 512 << 20;

    /// None where there can be none, which is said aloud, and is a failure where the lab is required.
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (image, top) = (folder.path().join("xfs.img"), folder.path().join("top"));
        fs::File::create(&image).unwrap().set_len(Self::SIZE).unwrap();
        fs::create_dir(&top).unwrap();
        let made = run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image));
        let mounted = made.and_then(|()| run(Command::new("mount").args(["-o", "loop"]).args([&image, &top])));
        match mounted {
            Ok(()) => Some(Self { folder }),
            Err(why) => {
                assert!(std::env::var_os("LEEWARD_REQUIRE_LAB").is_none(), "{why}");
                eprintln!("NOT RUN: this needs an XFS, root and loop devices ({why})");
                None
            }
        }
    }

    /// Two new exports on it.
    pub(crate) fn sites(&self) -> Sites {
        sites_in(tempfile::tempdir_in(self.folder.path().join("top")).unwrap())
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        if let Err(why) = run(Command::new("umount").arg(self.folder.path().join("top"))) {
            eprintln!("an XFS stays mounted: {why}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Err(error) => Err(format!("{command:?}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

pub(crate) struct Sites {
    folder: tempfile::TempDir,
    pub(crate) east: Disk,
    pub(crate) west: Disk,
    pub(crate) points: Points<Disk>,
}

pub(crate) fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

pub(crate) fn sites() -> Sites {
    sites_in(tempfile::tempdir().unwrap())
}

fn sites_in(folder: tempfile::TempDir) -> Sites {
    for name in ["east", "west"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let open = |name: &str| Disk::open_folder(&folder.path().join(name)).unwrap();
    let points = Points::new(open("west"), place(".leeward/points"), "boot".to_owned());
    Sites { east: open("east"), west: open("west"), points, folder }
}

impl Sites {
    pub(crate) fn east(&self, path: &str) -> PathBuf {
        self.folder.path().join("east").join(path)
    }

    pub(crate) fn west(&self, path: &str) -> PathBuf {
        self.folder.path().join("west").join(path)
    }

    pub(crate) fn sync(&self, request: &mover::Sync) -> Result<Sent, SendError> {
        sync(&self.east, &&self.points, Asked::parse(request)?, &Manner::QUIET)
    }
}

pub(crate) fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Turns over one bit, leaving length and times alone.
pub(crate) fn flip(path: &Path) {
    let times = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    file.set_modified(times).unwrap();
}

pub(crate) fn volume(key: &str) -> mover::SyncVolume {
    mover::SyncVolume { key: key.to_owned(), folder: format!("shop/{key}"), seed: None, about: json!({"at": key}) }
}

pub(crate) fn request(point: &str, base: Option<&str>, volumes: &[&str]) -> mover::Sync {
    mover::Sync {
        group: GroupName::parse("shop").unwrap(),
        point: PointId::parse(point).unwrap(),
        base: base.map(|base| PointId::parse(base).unwrap()),
        from: SiteName::parse("east").unwrap(),
        to: SiteName::parse("west").unwrap(),
        epoch: Epoch(1),
        volumes: volumes.iter().map(|key| volume(key)).collect(),
        carried: Vec::new(),
    }
}
