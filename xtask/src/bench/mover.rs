//! `cargo xtask bench mover`: how fast the mover is, beside rsync and `cp`, in one run on the same files.
//!
//! Two XFS file systems that share blocks among files stand for two file servers; both are in files of a scratch folder. The
//! page cache is warm for all alike. The mover sends over mutual TLS on
//! loopback to a mover that serves, rsync in the clear to a daemon. Everything that arrives is compared byte by byte with its
//! source, outside the times.

#[path = "mover/cases.rs"]
mod cases;
#[path = "mover/image.rs"]
mod image;
#[path = "mover/link.rs"]
mod link;
#[path = "mover/process.rs"]
mod process;
#[path = "mover/report.rs"]
mod report;
#[path = "mover/rsync.rs"]
mod rsync;
#[path = "mover/scratch.rs"]
mod scratch;
#[path = "mover/shares.rs"]
mod shares;
#[path = "mover/subject.rs"]
mod subject;

use super::load;
use crate::binaries::{static_release, target_folder};
use anyhow::{Result, ensure};
use cases::{Bench, Sizes};
use clap::{Args, ValueEnum};
use image::Layout;
use link::Server;
use rsync::Rsync;
use scratch::Scratch;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use subject::Mover;

#[derive(Debug, Args)]
pub(crate) struct MoverArgs {
    /// An eighth of everything, for a quick look
    #[arg(long)]
    small: bool,
    /// Both sites by one process, without a link
    #[arg(long)]
    local: bool,
    /// How often each case is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only this case; may be repeated
    #[arg(long, value_enum)]
    case: Vec<Wanted>,
    /// Where the file systems are made and removed again; target/bench-mover by default
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Measure this program instead of the one that is released
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Write a plot of the growth to this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// JSON.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// A large image for the first time, beside cp and rsync.
    First,
    /// Few pages of it changed, then nothing, beside rsync.
    Delta,
    /// Many images at once, beside one by one.
    Many,
    /// Larger and larger images.
    Growth,
    /// What the time is spent on.
    Shares,
}

/// A server on loopback begins to listen long before.
const LISTENS: Duration = Duration::from_secs(10);

/// The table of the goals.
const LARGE: Sizes = Sizes {
    image: Layout { size: 32 << 30, allocated: 4 << 30, extents: 4096 },
    pages: 1000,
    images: 40,
    small: Layout { size: 1 << 30, allocated: 128 << 20, extents: 128 },
    rounds: 1,
};

/// An eighth of it.
const SMALL: Sizes = Sizes {
    image: Layout { size: 4 << 30, allocated: 512 << 20, extents: 512 },
    pages: 125,
    images: 40,
    small: Layout { size: 128 << 20, allocated: 16 << 20, extents: 16 },
    rounds: 1,
};

pub(super) fn run(args: &MoverArgs) -> Result<()> {
    let program = match &args.program {
        Some(program) => fs_err::canonicalize(program)?,
        None => static_release("leeward-mover", "leeward-mover")?,
    };
    let scratch = args.scratch.clone().unwrap_or_else(|| target_folder().join("bench-mover"));
    let scratch = Scratch::make(&scratch)?;
    let rsync = Rsync::start(&scratch.west)?;
    let mut mover = Mover { program, east: scratch.east.clone(), west: scratch.west.clone(), peer: None };
    let server = if args.local { None } else { Some(Server::start(&mover)?) };
    mover.peer = server.as_ref().map(|server| (server.pid(), server.config()));
    let sizes = Sizes { rounds: args.rounds, ..if args.small { SMALL } else { LARGE } };
    let bench = Bench { sizes, scratch: &scratch, mover: &mover, rsync: &rsync };
    let machine = machine()?;
    let wanted = |case: &Wanted| args.case.is_empty() || args.case.contains(case);
    let mut rows = Vec::new();
    let mut shares = Value::Null;
    for case in Wanted::value_variants().iter().filter(|case| wanted(case)) {
        eprintln!("{case:?}, load {}", load()?);
        match case {
            Wanted::First => rows.extend(bench.first_copy()?),
            Wanted::Delta => rows.extend(bench.delta()?),
            Wanted::Many => rows.extend(bench.many()?),
            Wanted::Growth => rows.extend(bench.growth()?),
            Wanted::Shares => shares = bench.shares()?,
        }
    }
    if let Some(file) = args.plot.as_ref().filter(|_| wanted(&Wanted::Growth)) {
        fs_err::write(file, report::plot(&rows))?;
    }
    let goals = report::goals(&rows, sizes.image.allocated);
    match args.output {
        Output::Json => println!("{}", report::document(&machine, &rows, &goals, &shares)?),
        Output::Table => {
            println!("{machine}\n\n{}\n{}\n{shares}", report::table(&rows), report::told(&goals));
            println!("\nagain: {}", again(args));
        }
    }
    Ok(())
}

/// The command that repeats it.
fn again(args: &MoverArgs) -> String {
    let mut command = format!("cargo xtask bench mover --rounds {}", args.rounds);
    for (flag, given) in [(" --small", args.small), (" --local", args.local)] {
        command.push_str(if given { flag } else { "" });
    }
    command
}

/// A port of loopback that nobody listens at.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens at a port of loopback.
fn wait_for_port(port: u16) -> Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(begin.elapsed() < LISTENS, "nobody listens at port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What it was measured on.
fn machine() -> Result<Value> {
    let cores = std::thread::available_parallelism()?;
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(json!({"cores": cores, "kernel": kernel.trim(), "loadAtBegin": load()?}))
}
