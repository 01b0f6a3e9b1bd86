//! `cargo xtask image`: the plug-in's container image, made without a container engine.
//!
//! The image holds one file, the program, linked statically: Velero's init container runs it, it copies itself to
//! `/target`, and Velero's own container starts the copy. There is no shell, no C library and no package in it.
//!
//! The same sources give the same digest: paths of the machine are taken out of the program, and no time but that of the
//! commit is written down.

mod elf;
mod layout;

use crate::binaries::{cargo, must, repository, target_folder};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use layout::Image;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the image is made of, and what it is called.
const PROGRAM: &str = "leeward-velero-plugin";
const TITLE: &str = "Leeward plug-in for Velero";
const DESCRIPTION: &str =
    "Makes Velero's backups restorable at another site, on the storage's own copies of the volumes";
const LICENSES: &str = "Apache-2.0";

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Where the OCI image layout goes. An older layout there is replaced; anything else is refused.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// For which machines.
    #[arg(long, value_enum, default_value_t = Arch::Amd64)]
    arch: Arch,
}

/// A processor architecture, by the name that container images use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64. Needs a C compiler for it, named in CC_aarch64_unknown_linux_musl.
    Arm64,
}

impl Arch {
    const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's name. musl, because the program runs inside Velero's image, whose C library is not ours to choose, and
    /// because only with musl is nothing at all looked up at run time.
    const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Whether this machine runs it.
    fn is_ours(self) -> bool {
        let ours = match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        };
        std::env::consts::ARCH == ours
    }

    /// The number of the architecture in a program's file.
    const fn machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }
}

pub(crate) fn run(args: &ImageArgs) -> Result<()> {
    let program = fs_err::read(built(args.arch)?)?;
    let version = env!("CARGO_PKG_VERSION");
    let image = Image {
        architecture: args.arch.name(),
        program: PROGRAM,
        contents: &program,
        title: TITLE,
        description: DESCRIPTION,
        licenses: LICENSES,
        version,
        revision: revision(),
        created: created()?,
    };
    let output = args.output.clone().unwrap_or_else(|| target_folder().join("image"));
    let digest = layout::replace(&output, &image)?;
    layout::verify(&output)?;
    eprintln!(
        "{PROGRAM} {version} for {}: {} KiB, in {}\nTo a registry: skopeo copy oci:{}:{version} docker://REGISTRY/{PROGRAM}:{version}",
        args.arch.name(),
        program.len() / 1024,
        output.display(),
        output.display(),
    );
    println!("{digest}");
    Ok(())
}

/// The program that goes into the image, checked as for the image.
///
/// # Errors
/// It cannot be built, or does not copy itself.
pub(crate) fn program() -> Result<PathBuf> {
    built(Arch::Amd64)
}

fn built(arch: Arch) -> Result<PathBuf> {
    let path = build(arch)?;
    elf::check(&fs_err::read(&path)?, arch.machine())?;
    if arch.is_ours() {
        installs_itself(&path)?;
    }
    Ok(path)
}

/// The program, linked statically, with nothing of this machine in it.
fn build(arch: Arch) -> Result<PathBuf> {
    let target = arch.target();
    ensure_target(target)?;
    let compiler = format!("CC_{}", target.replace('-', "_"));
    if arch == Arch::Amd64 && std::env::var_os(&compiler).is_none() && !works("musl-gcc") {
        bail!("musl-gcc is missing; install it: apt-get install musl-tools, or name another C compiler in {compiler}");
    }
    let maps = [(repository(), "/leeward"), (cargo_home()?, "/cargo")];
    let maps = || maps.iter().map(|(from, to)| format!("-prefix-map={}={to}", from.display()));
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--release", "--locked", "--package", PROGRAM, "--bin", PROGRAM, "--target", target])
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            std::iter::once("-Ctarget-feature=+crt-static".to_owned())
                .chain(maps().map(|map| format!("--remap-path{}", map.replacen("-prefix-map", "-prefix", 1))))
                .collect::<Vec<_>>()
                .join("\u{1f}"),
        )
        .env(
            format!("CFLAGS_{}", target.replace('-', "_")),
            maps().map(|map| format!("-ffile{map}")).collect::<Vec<_>>().join(" "),
        );
    must(&mut build)?;
    Ok(target_folder().join(target).join("release").join(PROGRAM))
}

/// Starts the program as the image does. One that does not copy itself would leave Velero without the plug-in, silently.
fn installs_itself(program: &Path) -> Result<()> {
    let target = tempfile::tempdir()?;
    let output = Command::new(program).env_clear().arg(layout::INSTALL).arg(target.path()).output()?;
    let name = program.file_name().context("a program without a name")?;
    let copy = target.path().join(name);
    let same = copy.is_file() && fs_err::read(&copy)? == fs_err::read(program)?;
    if !output.status.success() || !same {
        bail!(
            "{} {} did not copy itself there ({}): {}",
            name.display(),
            layout::INSTALL,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let mode = fs_err::metadata(&copy)?.permissions().mode();
    if mode & 0o555 != 0o555 {
        bail!("the copy of {} may not be run by everybody ({mode:o})", name.display());
    }
    Ok(())
}

/// Adds the target to the toolchain if it is not there.
fn ensure_target(target: &str) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = Command::new(rustc)
        .current_dir(repository())
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("rustc cannot be started")?;
    if folder.status.success() && Path::new(String::from_utf8_lossy(&folder.stdout).trim()).is_dir() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.current_dir(repository()).args(["target", "add", target]);
    must(&mut add).with_context(|| format!("Rust's standard library for {target} is missing"))
}

fn works(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn cargo_home() -> Result<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("neither CARGO_HOME nor HOME is set")
}

/// What git says, if the sources are in git.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(repository()).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit, marked if what is built is not exactly it.
fn revision() -> Option<String> {
    let mut revision = git(&["rev-parse", "HEAD"])?;
    if git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty()) {
        revision.push_str("-dirty");
    }
    Some(revision)
}

/// The time of the sources: `SOURCE_DATE_EPOCH`, else of the commit, else none. Never the time of the build.
fn created() -> Result<Option<Timestamp>> {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    let Some(seconds) = set.or_else(|| git(&["log", "-1", "--format=%ct"])) else { return Ok(None) };
    let seconds: i64 =
        seconds.parse().with_context(|| format!("SOURCE_DATE_EPOCH is no number of seconds: {seconds}"))?;
    Ok(Some(Timestamp::from_second(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_copies_itself_gets_into_an_image() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("plugin");
        let said = |does: &str| {
            fs_err::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{does}\n")).unwrap();
            fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            installs_itself(&program).map_err(|error| error.to_string())
        };
        said(r#"[ "$1" = --install-to ] && cp "$0" "$2""#).unwrap();
        assert!(said("echo 'no such flag' >&2; exit 1").unwrap_err().contains("no such flag"));
        assert!(said("exit 0").unwrap_err().contains("did not copy"));
        assert!(said(r#"head -c 5 "$0" > "$2/plugin""#).unwrap_err().contains("did not copy"));
        assert!(said(r#"cp "$0" "$2"; chmod 700 "$2/plugin""#).unwrap_err().contains("everybody"));
    }
}
