//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use leeward_model::name::{GroupName, SiteName};
use std::path::PathBuf;

/// Disaster recovery for virtual machines on OpenShift Virtualization (KubeVirt).
#[derive(Debug, Parser)]
#[command(name = "leeward", version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done; 1 failed on the way, repeat to go on; 2 wrong usage or configuration; \
    3 refused before any effect; 130 interrupted.")]
pub(crate) struct Args {
    /// Configuration: sites, object store, storage, groups.
    #[arg(short, long, global = true, env = "LEEWARD_CONFIG", default_value = "leeward.yaml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Form of what is printed on stdout.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Only the name of the run or group; of a check, the objects that something is found about.
    Name,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new recovery point at the standby site: snapshot, promote, back up, replicate, stage, verify.
    Cycle(RunArgs),
    /// Move the group to the other site without loss: stop, fence, final sync, restore, start.
    Migrate(MoveArgs),
    /// The active site is lost: go on at the other site from the newest recovery point.
    Failover(FailoverArgs),
    /// Move the group back to its home site without loss.
    Failback(RunArgs),
    /// Take an unfinished move back: the source is active again. Possible until VMs were started at the target.
    Rollback(RunArgs),
    /// Show what a run would do, with the rewriting of every volume. Changes nothing.
    Plan(PlanArgs),
    /// Show which site is active, what runs where, and the recovery points. Changes nothing.
    Status {
        /// The protection group; all if left out.
        group: Option<GroupName>,
    },
    /// Find what is missing at a site before something is restored there. Changes nothing.
    Check(CheckArgs),
    /// Import, check, try or learn a site mapping. Works on files, changes nothing.
    Mapping(crate::mapping::MappingArgs),
    /// Print the JSON Schema of a file.
    Schema {
        /// Which file.
        #[arg(value_enum)]
        of: SchemaOf,
    },
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The configuration.
    Config,
    /// The site mapping.
    Mapping,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct RunArgs {
    /// The protection group; may be left out if there is only one.
    pub(crate) group: Option<GroupName>,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Go on with a run that was begun on another machine. Only when no leeward works there any more.
    #[arg(long)]
    pub(crate) take_over: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The site to move to; the standby if left out.
    #[arg(long, value_name = "SITE")]
    pub(crate) to: Option<SiteName>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    pub(crate) moves: MoveArgs,
    /// Why you go on although nobody can prove that the lost site has stopped writing. Kept in the run's record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Who takes that responsibility; the user who runs the command if left out.
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct PlanArgs {
    /// What to plan.
    #[arg(value_enum)]
    pub(crate) kind: PlanKind,
    /// The protection group; may be left out if there is only one.
    pub(crate) group: Option<GroupName>,
    /// The site to move to; the standby if left out.
    #[arg(long, value_name = "SITE")]
    pub(crate) to: Option<SiteName>,
    /// For a failover from a site that does not answer: see `leeward failover --help`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    pub(crate) what: CheckWhat,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CheckWhat {
    /// Everything that a backup needs at the other site: storage, networks, instance types, APIs, feature gates, Secrets.
    Backup(CheckBackupArgs),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CheckBackupArgs {
    /// The backup's name.
    pub(crate) name: String,
    /// The site it would be restored at; the one across if left out.
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<SiteName>,
    /// The site it is from, where it does not say so itself.
    #[arg(long, value_name = "SITE")]
    pub(crate) from: Option<SiteName>,
}

/// Kinds of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanKind {
    /// A new recovery point.
    Cycle,
    /// A planned move.
    Migrate,
    /// The active site is lost.
    Failover,
    /// A planned move home.
    Failback,
}
