//! What is kept on disk of each guest, so that a restarted node finds it again.
//!
//! `<state>/<namespace>.<vm>.json` is written before QEMU is started (intent) and again once its process is known.
//! Beside it: `.console.log`, and of the running guest `.pid` (locked by QEMU as long as it lives), `.qmp` and
//! `.serial` (sockets) and `.qemu.log` (QEMU's own words).

use crate::process::Identity;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// One disk as QEMU was given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// Name in the virtual machine's specification.
    pub(crate) name: String,
    /// What the guest knows it by.
    pub(crate) serial: String,
    /// `nfs://server/directory/disk.img`.
    pub(crate) url: String,
}

/// One guest: one incarnation of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Namespace of the VirtualMachineInstance.
    pub(crate) namespace: String,
    /// Its name, which is the virtual machine's.
    pub(crate) name: String,
    /// Its uid.
    pub(crate) uid: String,
    /// Its disks, in the order in which QEMU has them.
    pub(crate) disks: Vec<Disk>,
    /// Where in the console log this boot begins.
    pub(crate) console_offset: u64,
    /// QEMU; absent while it is being started.
    pub(crate) process: Option<Identity>,
    /// This program ended it.
    pub(crate) killed: bool,
}

impl Record {
    /// `namespace.name`, the stem of all file names.
    pub(crate) fn key(&self) -> String {
        key(&self.namespace, &self.name)
    }
}

/// Stem of the file names of a virtual machine. Neither part can hold a character that a file name cannot.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// The directory that holds it all.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// Sockets are reached through this: the path of a Unix socket may have 107 bytes, the directory's may be longer.
    handle: OwnedFd,
}

impl StateDir {
    /// Opens the directory, making it if needed.
    pub(crate) fn open(path: &Path) -> io::Result<StateDir> {
        fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let handle = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(StateDir { path, handle })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A guest's file, for instance `.console.log`.
    pub(crate) fn file(&self, key: &str, suffix: &str) -> PathBuf {
        self.path.join(format!("{key}{suffix}"))
    }

    /// A guest's socket, by a path that is never too long.
    pub(crate) fn socket(&self, key: &str, suffix: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{key}{suffix}", self.handle.as_raw_fd()))
    }

    /// Writes a guest's record, whole or not at all.
    pub(crate) fn save(&self, record: &Record) -> io::Result<()> {
        let path = self.file(&record.key(), ".json");
        let temporary = self.file(&record.key(), ".json.partial");
        fs::write(&temporary, serde_json::to_vec_pretty(record)?)?;
        fs::rename(temporary, path)
    }

    /// Forgets a guest; its console log stays.
    pub(crate) fn forget(&self, key: &str) -> io::Result<()> {
        for suffix in [".json", ".pid", ".qmp", ".serial"] {
            match fs::remove_file(self.file(key, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// All records. One that cannot be read is an error: a running guest may hang on it.
    pub(crate) fn load_all(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // `accel.json` and its like have no dot before the suffix: a key always has one.
            if name.strip_suffix(".json").is_some_and(|key| key.contains('.')) {
                records.push(serde_json::from_slice(&fs::read(&path)?)?);
            }
        }
        Ok(records)
    }

    /// The process that holds the disks of this record, if it lives. QEMU writes its number into the `.pid` file
    /// itself, so it is found even if this program ended before it could note it.
    pub(crate) fn process(&self, record: &Record) -> Option<Identity> {
        if let Some(known) = record.process {
            return known.is_alive().then_some(known);
        }
        let pid = fs::read_to_string(self.file(&record.key(), ".pid")).ok()?.trim().parse().ok()?;
        let identity = Identity::of(pid)?;
        // The number may be another process's by now.
        is_of(pid, &record.uid).then_some(identity)
    }

    /// Every process that was started as QEMU for this record, also one that has not come as far as its `.pid` file.
    pub(crate) fn starting(&self, record: &Record) -> io::Result<Vec<Identity>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if is_of(pid, &record.uid) {
                found.extend(Identity::of(pid));
            }
        }
        Ok(found)
    }
}

/// Whether a process is QEMU for this instance: it carries the instance's uid on its command line.
fn is_of(pid: i32, uid: &str) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
    words.windows(2).any(|pair| pair[0] == b"-uuid" && pair[1] == uid.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    fn record() -> Record {
        Record {
            namespace: "shop".into(),
            name: "db".into(),
            uid: "0b64f3a5-76e4-4b0c-a1cd-000000000001".into(),
            disks: vec![Disk { name: "data".into(), serial: "data".into(), url: "nfs://10.77.0.1/x/disk.img".into() }],
            console_offset: 7,
            process: None,
            killed: false,
        }
    }

    #[test]
    fn records_come_back_until_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(dir.path().join("accel.json"), "not a record").unwrap();
        state.save(&record()).unwrap();
        assert_eq!(state.load_all().unwrap(), [record()]);
        state.forget("shop.db").unwrap();
        assert_eq!(state.load_all().unwrap(), []);
        state.forget("shop.db").unwrap();
    }

    #[test]
    fn a_process_is_found_by_its_pid_file_only_with_the_right_uid() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        // `sh -c` keeps further words on its command line, as QEMU keeps `-uuid`.
        let mut command = Command::new("sh");
        command.args(["-c", "echo up; sleep 60; true", "-uuid", &record().uid]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The kernel lets its parent go on before it shows the new command line; what the process says comes after both.
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n");
        fs::write(state.file("shop.db", ".pid"), format!("{}\n", child.id())).unwrap();
        assert_eq!(state.process(&record()).map(|found| found.pid), i32::try_from(child.id()).ok());
        let other = Record { uid: "0b64f3a5-76e4-4b0c-a1cd-000000000002".into(), ..record() };
        assert_eq!(state.process(&other), None);
        assert_eq!(state.starting(&other).unwrap(), []);
        fs::remove_file(state.file("shop.db", ".pid")).unwrap();
        assert_eq!(state.process(&record()), None);
        let found = state.starting(&record()).unwrap();
        assert!(found.iter().any(|found| i32::try_from(child.id()) == Ok(found.pid)), "{found:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(state.process(&record()), None);
    }
}
