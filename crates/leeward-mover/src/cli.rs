//! The command line: one verb per file.

mod compare;
mod fence;
mod home;
mod output;
mod plan;
mod points;
mod present;
mod progress;
mod request;
mod serve;
mod status;
mod sync;
mod unfence;
mod verify;
mod withdraw;

use clap::{Parser, Subcommand};
use home::HomeArgs;
use leeward_mover::refusal::{VerbError, is_worth_repeating};
use output::{Answer, Output};
use std::process::ExitCode;

const FAILED: u8 = 1;
const REFUSED: u8 = 3;

/// Replicates disk images: only consistency points, only what changed.
#[derive(Debug, Parser)]
#[command(name = "leeward-mover", version)]
#[command(after_help = "Exit codes: 0 done; 1 failed on the way, repeat to go on; 2 wrong usage; 3 refused.")]
struct Cli {
    /// How to print what was found
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Output,
    #[command(flatten)]
    home: HomeArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a recovery point of volumes that nobody writes
    Sync(sync::Args),
    /// The group's whole recovery points
    Points(points::Args),
    /// Read a recovery point again and compare it with its fingerprints
    Verify(verify::Args),
    /// Receive recovery points from peers, until SIGTERM
    Serve,
    /// What a sync would do, without doing it
    Plan(plan::Args),
    /// Remove a recovery point
    Withdraw(withdraw::Args),
    /// Put a recovery point's files where clients see them
    Present(present::Args),
    /// How far volumes have moved away from a recovery point
    Compare(compare::Args),
    /// Make the export read-only for its clients, and prove it
    Fence(request::PatienceArgs),
    /// Make the export writable again
    Unfence(request::PatienceArgs),
    /// Whether clients can write, what is free, and each group's newest recovery point
    Status(status::Args),
}

impl Verb {
    fn run(&self, home: &HomeArgs) -> Result<Answer, VerbError> {
        match self {
            Self::Sync(args) => sync::run(args, home),
            Self::Points(args) => points::run(args, home),
            Self::Verify(args) => verify::run(args, home),
            Self::Serve => serve::run(home),
            Self::Plan(args) => plan::run(args, home),
            Self::Withdraw(args) => withdraw::run(args, home),
            Self::Present(args) => present::run(args, home),
            Self::Compare(args) => compare::run(args, home),
            Self::Fence(args) => fence::run(args, home),
            Self::Unfence(args) => unfence::run(args, home),
            Self::Status(args) => status::run(args, home),
        }
    }

    /// Bytes that are free where the verb writes.
    fn free(&self, home: &HomeArgs) -> Option<u64> {
        let home = match self {
            Self::Sync(args) => args.target(home),
            _ => home.open(),
        };
        home.ok()?.points.free().ok()
    }
}

/// Runs the verb that the command line names.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = cli.verb.run(&cli.home);
    let failure = done.as_ref().err().map(|error| error.refusal(cli.verb.free(&cli.home)));
    if let Err(error) = output::print(cli.output, done.as_ref().ok(), failure.as_ref()) {
        eprintln!("leeward-mover: writing to stdout: {error}");
        return ExitCode::from(FAILED);
    }
    match failure {
        None => ExitCode::SUCCESS,
        Some(refusal) if is_worth_repeating(refusal.kind) => ExitCode::from(FAILED),
        Some(_) => ExitCode::from(REFUSED),
    }
}
