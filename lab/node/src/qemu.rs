//! QEMU's command line, and starting it.
//!
//! With `-daemonize` the program that is started ends when the machine is complete: successfully only if every disk
//! could be opened, otherwise with QEMU's own words. So the result of a start is known without guessing, and the guest
//! is nobody's child: it lives on when this program does not.

use crate::{
    accel::Accel,
    record::{Record, StateDir},
};
use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use thiserror::Error;
use tokio::{process::Command, time::timeout};

/// Emulated memory: the kernel and the guest need about 60 MiB, the kernel's own reserve the rest.
const MEMORY_MIB: &str = "192";

/// What a guest is started with besides its disks.
#[derive(Debug, Clone)]
pub(crate) struct Boot {
    /// QEMU's program.
    pub(crate) program: PathBuf,
    /// Kernel image.
    pub(crate) kernel: PathBuf,
    /// Initramfs with the guest.
    pub(crate) initrd: PathBuf,
    /// Name of the site.
    pub(crate) site: String,
    /// Milliseconds between two records.
    pub(crate) interval: u64,
    /// How long opening the disks may take.
    pub(crate) deadline: Duration,
}

/// Why a guest does not run.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// QEMU's program cannot be run.
    #[error("cannot run {program}; install the package qemu-system-x86 [LW-0978]")]
    Run { program: String, source: io::Error },
    /// The state directory.
    #[error("cannot write the files of guest {key}; look at the node's state directory [LW-0979]")]
    Files { key: String, source: io::Error },
    /// QEMU says no, nearly always because of a disk.
    #[error("{words}; check that the volume's address exists and may be written from here [LW-0970]")]
    Refused { words: String },
    /// The storage does not answer.
    #[error("opening {disks} took longer than {seconds} s; check that the file server answers [LW-0971]")]
    Silent { disks: String, seconds: u64 },
}

/// Starts the guest and waits until it runs.
pub(crate) async fn start(boot: &Boot, accel: Accel, state: &StateDir, record: &Record) -> Result<(), StartError> {
    let key = record.key();
    let files = |source| StartError::Files { key: key.clone(), source };
    for suffix in [".qmp", ".serial"] {
        match fs::remove_file(state.file(&key, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(files(error)),
            _ => {}
        }
    }
    let log = File::create(state.file(&key, ".qemu.log")).map_err(files)?;
    let mut child = Command::new(&boot.program)
        .args(arguments(boot, accel, record))
        // Names of files are relative, so that the sockets' are short enough.
        .current_dir(state.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(files)?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| StartError::Run { program: boot.program.display().to_string(), source })?;
    match timeout(boot.deadline, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(_)) => {
            let words = fs::read_to_string(state.file(&key, ".qemu.log")).map_err(files)?;
            Err(StartError::Refused { words: last_words(&words) })
        }
        Ok(Err(source)) => Err(StartError::Run { program: boot.program.display().to_string(), source }),
        Err(_) => {
            // The part that opens the disks is already its own process and has written its number.
            if let Some(handle) =
                state.process(record).and_then(|identity| crate::process::Handle::open(identity).ok().flatten())
            {
                handle.kill().map_err(files)?;
                handle.ended().await;
            }
            let disks: Vec<&str> = record.disks.iter().map(|disk| disk.url.as_str()).collect();
            Err(StartError::Silent { disks: disks.join(", "), seconds: boot.deadline.as_secs() })
        }
    }
}

