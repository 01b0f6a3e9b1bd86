//! Who has a file open for writing, as far as this machine knows.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// A process of this machine that has the file (file system, inode) open for writing, in words.
///
/// Only what procfs shows: a client of an NFS server is not among it.
#[must_use]
pub fn of(inode: (u64, u64)) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|process: u32| {
        let writes = descriptors(process).any(|descriptor| {
            let held = fs::metadata(format!("/proc/{process}/fd/{descriptor}"));
            held.is_ok_and(|held| (held.dev(), held.ino()) == inode) && for_writing(process, &descriptor)
        });
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        writes.then(|| format!("process {process} ({})", name.trim()))
    })
}

fn descriptors(process: u32) -> impl Iterator<Item = String> {
    let folder = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    folder.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Whether the descriptor was opened for writing: proc(5), `flags` in octal, whose last two bits are the access mode.
fn for_writing(process: u32, descriptor: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}
