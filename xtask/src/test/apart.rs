//! A second lab beside the first, on the same machine.
//!
//! A lab's addresses and the names of its network namespaces are fixed. So the second one gets a network, a `/run/netns` and a
//! `/sys` of its own, in which the first one's are not to be seen; its folder is another, too.

use super::{APART, half};
use crate::{binaries, lab};
use anyhow::{Context, Result, ensure};
use leeward_lab::Root;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::{fs::File, io::Write, path::PathBuf};
use tokio::process::{Child, Command};

/// Makes the namespaces' insides, then becomes what it is given.
const INSIDE: &str = "ip link set lo up && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && \
                      mount -t sysfs sysfs /sys && exec \"$@\"";

/// The other half, under way.
pub(super) struct Beside {
    process: Child,
    log: PathBuf,
}

/// Starts this program again for the other half. What it prints goes to a file until the end.
pub(super) fn start(only: Option<&str>) -> Result<Beside> {
    let folder = binaries::target_folder();
    let log = folder.join("lab-tests-apart.log");
    let output = File::create(&log).with_context(|| log.display().to_string())?;
    let mut root = Root::from_env().path().to_owned().into_os_string();
    root.push("-apart");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh"]);
    command.arg(std::env::current_exe()?).args(["test", "--apart"]);
    if let Some(only) = only {
        command.args(["--only", only]);
    }
    fs_err::create_dir_all(&root)?;
    // `leeward` locks its groups there, and both halves have one of the same name and bucket.
    command.env("XDG_RUNTIME_DIR", &root);
    // Everything was built before; there is no way out of that network.
    command.env("LEEWARD_LAB", root).env("CARGO_NET_OFFLINE", "true");
    command.stdout(output.try_clone()?).stderr(output).stdin(std::process::Stdio::null());
    let process = command.spawn().context("starting `unshare`, of util-linux")?;
    eprintln!("the other half of the lab's tests runs on a lab of its own; meanwhile: {}", log.display());
    Ok(Beside { process, log })
}

impl Beside {
    /// Waits for it and prints what it printed.
    pub(super) async fn finish(mut self) -> Result<()> {
        let status = self.process.wait().await?;
        std::io::stdout().write_all(&std::fs::read(&self.log)?)?;
        ensure!(status.success(), "the lab tests beside have failed ({status}); see {}", self.log.display());
        Ok(())
    }
}

/// Plays the other half, inside. Whoever has started it may be killed: then it tidies up, as after Ctrl-C.
pub(super) async fn run(only: Option<&str>) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::INT))?;
    let ready = binaries::ready()?;
    lab::on_fresh(&ready, async |sites| half(sites, &ready, &APART, only).await).await
}
