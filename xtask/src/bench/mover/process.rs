//! Runs a program and says what it cost, together with a server that works for it.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::Serialize;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Ticks a second of the times in proc(5): `USER_HZ`, which is the same on every x86-64 and arm64.
const TICKS: f64 = 100.0;
/// How often memory is looked at; the kernel keeps the highest, so only the last moments can be missed.
const LOOK: Duration = Duration::from_millis(5);

/// What a server's process does after the client has ended is short.
const CHILDREN_END: Duration = Duration::from_secs(30);

/// What a run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cost {
    /// Seconds until the command ended.
    pub(super) wall: f64,
    /// Seconds until everything was on stable storage as well.
    pub(super) stable: f64,
    /// Seconds of processor, user and system, of both sides.
    pub(super) cpu: f64,
    /// Highest resident memory of the program, KiB.
    pub(super) resident: u64,
    /// Of the server, since it began.
    pub(super) server_resident: u64,
}

/// Runs `command`, which is to succeed; `server` works for it; `target` is on the file system that is written. Gives its stdout.
pub(super) fn run(command: &mut Command, server: Option<Pid>, target: &Path) -> Result<(String, Cost)> {
    rustix::fs::sync();
    let mut stdout = tempfile::tempfile()?;
    let mut stderr = tempfile::tempfile()?;
    let before = server.map(cpu).transpose()?.unwrap_or_default();
    let begin = Instant::now();
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("{:?} cannot be started", command.get_program()))?;
    let pid = Pid::from_child(&child);
    let ended = AtomicBool::new(false);
    let (resident, waited) = std::thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut highest = 0;
            while !ended.load(Ordering::Relaxed) {
                highest = peak(pid).max(highest);
                std::thread::sleep(LOOK);
            }
            highest
        });
        // Its times can be read until it is waited for in earnest.
        let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        ended.store(true, Ordering::Relaxed);
        (memory.join().unwrap_or_default(), waited.map(|_| begin.elapsed()))
    });
    let wall = waited?.as_secs_f64();
    let own = cpu(pid)?;
    let status = child.wait()?;
    let said = read(&mut stderr)?;
    ensure!(status.success(), "{:?} failed ({status}): {}", command.get_program(), said.trim());
    rustix::fs::syncfs(File::open(target)?)?;
    let stable = begin.elapsed().as_secs_f64();
    server.map_or(Ok(()), wait_for_children)?;
    let after = server.map(cpu).transpose()?.unwrap_or_default();
    let server_resident = server.map(peak).unwrap_or_default();
    Ok((read(&mut stdout)?, Cost { wall, stable, cpu: own + after - before, resident, server_resident }))
}

/// A server that has a process for each connection is charged with its time when that has ended, after the client.
fn wait_for_children(pid: Pid) -> Result<()> {
    let children = format!("/proc/{pid}/task/{pid}/children", pid = pid.as_raw_nonzero());
    let begin = Instant::now();
    while !fs_err::read_to_string(&children)?.trim().is_empty() {
        ensure!(begin.elapsed() < CHILDREN_END, "process {} still works", pid.as_raw_nonzero());
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn read(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Seconds of processor of a process and of its children that have ended: fields 14 to 17 of proc(5)'s `stat`.
fn cpu(pid: Pid) -> Result<f64> {
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a process without a name")?;
    let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS)
}

/// Highest resident memory so far in KiB; 0 for a process that has ended.
fn peak(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_costs_what_it_took() {
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done";
        let (said, cost) = run(Command::new("sh").args(["-c", work]), None, Path::new("/")).unwrap();
        assert_eq!(said, "done\n");
        assert!(cost.cpu > 0.0 && cost.resident > 0, "{cost:?}");
        assert!(cost.wall <= cost.stable, "{cost:?}");
        let failed = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), None, Path::new("/"));
        assert!(failed.unwrap_err().to_string().contains("why"));
    }
}
