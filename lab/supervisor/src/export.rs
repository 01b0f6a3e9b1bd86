//! A site's export: an XFS in a sparse file, mounted in the lab's root; with reflinks, if a lab without them was not asked for.
//!
//! XFS because a reflink makes a snapshot or a clone of a disk image in milliseconds, and because FIEMAP then tells which
//! extents are shared; the machine's own file system seldom has either.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::mount::{UnmountFlags, unmount};

use crate::place::Site;
use crate::root::Root;

/// Size of an export in bytes; the file takes only what is written.
const SIZE: u64 = 8 << 30;

fn image(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("export.img")
}

/// Makes and mounts the site's export.
pub(crate) async fn mount(root: &Root, site: Site, without_reflinks: bool) -> Result<()> {
    let (image, folder) = (image(root, site), root.export(site));
    fs_err::create_dir_all(&folder)?;
    fs_err::File::create(&image)?.set_len(SIZE)?;
    let reflink = format!("reflink={}", u8::from(!without_reflinks));
    root.run("mkfs.xfs", ["-q", "-m", &reflink, "-L", &format!("lw-{site}"), &image.display().to_string()]).await?;
    // The loop device is let go by the kernel with the mount: there is no moment at which it has no owner.
    let (image, folder) = (image.display().to_string(), folder.display().to_string());
    root.run("mount", ["-t", "xfs", "-o", "loop,noatime,discard", &image, &folder]).await?;
    Ok(())
}

/// Mount points under the root, deepest first.
pub(crate) fn mounts(root: &Root) -> Result<Vec<PathBuf>> {
    Ok(mounts_in(&fs_err::read_to_string("/proc/self/mountinfo")?, root.path()))
}

fn mounts_in(mountinfo: &str, root: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).map(PathBuf::from);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(root) && point != root).collect();
    // A later mount may lie on an earlier one, so the order of making is turned round.
    points.reverse();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    points
}

/// The kernel writes blanks, tabs, newlines and backslashes of a path as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

/// Unmounts everything under the root and frees loop devices over files in it.
pub(crate) async fn remove(root: &Root) -> Result<()> {
    for point in mounts(root)? {
        unmount(&point, UnmountFlags::empty()).map_err(|error| crate::error::LabError::Leftover {
            what: point.display().to_string(),
            why: error.to_string(),
        })?;
    }
    for line in root.run("losetup", ["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]).await?.lines() {
        if let Some((device, file)) = line.split_once(' ')
            && Path::new(&file.replace("\\x20", " ")).starts_with(root.path())
        {
            root.run("losetup", ["--detach", device]).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_others_are_left_alone_and_the_deepest_comes_first() {
        let mountinfo = "21 1 8:1 / / rw - ext4 /dev/sda rw\n\
            30 21 7:0 / /lab/east/export rw - xfs /dev/loop0 rw\n\
            31 30 7:0 / /lab/east/export/in\\040side rw - tmpfs tmpfs rw\n\
            32 21 7:1 / /laboratory/export rw - xfs /dev/loop1 rw\n";
        assert_eq!(
            mounts_in(mountinfo, Path::new("/lab")),
            [Path::new("/lab/east/export/in side"), Path::new("/lab/east/export")]
        );
    }
}
