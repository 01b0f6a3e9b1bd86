//! Two file systems that share blocks among files, one for each site, in files of a folder.

use crate::binaries::must;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that each file system believes to have; its file takes only what is written.
const SIZE: u64 = 256 << 30;

/// Mounted until it is dropped.
pub(super) struct Scratch {
    folder: PathBuf,
    /// The site that is read.
    pub(super) east: PathBuf,
    /// The site that gets points and copies.
    pub(super) west: PathBuf,
}

impl Scratch {
    /// Makes both below `folder`; what a run before left there is unmounted and overwritten.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("file systems are made and mounted: run it as root");
        }
        fs_err::create_dir_all(folder)?;
        let folder = fs_err::canonicalize(folder)?;
        let [east, west] = ["east", "west"].map(|site| folder.join(site));
        let scratch = Self { folder, east, west };
        scratch.unmount()?;
        for mount in [&scratch.east, &scratch.west] {
            let image = mount.with_extension("xfs");
            fs_err::create_dir_all(mount)?;
            fs_err::File::create(&image)?.set_len(SIZE)?;
            let mut make = Command::new("mkfs.xfs");
            must(make.args(["-q", "-f", "-m", "reflink=1"]).arg(&image))
                .context("mkfs.xfs is of the package xfsprogs")?;
            // The files below are not to be cached twice.
            let attached = Command::new("losetup").args(["--direct-io=on", "--find", "--show"]).arg(&image).output()?;
            if !attached.status.success() {
                bail!("losetup {}: {}", image.display(), String::from_utf8_lossy(&attached.stderr).trim());
            }
            let device = String::from_utf8(attached.stdout)?;
            let mounted = must(Command::new("mount").args(["-o", "discard", device.trim()]).arg(mount));
            // From now on it lasts as long as it is mounted, or goes at once.
            must(Command::new("losetup").args(["--detach", device.trim()]))?;
            mounted?;
        }
        Ok(scratch)
    }

    fn unmount(&self) -> Result<()> {
        let mounts = fs_err::read_to_string("/proc/self/mounts")?;
        for mount in [&self.east, &self.west] {
            let is_there = |line: &str| line.split(' ').nth(1).is_some_and(|place| Path::new(place) == mount.as_path());
            if mounts.lines().any(is_there) {
                must(Command::new("umount").arg(mount))?;
            }
        }
        Ok(())
    }

    /// A folder at a site, made if it is not there.
    pub(super) fn folder(site: &Path, name: &str) -> Result<PathBuf> {
        let folder = site.join(name);
        fs_err::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let gone = self.unmount();
        if let Err(error) = gone.and_then(|()| Ok(fs_err::remove_dir_all(&self.folder)?)) {
            eprintln!("{} is left over: {error:#}", self.folder.display());
        }
    }
}
