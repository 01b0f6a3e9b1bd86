//! The developer's commands: `cargo xtask demo|lab|test|check|gen|bench|fuzz|image`.

mod bench;
mod binaries;
mod check;
mod demo;
#[cfg(test)]
mod deploy;
mod fuzz;
mod gen_files;
mod image;
mod lab;
mod learning_path;
mod matrix;
mod test;
#[cfg(test)]
mod tree;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Leeward's developer commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell the whole story on two real sites: a VM moves east → west → east, and survives a disaster.
    Demo(demo::DemoArgs),
    /// The lab: two sites on this machine.
    Lab {
        #[command(subcommand)]
        command: lab::LabCommand,
    },
    /// Pass all tests, the lab's included.
    Test(test::TestArgs),
    /// Test the plug-ins with every Velero that OADP ships.
    Matrix(matrix::MatrixArgs),
    /// Do what the learning path tells its reader to do.
    LearningPath,
    /// Formatting, lints, licences, generated files.
    Check,
    /// Write the generated files anew.
    Gen {
        /// Only say which differ; exit 1 if any does.
        #[arg(long)]
        check: bool,
    },
    /// Write the plug-in's container image, as an OCI image layout, and print its digest.
    Image(image::ImageArgs),
    /// Measure.
    Bench {
        #[command(subcommand)]
        command: bench::BenchCommand,
    },
    /// Feed whatever comes from elsewhere, to the plug-ins and to the mover, with what could break it.
    Fuzz(fuzz::FuzzArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes, not where in our own code they were noticed.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider was installed first");
    }
    match Args::parse().command {
        Command::Demo(args) => demo::run(&args).await,
        Command::Lab { command } => lab::run(command).await,
        Command::Test(args) => test::run(&args).await,
        Command::Matrix(args) => matrix::run(&args).await,
        Command::LearningPath => tokio::task::spawn_blocking(learning_path::run).await?,
        Command::Check => check::run(),
        Command::Gen { check } => gen_files::run(check),
        Command::Image(args) => image::run(&args),
        Command::Bench { command } => bench::run(command).await,
        Command::Fuzz(args) => tokio::task::spawn_blocking(move || fuzz::run(&args)).await?,
    }
}
