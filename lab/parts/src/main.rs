//! By hand: `cargo run -p leeward-lab-parts -- {preflight|install|build|paths|velero VERSION}`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use leeward_lab_parts::{
    Progress, VeleroVersion, ensure_guest_kernel, ensure_parts, ensure_velero, install_debian_packages, preflight,
    prepare,
};

/// Makes ready what the lab needs.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Order,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Order {
    /// Say whether the lab can run on this machine.
    Preflight,
    /// Install the missing Debian packages.
    Install,
    /// Build the missing programs and get the guest's kernel.
    Build,
    /// All of it, then print the paths as JSON.
    Paths,
    /// Build a Velero of another version, then print the paths as JSON.
    Velero {
        /// 1.14.1, 1.16.2 or 1.18.2.
        version: VeleroVersion,
    },
}

fn main() -> ExitCode {
    let Err(error) = run(Arguments::parse().command) else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn run(order: Order) -> Result<(), Box<dyn Error>> {
    let progress = Progress::stderr();
    match order {
        Order::Preflight => preflight(&progress)?,
        Order::Install => install_debian_packages(&progress)?,
        Order::Build => {
            ensure_parts(&progress)?;
            ensure_guest_kernel(&progress)?;
        }
        Order::Velero { version } => println!("{:#}", serde_json::to_value(ensure_velero(version, &progress)?)?),
        Order::Paths => println!("{:#}", serde_json::to_value(prepare(&progress)?)?),
    }
    Ok(())
}
