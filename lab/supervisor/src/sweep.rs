//! Taking a lab down, whatever state it is in.
//!
//! Laws:
//! - It finds what is left by three independent marks, so it needs no intact state: the records of processes, the lab's
//!   network namespaces, and the environment variable that every process of this lab carries.
//! - It touches nothing without one of those marks: never a process by its name, never a mount or loop device outside
//!   the root, never a network of another lab.
//! - Each part is looked for again after it was removed; done twice, the second time finds nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::error::LabError;
use crate::place::Place;
use crate::process::OWNER;
use crate::record::Record;
use crate::root::Root;
use crate::{export, network};

/// How long processes may take to end by themselves: guests write back, servers close.
const GRACE: Duration = Duration::from_secs(3);
/// How long the kernel may take to let go of what killed processes held.
const LIMIT: Duration = Duration::from_secs(20);

/// Removes everything of the lab at `root` that runs or is mounted; `true` when there was anything.
pub(crate) async fn sweep(root: &Root) -> Result<bool> {
    let found = network::find();
    found.check_owner(root)?;
    let ended = end_processes(root, &found).await?;
    // One of them may have been a command that was making the network.
    let found = network::find();
    let mounted = !export::mounts(root)?.is_empty();
    let deadline = Instant::now() + LIMIT;
    // A process that was killed may hold its mounts a moment longer.
    while let Err(error) = export::remove(root).await {
        if Instant::now() >= deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(100)).await;
    }
    network::remove(root, &found).await?;
    Ok(ended || mounted || !found.is_empty())
}

/// Ends all processes of the lab: asks them, and kills those that remain.
async fn end_processes(root: &Root, found: &network::Found) -> Result<bool> {
    let first = processes(root, found).await?;
    for record in &first {
        record.signal(Signal::TERM)?;
    }
    let asked = Instant::now();
    loop {
        // Looked for anew each time: one that was about to start another when it was asked may have done so.
        let left = processes(root, found).await?;
        if left.is_empty() {
            break;
        }
        if asked.elapsed() > LIMIT {
            let what = left.iter().map(|record| format!("pid {}", record.pid)).collect::<Vec<_>>().join(", ");
            return Err(LabError::Leftover { what, why: "it does not end even when killed".into() }.into());
        }
        if asked.elapsed() > GRACE {
            for record in &left {
                record.signal(Signal::KILL)?;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    for record in &first {
        // Takes away the remains of our own children.
        record.ended(Duration::ZERO).await?;
    }
    Ok(!first.is_empty())
}

/// All processes that bear one of the lab's marks.
async fn processes(root: &Root, found: &network::Found) -> Result<Vec<Record>> {
    let mut records = recorded(root);
    let mut pids: BTreeSet<i32> = marked(root.path()).into_iter().collect();
    for place in &found.namespaces {
        pids.extend(network::pids(root, *place).await?);
    }
    records.extend(pids.into_iter().filter_map(Record::of));
    let own = std::process::id().cast_signed();
    records.retain(|record| record.alive() && record.pid != own);
    records.sort_by_key(|record| record.pid);
    records.dedup();
    Ok(records)
}

/// The records of the lab's processes.
fn recorded(root: &Root) -> Vec<Record> {
    let folders = Place::ALL.into_iter().map(|place| root.place(place).join("pids"));
    folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Record::read(&entry.ok()?.path()))
        .collect()
}

/// Processes whose environment says that they are of the lab at `root`.
fn marked(root: &Path) -> Vec<i32> {
    let mark = [OWNER.as_bytes(), b"=", root.as_os_str().as_encoded_bytes()].concat();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            // A process that ends meanwhile has no environment any more.
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == mark))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_with_exactly_our_mark_are_found() {
        let start = |root: &str| std::process::Command::new("sleep").arg("60").env(OWNER, root).spawn().unwrap();
        let (mut ours, mut other) = (start("/tmp/leeward-lab-mark"), start("/tmp/leeward-lab-mark-2"));
        // The environment is that of the new program only once it was loaded.
        let loaded = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep");
        while !(loaded(ours.id()) && loaded(other.id())) {
            std::thread::yield_now();
        }
        let found = marked(Path::new("/tmp/leeward-lab-mark"));
        for child in [&mut ours, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(found, [ours.id().cast_signed()]);
    }
}
