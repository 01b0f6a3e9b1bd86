//! What the mover's time is spent on: a run of its own under strace(1), which counts how long each system call took.
//!
//! Tracing slows each call down by some microseconds, so the run is not one of those that are timed, and its shares are of
//! its own time. What no call accounts for is the program's own work: hashing and comparing, encryption.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// System calls by what they are for. The waiting of one thread for another is nobody's work.
const KINDS: [(&str, &[&str]); 4] = [
    ("read", &["pread64", "read", "lseek", "preadv", "io_uring_enter"]),
    (
        "write",
        &[
            "pwrite64",
            "write",
            "fallocate",
            "ftruncate",
            "fsync",
            "fdatasync",
            "ioctl",
            "rename",
            "renameat",
            "unlinkat",
        ],
    ),
    ("link", &["sendto", "recvfrom", "sendmsg", "recvmsg", "writev", "readv"]),
    ("waiting", &["futex", "epoll_wait", "clock_nanosleep", "poll", "wait4"]),
];

/// Wraps `command` so that its calls are counted into `log`; none if strace is not there.
pub(super) fn traced(command: &Command, log: &Path) -> Option<Command> {
    Command::new("strace").arg("--version").output().ok()?;
    let mut traced = Command::new("strace");
    traced.args(["--follow-forks", "--summary-only", "--summary-wall-clock", "--output"]).arg(log);
    traced.arg(command.get_program()).args(command.get_args());
    Some(traced)
}

/// Seconds by kind, of what strace counted in a run of `wall` seconds.
pub(super) fn counted(log: &Path, wall: f64) -> Result<Value> {
    let text = fs_err::read_to_string(log)?;
    let mut kinds = serde_json::Map::new();
    for (call, seconds) in calls(&text).context("strace counted nothing")? {
        let kind = KINDS.iter().find(|(_, calls)| calls.contains(&call)).map_or("other calls", |(kind, _)| kind);
        let sum = kinds.get(kind).and_then(Value::as_f64).unwrap_or_default();
        kinds.insert(kind.to_owned(), json!(sum + seconds));
    }
    kinds.insert("wall".to_owned(), json!(wall));
    Ok(Value::Object(kinds))
}

/// `% time, seconds, usecs/call, calls, errors, syscall` in columns, `errors` often empty.
fn calls(text: &str) -> Option<Vec<(&str, f64)>> {
    let body = text.lines().skip_while(|line| !line.starts_with("------")).skip(1);
    let lines = body.take_while(|line| !line.starts_with("------"));
    let calls = lines.map(|line| {
        let mut words = line.split_whitespace();
        let seconds = words.nth(1)?.parse().ok()?;
        Some((words.last()?, seconds))
    });
    calls.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_s_table_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n 63.00    0.500000          19     26000           pread64\n \
            37.00    0.250000         250      1000         3 openat\n------ ----------- ----------- --------- --------- -----------\n\
            100.00    0.750000                 27000         3 total\n";
        assert_eq!(calls(text).unwrap(), [("pread64", 0.5), ("openat", 0.25)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        assert_eq!(counted(file.path(), 1.0).unwrap(), json!({"read": 0.5, "other calls": 0.25, "wall": 1.0}));
    }
}
