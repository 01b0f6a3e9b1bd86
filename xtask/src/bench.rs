//! `cargo xtask bench`: figures, with the command that repeats them.

#[path = "bench/execute.rs"]
mod execute;
#[path = "bench/object.rs"]
mod object;
#[path = "bench/plugin.rs"]
mod plugin;
#[path = "bench/spread.rs"]
mod spread;
#[path = "bench/stand_in.rs"]
mod stand_in;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The plug-in beside plug-ins in Go: start to ready, and one Execute of a 2 KB object, with a large
    /// table as well, over the real socket; and its memory.
    Plugin(plugin::PluginArgs),
}

pub(crate) async fn run(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Plugin(args) => plugin::run(args).await,
    }
}
