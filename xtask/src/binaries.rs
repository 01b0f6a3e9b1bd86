//! Builds the project's own binaries with cargo, and everything else a lab is made of.

use anyhow::{Context, Result, bail};
use leeward_lab::Inputs;
use leeward_lab_parts::{Prepared, Progress, prepare};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The target of static programs: the host's own, named, so that the static linking asked for with RUSTFLAGS does not
/// reach build scripts and procedural macros.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// cargo, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    command
}

/// Runs a command and expects it to succeed.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{:?} cannot be started", command.get_program()))?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        bail!("{} {} failed ({status})", command.get_program().display(), args.join(" "));
    }
    Ok(())
}

/// [`must`], while other tasks go on.
pub(crate) async fn must_aside(mut command: Command) -> Result<()> {
    tokio::task::spawn_blocking(move || must(&mut command)).await?
}

pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Builds a program as it is released, linked statically: it then runs whatever the machine or image has for a C library.
pub(crate) fn static_release(package: &str, program: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--package", package, "--bin", program, "--target", STATIC_TARGET]);
    must(build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(target_folder().join(STATIC_TARGET).join("release").join(program))
}

/// The packages whose programs a lab runs.
const PROGRAMS: [&str; 6] =
    ["leeward-cli", "leeward-mover", "leeward-velero-plugin", "leeward-lab-csi", "leeward-lab-node", "leeward-lab-s3"];

/// What a demo or a test needs.
#[derive(Clone)]
pub(crate) struct Ready {
    /// The lab's programs and files.
    pub(crate) inputs: Inputs,
    /// `leeward`.
    pub(crate) leeward: PathBuf,
    /// csi-sanity.
    pub(crate) csi_sanity: PathBuf,
    /// Holds a plug-in to its contract with Velero.
    pub(crate) plugin_contract: PathBuf,
}

/// Installs and builds everything that is not there yet, telling what it does.
///
/// # Errors
/// Something is missing that cannot be installed, or a build fails.
pub(crate) fn ready() -> Result<Ready> {
    let progress = Progress::stderr();
    let Prepared { parts, guest_kernel } = prepare(&progress)?;
    let building = progress.start("Leeward and the lab's own programs (cargo)", None);
    let mut packages = cargo();
    packages.arg("build").arg("--quiet");
    for package in PROGRAMS {
        packages.args(["--package", package]);
    }
    must(&mut packages)?;
    let guest = static_release("leeward-lab-guest", "lab-guest")?;
    building.done();

    let debug = target_folder().join("debug");
    let initrd = target_folder().join("lab/guest.cpio.gz");
    fs_err::create_dir_all(target_folder().join("lab"))?;
    leeward_lab_guest::initramfs::build(&guest, &guest_kernel.modules, &initrd)?;
    Ok(Ready {
        inputs: Inputs {
            kube: parts.kube,
            velero: parts.velero,
            velero_plugin_for_aws: parts.velero_plugin_for_aws,
            virt_controller: parts.virt_controller,
            snapshot_controller: parts.snapshot_controller,
            csi_snapshotter: parts.csi_snapshotter,
            csi_provisioner: parts.csi_provisioner,
            crds: vec![parts.crds.velero, parts.crds.snapshot, parts.crds.kubevirt],
            lab_csi: debug.join("lab-csi"),
            lab_node: debug.join("lab-node"),
            lab_s3: debug.join("lab-s3"),
            plugin: debug.join("leeward-velero-plugin"),
            mover: debug.join("leeward-mover"),
            guest_kernel: guest_kernel.vmlinuz,
            guest_initrd: initrd,
            without_reflinks: false,
        },
        leeward: debug.join("leeward"),
        csi_sanity: parts.csi_sanity,
        plugin_contract: parts.plugin_contract,
    })
}
