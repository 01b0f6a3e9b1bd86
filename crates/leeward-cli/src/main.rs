//! `leeward`: disaster recovery for virtual machines on KubeVirt, from the command line.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 failed on the way (repeat to go on), 2 wrong usage or
//! configuration, 3 refused before any effect, 130 interrupted.

mod args;
mod check;
mod commands;
mod config;
mod connect;
mod exit;
mod listener;
mod mapping;
mod output;
mod view;

use clap::Parser;
use std::{io::IsTerminal, process::ExitCode};

/// What is logged unless `LEEWARD_LOG` says otherwise. A site that does not answer is told in our own words.
const QUIET: &str = "warn,kube_client=off";

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("leeward: another TLS provider was installed before leeward's own; this build is broken [LW-0599]");
        return ExitCode::from(exit::FAILED);
    }
    let args = args::Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("LEEWARD_LOG").unwrap_or_else(|_| QUIET.into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
    tokio::select! {
        code = commands::run(args) => ExitCode::from(code),
        _ = tokio::signal::ctrl_c() => {
            eprintln!("interrupted: nothing is lost; repeat the command to go on from the step that was under way");
            ExitCode::from(exit::INTERRUPTED)
        }
    }
}
