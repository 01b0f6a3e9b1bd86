//! `cargo xtask bench`: figures, with the command that repeats them.

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The plug-in: start to ready, and one Execute of a PV, over the real socket.
    Plugin,
}

pub(crate) async fn run(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Plugin => anyhow::bail!("no host yet"),
    }
}
