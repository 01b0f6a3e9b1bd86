//! Whether guests run on the processor itself (KVM) or on an emulated one (TCG).
//!
//! That `/dev/kvm` opens proves nothing: on hosts that are themselves guests of a paravirtual hypervisor it opens, QEMU
//! starts, and the kernel never gets anywhere. So a guest is booted for real, without disks, and must say its first
//! line within [`TRIAL`]. The answer is kept, with the kernel it is about, in `accel.json`.

use crate::{
    qemu::{Boot, append, machine},
    record::StateDir,
};
use leeward_lab_guest::console::{Line, parse_line};
use serde::{Deserialize, Serialize};
use std::{fs, io, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// With working KVM the first line comes in well under a second.
const TRIAL: Duration = Duration::from_secs(5);

/// How guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Accel {
    /// On the processor.
    Kvm,
    /// Emulated.
    Tcg,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// KVM if a trial shows that it works.
    Auto,
    /// KVM, whatever comes of it.
    Kvm,
    /// Emulation.
    Tcg,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Answer {
    kernel: PathBuf,
    initrd: PathBuf,
    accel: Accel,
}

/// Decides, trying it out the first time.
pub(crate) async fn decide(choice: Choice, boot: &Boot, state: &StateDir) -> io::Result<Accel> {
    match choice {
        Choice::Kvm => return Ok(Accel::Kvm),
        Choice::Tcg => return Ok(Accel::Tcg),
        Choice::Auto => {}
    }
    let path = state.path().join("accel.json");
    if let Ok(answer) = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Answer>(&bytes)?))
        && (&answer.kernel, &answer.initrd) == (&boot.kernel, &boot.initrd)
    {
        return Ok(answer.accel);
    }
    let works = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok() && boots(boot).await?;
    let accel = if works { Accel::Kvm } else { Accel::Tcg };
    let answer = Answer { kernel: boot.kernel.clone(), initrd: boot.initrd.clone(), accel };
    fs::write(path, serde_json::to_vec_pretty(&answer)?)?;
    Ok(accel)
}

async fn boots(boot: &Boot) -> io::Result<bool> {
    let mut child = Command::new(&boot.program)
        .args(machine(Accel::Kvm))
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel"])
        .arg(&boot.kernel)
        .arg("-initrd")
        .arg(&boot.initrd)
        .args(["-append", &append("trial", &boot.site, boot.interval)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let Some(output) = child.stdout.take() else { return Ok(false) };
    let mut lines = BufReader::new(output).lines();
    let said = timeout(TRIAL, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if matches!(parse_line(&line), Some(Line::Boot { .. })) {
                return true;
            }
        }
        false
    });
    let works = said.await.unwrap_or(false);
    child.kill().await?;
    Ok(works)
}