fn arguments(boot: &Boot, accel: Accel, record: &Record) -> Vec<String> {
    let key = record.key();
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-name", &key, "-uuid", &record.uid]);
    add(&machine(accel));
    add(&["-nic", "none", "-vga", "none", "-display", "none", "-no-reboot"]);
    add(&["-kernel", &boot.kernel.to_string_lossy(), "-initrd", &boot.initrd.to_string_lossy()]);
    add(&["-append", &append(&record.name, &boot.site, boot.interval)]);
    for (number, disk) in record.disks.iter().enumerate() {
        let options = "format=raw,if=none,cache=none,werror=stop,rerror=stop";
        add(&["-drive", &format!("file={},id=disk{number},{options}", disk.url.replace(',', ",,"))]);
        add(&["-device", &format!("virtio-blk-pci,drive=disk{number},serial={}", disk.serial.replace(',', ",,"))]);
    }
    add(&["-chardev", &format!("socket,id=qmp,path={key}.qmp,server=on,wait=off"), "-mon", "qmp,mode=control"]);
    let log = format!("logfile={key}.console.log,logappend=on");
    add(&["-chardev", &format!("socket,id=con,path={key}.serial,server=on,wait=off,{log}"), "-serial", "chardev:con"]);
    add(&["-pidfile", &format!("{key}.pid"), "-daemonize"]);
    arguments
}

/// Machine and processor: the same for a guest and for the trial whether KVM works.
pub(crate) fn machine(accel: Accel) -> [&'static str; 8] {
    let (name, cpu) = match accel {
        Accel::Kvm => ("kvm", "host"),
        Accel::Tcg => ("tcg,thread=multi", "qemu64"),
    };
    ["-M", "q35", "-m", MEMORY_MIB, "-accel", name, "-cpu", cpu]
}

/// Kernel command line. `loglevel=1`: on the console are only the guest's lines and, if it comes to that, a panic.
pub(crate) fn append(vm: &str, site: &str, interval: u64) -> String {
    format!("console=ttyS0 quiet loglevel=1 panic=-1 lw.vm={vm} lw.site={site} lw.interval={interval}")
}

/// What QEMU said, on one line and short enough for a condition's message.
fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut words = if lines.is_empty() { "QEMU ended without a word".to_owned() } else { lines.join("; ") };
    if let Some((end, _)) = words.char_indices().nth(600) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Disk;

    fn boot() -> Boot {
        Boot {
            program: "qemu-system-x86_64".into(),
            kernel: "/k".into(),
            initrd: "/i".into(),
            site: "east".into(),
            interval: 200,
            deadline: Duration::from_secs(5),
        }
    }

    fn record() -> Record {
        let disk = |name: &str| Disk {
            name: name.into(),
            serial: name.into(),
            url: format!("nfs://10.77.0.1/export/{name}/disk.img"),
        };
        Record {
            namespace: "shop".into(),
            name: "db".into(),
            uid: "u".into(),
            disks: vec![disk("data"), disk("log")],
            console_offset: 0,
            process: None,
            killed: false,
        }
    }

    #[test]
    fn every_disk_stops_the_guest_on_errors_and_bypasses_caches() {
        let line = arguments(&boot(), Accel::Tcg, &record()).join(" ");
        for disk in ["data", "log"] {
            let number = usize::from(disk == "log");
            assert!(
                line.contains(&format!(
                    "-drive file=nfs://10.77.0.1/export/{disk}/disk.img,id=disk{number},format=raw,if=none,cache=none,\
                     werror=stop,rerror=stop -device virtio-blk-pci,drive=disk{number},serial={disk}"
                )),
                "{line}"
            );
        }
        assert!(line.contains("lw.vm=db lw.site=east lw.interval=200"));
        assert!(line.contains("logfile=shop.db.console.log,logappend=on"));
    }

    #[tokio::test]
    async fn a_refusal_has_the_programs_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let program = dir.path().join("qemu");
        fs::write(&program, "#!/bin/sh\necho 'qemu: Could not open nfs://x' >&2\nexit 1\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = start(&Boot { program, ..boot() }, Accel::Tcg, &state, &record()).await.unwrap_err();
        assert!(matches!(&error, StartError::Refused { words } if words == "qemu: Could not open nfs://x"), "{error}");
        let missing = Boot { program: "/nonexistent/qemu".into(), ..boot() };
        let error = start(&missing, Accel::Tcg, &state, &record()).await.unwrap_err();
        assert!(matches!(error, StartError::Run { .. }), "{error}");
    }
}
