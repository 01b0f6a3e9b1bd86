//! `cargo xtask fuzz`: any input at all, guided by what of the program it reaches.
//!
//! libFuzzer drives the targets of `fuzz/target.rs`. No nightly toolchain and no cargo-fuzz is needed: a stable compiler
//! instruments for coverage as well, and an address sanitizer would look for what safe code cannot do. Overflows of
//! numbers and debug assertions are findings too.
//!
//! It starts from seeds (golden cases, the documentation's examples) and from what earlier runs kept in `target`. What
//! makes a target fail is written to `fuzz/findings/<target>`; once repaired it stays there, for `cargo test` replays it.

#[path = "fuzz/seed.rs"]
mod seed;
#[path = "fuzz/seed_exports.rs"]
mod seed_exports;
#[path = "fuzz/seed_link.rs"]
mod seed_link;
#[path = "fuzz/seed_mover.rs"]
mod seed_mover;
#[path = "fuzz/seed_undo.rs"]
mod seed_undo;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "here only what seeds are made with is needed; tests call the targets")
)]
#[path = "fuzz/target.rs"]
mod target;

use crate::binaries::{cargo, must, repository, target_folder};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Named, so that build scripts and procedural macros are not instrumented.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What libFuzzer has to know: which edges were taken, and what was compared with what.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Bytes of an input at most; longer ones are slower, not other.
const LONGEST: u32 = 8192;
/// Seconds that one input may take.
const SLOWEST: u32 = 10;
/// MiB of memory at most. A target keeps golden cases and coverage in memory, not inputs.
const MEMORY: u32 = 1024;

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Seconds for each target.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only this target; may be repeated.
    #[arg(long, value_enum)]
    target: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Mapping documents with their tables, and the Go plug-in's ConfigMap.
    Mapping,
    /// PersistentVolumes, with every golden case's mapping.
    Pv,
    /// Requests on a plug-in's socket.
    Wire,
    /// Block manifests of the mover.
    Manifest,
    /// Journals of working copies.
    Journal,
    /// Requests to the mover, its records, and paths.
    Request,
    /// What a sender asks a receiver to do.
    Order,
    /// Calls of another site's mover.
    Link,
    /// Points on a file system without reflinks, and damaged undo logs.
    Undo,
    /// Configurations of NFS servers.
    Exports,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Pv => "pv",
            Self::Wire => "wire",
            Self::Manifest => "manifest",
            Self::Journal => "journal",
            Self::Request => "request",
            Self::Order => "order",
            Self::Link => "link",
            Self::Undo => "undo",
            Self::Exports => "exports",
        }
    }

    #[cfg(test)]
    fn call(self, input: &[u8]) {
        match self {
            Self::Mapping => target::mapping(input),
            Self::Pv => target::pv(input),
            Self::Wire => target::wire(input),
            Self::Manifest => target::manifest(input),
            Self::Journal => target::journal(input),
            Self::Request => target::request(input),
            Self::Order => target::order(input),
            Self::Link => target::link(input),
            Self::Undo => target::undo(input),
            Self::Exports => target::exports(input),
        }
    }

    fn seeds(self) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Mapping => seed::mapping(),
            Self::Pv => seed::pv(),
            Self::Wire => seed::wire(target::METHODS),
            Self::Manifest => seed_mover::manifest(),
            Self::Journal => Ok(seed_mover::journal()),
            Self::Request => seed_mover::request(),
            Self::Order => seed_mover::order(),
            Self::Link => seed_link::link(),
            Self::Undo => Ok(seed_undo::undo()),
            Self::Exports => Ok(seed_exports::exports()),
        }
    }

    fn findings(self) -> PathBuf {
        repository().join("fuzz/findings").join(self.name())
    }
}

pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    let folder = target_folder().join("fuzz");
    eprintln!("building the targets, instrumented (cargo)");
    let manifest = repository().join("fuzz/Cargo.toml");
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--locked", "--target", TARGET, "--manifest-path"]).arg(&manifest);
    must(build.env("RUSTFLAGS", INSTRUMENT).env("CARGO_TARGET_DIR", &folder))?;

    let targets = if args.target.is_empty() { Target::value_variants() } else { &args.target };
    println!("target    executions  each second  edges  inputs kept  MiB  finding");
    let mut found = 0;
    for target in targets {
        let outcome = fuzz(*target, args.seconds, &folder)?;
        println!("{outcome}");
        found += u32::from(outcome.finding.is_some());
    }
    ensure!(found == 0, "{found} targets failed; repair it, and leave the input where it is: cargo test replays it");
    Ok(())
}

/// What a run came to.
struct Outcome {
    target: Target,
    executions: String,
    each_second: String,
    edges: String,
    kept: usize,
    memory: String,
    finding: Option<PathBuf>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, executions, each_second, edges, kept, memory, finding } = self;
        let finding = finding.as_ref().map_or("none".into(), |path| path.display().to_string());
        let name = target.name();
        write!(f, "{name:<8}{executions:>12}{each_second:>13}{edges:>7}{kept:>13}{memory:>5}  {finding}")
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

fn fuzz(target: Target, seconds: u32, folder: &Path) -> Result<Outcome> {
    let name = target.name();
    let (kept, seeds) = (folder.join("kept").join(name), folder.join("seeds").join(name));
    let findings = target.findings();
    for folder in [&kept, &seeds, &findings] {
        fs_err::create_dir_all(folder)?;
    }
    let inputs = target.seeds()?;
    for (number, seed) in inputs.iter().enumerate() {
        fs_err::write(seeds.join(format!("{number:04}")), seed)?;
    }
    let words = folder.join(format!("{name}.dict"));
    fs_err::write(&words, seed::dictionary(&inputs))?;
    let before = files(&findings)?;
    // A plug-in's socket goes here; one of a program that fails stays behind.
    let sockets = tempfile::tempdir()?;
    let log = folder.join(format!("{name}.log"));
    let mut command = Command::new(folder.join(TARGET).join("release").join(name));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-dict={}", words.display()))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-print_final_stats=1", "-reload=0"])
        .args([&kept, &seeds, &findings])
        .env("TMPDIR", sockets.path())
        .stdout(Stdio::null())
        .stderr(fs_err::File::create(&log)?.into_file());
    let status = command.status().with_context(|| format!("start the target {name}"))?;
    let text = String::from_utf8_lossy(&fs_err::read(&log)?).into_owned();
    let finding = files(&findings)?.into_iter().find(|path| !before.contains(path));
    if !status.success() && finding.is_none() {
        bail!("the target {name} ended ({status}) without an input that is to blame; see {}", log.display());
    }
    let number = |key: &str| {
        let line = text.lines().rev().find_map(|line| line.split_once(key));
        line.and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?").to_owned()
    };
    Ok(Outcome {
        target,
        executions: number("stat::number_of_executed_units:"),
        each_second: number("stat::average_exec_per_sec:"),
        edges: number(" cov: "),
        kept: files(&kept)?.len(),
        memory: number("stat::peak_rss_mb:"),
        finding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_whatever_was_ever_found_pass() {
        for &target in Target::value_variants() {
            let seeds = target.seeds().unwrap();
            assert!(seeds.len() >= 20, "{}: {} seeds", target.name(), seeds.len());
            for seed in seeds {
                target.call(&seed);
            }
            for path in files(&target.findings()).unwrap() {
                // Of a failure, its path is what one wants to know.
                eprintln!("{}", path.display());
                target.call(&fs_err::read(&path).unwrap());
            }
        }
    }
}
