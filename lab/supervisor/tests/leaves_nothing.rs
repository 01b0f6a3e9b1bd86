//! The lab on the real machine: whatever happens to the one who starts it, `down` leaves nothing and `up` works.
//!
//! Needs root, and LEEWARD_LAB_INPUTS: a JSON file with the paths of the lab's programs (`leeward_lab::Inputs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use leeward_lab::OWNER;

/// Everything of the machine that a lab could leave behind.
fn machine(root: &Path) -> BTreeSet<String> {
    let lines = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(|line| format!("{program}: {line}")).collect::<Vec<_>>()
    };
    let mut seen: BTreeSet<String> = BTreeSet::new();
    // Other programs of the machine may come and go meanwhile: only what could be the lab's is looked at.
    for folder in ["/sys/class/net", "/run/netns"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with("lw-") || name.starts_with("lwbr") {
                seen.insert(format!("{folder}/{name}"));
            }
        }
    }
    let ours = |text: &String| text.contains("10.77.0.") || text.contains(root.to_str().unwrap());
    seen.extend(lines("losetup", &["--list", "--noheadings", "--output", "BACK-FILE"]).into_iter().filter(ours));
    seen.extend(lines("ip", &["-4", "-oneline", "address", "show"]).into_iter().filter(ours));
    seen.extend(lines("ip", &["-4", "route", "show"]).into_iter().filter(ours));
    seen.insert(format!("ip_forward {}", std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap()));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = |line: &&str| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(root));
    seen.extend(mounts.lines().filter(inside).map(|line| format!("mount {line}")));
    let mark = format!("{OWNER}={}", root.display());
    for entry in std::fs::read_dir("/proc").unwrap() {
        let folder = entry.unwrap().path();
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            seen.insert(format!("process {}", folder.display()));
        }
    }
    for entry in std::fs::read_dir(root).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        if name != "lock" {
            seen.insert(format!("file {}", name.display()));
        }
    }
    seen
}

struct Bench {
    root: tempfile::TempDir,
    inputs: String,
}

impl Bench {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command.args(args).env("LEEWARD_LAB", self.root.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn well(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "lab {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn up(&self) {
        self.well(&["up", &self.inputs]);
    }

    /// Starts the lab and sends the starter a signal after a while.
    fn up_interrupted(&self, after: Duration, signal: &str) {
        let mut child = self.command(&["up", &self.inputs]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success(), "the lab was up within {after:?}; interrupt it earlier");
        assert!(!child.wait().unwrap().success());
    }
}

#[test]
#[ignore = "starts the whole lab; `cargo xtask test` runs it"]
fn whatever_happens_down_leaves_nothing_and_up_works() {
    let inputs = std::env::var("LEEWARD_LAB_INPUTS").expect("LEEWARD_LAB_INPUTS names a JSON file of paths");
    let bench = Bench { root: tempfile::tempdir_in("/var/tmp").unwrap(), inputs };
    let before = machine(bench.root.path());
    let clean = |what: &str| {
        let now = machine(bench.root.path());
        let new: Vec<_> = now.difference(&before).collect();
        let gone: Vec<_> = before.difference(&now).collect();
        assert!(new.is_empty() && gone.is_empty(), "after {what}: new {new:#?} gone {gone:#?}");
    };

    bench.well(&["down"]);
    clean("down without a lab");

    for after in [10, 60, 200, 500, 1500, 3000, 5000, 7000] {
        bench.up_interrupted(Duration::from_millis(after), "-KILL");
        bench.well(&["down"]);
        clean(&format!("a kill after {after} ms and down"));
    }
    // Close together while programs are started one after the other: a child that has just been started holds what its
    // starter holds, for a moment.
    for after in (60..400).step_by(20).chain([2500]) {
        bench.up_interrupted(Duration::from_millis(after), "-INT");
        clean(&format!("Ctrl-C after {after} ms"));
    }

    bench.up_interrupted(Duration::from_millis(4000), "-KILL");
    bench.up();
    let first = bench.well(&["status"]);
    bench.up();
    let second = bench.well(&["status"]);
    let pids =
        |status: &str| status.lines().map(|line| line.split_whitespace().nth(2).map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(pids(&first), pids(&second), "a second up starts nothing");

    // A process that was stopped is started again; and one whose record is lost is still found by down.
    bench.well(&["stop", "east", "velero"]);
    bench.up();
    std::fs::remove_file(bench.root.path().join("west/pids/etcd.json")).unwrap();

    // Another lab is refused as long as this one is up, and its `down` leaves it alone.
    let other = Bench { root: tempfile::tempdir_in("/var/tmp").unwrap(), inputs: bench.inputs.clone() };
    for action in [&["up", &other.inputs][..], &["down"]] {
        let refused = String::from_utf8(other.run(action).stderr).unwrap();
        assert!(refused.contains("[LW-0903]") && refused.contains(bench.root.path().to_str().unwrap()), "{refused}");
    }
    assert!(bench.well(&["status"]).contains("west   etcd"));

    bench.well(&["down"]);
    clean("down");
    bench.well(&["down"]);
    clean("down again");
}
