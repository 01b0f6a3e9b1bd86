//! [`Process`]: one program of the lab as plain data, and how it is started.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde::Serialize;

use crate::inputs::{PATH, system};
use crate::place::Place;
use crate::record::Record;
use crate::root::Root;

/// The environment variable that marks every process of a lab, and all they start, with the lab's root. It is how
/// processes are found whose record was never written.
pub const OWNER: &str = "LEEWARD_LAB_OWNER";

/// When a process is started, counted from the start of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// First, without waiting for anything.
    Base,
    /// When all of [`Stage::Base`] is ready.
    Api,
    /// When the API server is ready.
    Controllers,
    /// When the custom resources and the lab's own objects are there.
    Workers,
    /// When the workers before it are ready: sidecars of a socket.
    Sidecars,
}

/// How it is seen that a process does its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// It runs; nothing more can be seen from outside.
    Running,
    /// It accepts connections.
    Tcp(SocketAddr),
    /// It accepts connections on a socket file.
    Unix(PathBuf),
    /// The site's API server says `ok` at `/readyz`.
    KubeReady,
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Stop {
    /// SIGTERM.
    Term,
    /// SIGINT: Velero and others of its kind end at either, etcd logs less with it.
    Int,
}

impl Stop {
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
        }
    }
}

/// A program of the lab. It runs in its place's network namespace, in a session of its own, with nothing on its standard
/// input, with exactly this environment, and it outlives the command that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its name, unique in its place.
    pub name: String,
    /// Where it runs.
    pub place: Place,
    /// When it is started.
    pub stage: Stage,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment, besides `PATH` and [`OWNER`].
    pub env: BTreeMap<String, String>,
    /// Its working folder, which is also its `HOME`.
    pub cwd: PathBuf,
    /// A folder it sees as `/run`; programs that insist on fixed paths there would otherwise meet the other site's.
    pub private_run: Option<PathBuf>,
    /// How it is seen to be ready.
    pub ready: Probe,
    /// How it is asked to end.
    pub stop: Stop,
    /// How long it may take to end, in seconds.
    pub grace_s: u64,
}

impl Process {
    /// A process with the usual answers: no probe, SIGTERM, 5 s.
    pub fn new(name: &str, place: impl Into<Place>, stage: Stage, program: &Path, cwd: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            place: place.into(),
            stage,
            argv: vec![program.display().to_string()],
            env: BTreeMap::new(),
            cwd,
            private_run: None,
            ready: Probe::Running,
            stop: Stop::Term,
            grace_s: 5,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the probe.
    #[must_use]
    pub fn ready(mut self, probe: Probe) -> Self {
        self.ready = probe;
        self
    }

    /// How long it may take to end.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_s)
    }

    /// The whole command line, as the kernel gets it. All programs in front replace themselves by the next one, so the
    /// pid stays the same to the end.
    fn command_line(&self) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut line = vec![
            text(system("nsenter")),
            format!("--net=/run/netns/{}", self.place.netns()),
            "--".into(),
            text(system("setsid")),
        ];
        if let Some(run) = &self.private_run {
            // Mounts of the host go on arriving: an unmounted export must not be kept alive in here.
            line.extend([text(system("unshare")), "--mount".into(), "--propagation=slave".into(), "--".into()]);
            line.extend(["/bin/sh".into(), "-c".into(), r#"mount --bind "$0" /run && exec "$@""#.into()]);
            line.push(run.display().to_string());
        }
        line.extend(self.argv.iter().cloned());
        line
    }

    /// Starts the process, unless it already runs. Its output is appended to its log.
    pub fn start(&self, root: &Root) -> Result<Record> {
        let pid_file = root.pid(self.place, &self.name);
        if let Some(record) = Record::read(&pid_file).filter(Record::alive) {
            return Ok(record);
        }
        for folder in [&self.cwd, &root.place(self.place).join("logs"), &root.place(self.place).join("pids")] {
            fs_err::create_dir_all(folder)?;
        }
        if let Some(run) = &self.private_run {
            fs_err::create_dir_all(run)?;
        }
        let log = root.log(self.place, &self.name);
        let log = fs_err::OpenOptions::new().create(true).append(true).open(log)?.into_parts().0;
        let line = self.command_line();
        let child = Command::new(&line[0])
            .args(&line[1..])
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.cwd)
            .env(OWNER, root.path())
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {} at {}", self.name, self.place))?;
        let pid = i32::try_from(child.id()).context("pid")?;
        // One that has ended already leaves a record that is not alive; the probe reports its log.
        let record = Record::of(pid).unwrap_or(Record { pid, start: 0, boot: String::new() });
        record.write(&pid_file)?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Site;

    #[test]
    fn the_command_line_enters_the_place_and_hides_the_hosts_run() {
        let mut process =
            Process::new("rpcbind", Site::East, Stage::Base, Path::new("/sbin/rpcbind"), "/lab/east".into())
                .args(["-f"]);
        let plain = process.command_line().join(" ");
        assert!(plain.contains("--net=/run/netns/lw-east -- "), "{plain}");
        assert!(plain.ends_with("setsid /sbin/rpcbind -f"), "{plain}");
        process.private_run = Some("/lab/east/run".into());
        let hidden = process.command_line();
        assert_eq!(&hidden[hidden.len() - 3..], ["/lab/east/run", "/sbin/rpcbind", "-f"]);
    }
}
