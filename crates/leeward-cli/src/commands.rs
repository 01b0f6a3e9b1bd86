//! The commands: configuration in, engine asked, result shown, exit code out.

mod run;

use crate::{
    args::{self, Args, Command, Output, PlanArgs, PlanKind, SchemaOf},
    config::{self, Config},
    connect, exit,
    output::print,
    view::{GroupStatus, PlanView, StatusView},
};
use leeward_engine::{
    engine::Engine,
    error::{EngineError, StateError},
    executor::chain,
};
use leeward_model::{
    group::GroupSpec,
    mapping,
    name::{GroupName, SiteName},
    plan::observed::{Override, Request},
    run::RunKind,
};

/// Why a command did not do what it was told.
pub(crate) enum Stop {
    /// Wrong usage or configuration.
    Usage(String),
    /// Refused before any effect.
    Refused(String),
    /// Failed on the way.
    Failed(String),
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        let text = chain(&error);
        match error {
            EngineError::Plan(_)
            | EngineError::Locked { .. }
            | EngineError::LockFile { .. }
            | EngineError::OtherHost { .. }
            | EngineError::OtherRun { .. }
            | EngineError::NothingToRollBack { .. }
            | EngineError::TooLate { .. }
            | EngineError::State(StateError::RunOpen { .. } | StateError::Unconditional) => Self::Refused(text),
            EngineError::Step { .. } | EngineError::State(_) | EngineError::Site(_) | EngineError::Storage(_) => {
                Self::Failed(text)
            }
        }
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Usage(format!("{error:#}"))
    }
}

/// Runs a command and says how it ended.
pub(crate) async fn run(args: Args) -> u8 {
    let (code, text) = match dispatch(args).await {
        Ok(()) => return exit::DONE,
        Err(Stop::Usage(text)) => (exit::USAGE, text),
        Err(Stop::Refused(text)) => (exit::REFUSED, text),
        Err(Stop::Failed(text)) => (exit::FAILED, text),
    };
    for line in text.lines() {
        eprintln!("error: {line}");
    }
    code
}

async fn dispatch(args: Args) -> Result<(), Stop> {
    if let Command::Schema { of } = &args.command {
        return schema(*of);
    }
    if let Command::Mapping(args) = &args.command {
        return crate::mapping::run(args);
    }
    let loaded = config::load(&args.config).map_err(|error| Stop::Usage(error.to_string()))?;
    if let Command::Check(args::CheckArgs { what: args::CheckWhat::Backup(backup) }) = &args.command {
        return crate::check::backup(loaded, backup, args.output).await;
    }
    let config = loaded.config.clone();
    let engine = connect::engine(loaded).await?;
    match args.command {
        Command::Cycle(run) => run::run(&engine, &config, RunKind::Cycle, &run.clone().into(), args.output).await,
        Command::Migrate(moves) => run::run(&engine, &config, RunKind::Migrate, &moves.into(), args.output).await,
        Command::Failover(failover) => {
            run::run(&engine, &config, RunKind::Failover, &failover.into(), args.output).await
        }
        Command::Failback(run) => run::run(&engine, &config, RunKind::Failback, &run.into(), args.output).await,
        Command::Rollback(rollback) => run::roll_back(&engine, &config, &rollback, args.output).await,
        Command::Plan(plan) => show_plan(&engine, &config, &plan, args.output).await,
        Command::Status { group } => status(&engine, &config, group.as_ref(), args.output).await,
        Command::Schema { .. } | Command::Mapping(_) | Command::Check(_) => Ok(()),
    }
}

fn schema(of: SchemaOf) -> Result<(), Stop> {
    let schema = match of {
        SchemaOf::Config => schemars::schema_for!(Config).to_value(),
        SchemaOf::Mapping => mapping::schema(),
    };
    println!("{}", serde_json::to_string_pretty(&schema).map_err(|error| Stop::Failed(error.to_string()))?);
    Ok(())
}

/// The group that is meant.
pub(crate) fn group<'a>(config: &'a Config, named: Option<&GroupName>) -> Result<(&'a GroupName, &'a GroupSpec), Stop> {
    let known = || config.groups.keys().map(GroupName::as_str).collect::<Vec<_>>().join(", ");
    match named {
        Some(name) => config.groups.get_key_value(name).ok_or_else(|| {
            Stop::Usage(format!("there is no group {name} in the configuration; the groups are {} [LW-0510]", known()))
        }),
        None if config.groups.len() == 1 => {
            config.groups.iter().next().ok_or_else(|| Stop::Usage("there is no group".to_owned()))
        }
        None => Err(Stop::Usage(format!("say which group: {} [LW-0511]", known()))),
    }
}

/// The request for a run, as the planner takes it. Without a target it is the standby, and home for a failback.
pub(crate) async fn request(
    engine: &Engine,
    (name, spec): (&GroupName, &GroupSpec),
    (kind, to): (RunKind, Option<&SiteName>),
    accepted: Option<Override>,
) -> Result<Request, Stop> {
    let target = match (kind, to) {
        (_, Some(site)) => site.clone(),
        (RunKind::Failback, None) => spec.home.clone(),
        (RunKind::Cycle | RunKind::Migrate | RunKind::Failover, None) => {
            // An unfinished run says where it goes; its own epoch may have made the standby the active site by now.
            let newest = engine.state.newest_run(name).await.map_err(EngineError::from)?;
            let same = |other: RunKind| other == kind || kind == RunKind::Failover && other.moves();
            match newest.filter(|run| run.state.outcome.is_none() && same(run.plan.kind)) {
                Some(run) => run.plan.target,
                None => {
                    let witness = engine.state.witness(name).await.map_err(EngineError::from)?;
                    let active = witness.map_or_else(|| spec.home.clone(), |record| record.active);
                    let other = engine.sites.keys().find(|site| **site != active);
                    other.cloned().ok_or_else(|| Stop::Usage("there is no other site".to_owned()))?
                }
            }
        }
    };
    Ok(Request { kind, target, at: (engine.clock)(), accepted })
}

/// The user who runs the command, for the record.
pub(crate) fn user() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

async fn show_plan(engine: &Engine, config: &Config, args: &PlanArgs, output: Output) -> Result<(), Stop> {
    let group = group(config, args.group.as_ref())?;
    let kind = match args.kind {
        PlanKind::Cycle => RunKind::Cycle,
        PlanKind::Migrate => RunKind::Migrate,
        PlanKind::Failover => RunKind::Failover,
        PlanKind::Failback => RunKind::Failback,
    };
    let accepted = args.reason.clone().map(|reason| Override { who: user(), reason });
    let request = request(engine, group, (kind, args.to.as_ref()), accepted).await?;
    let plan = engine.plan(group.0, group.1, &request).await?;
    print(&PlanView::new(plan), output)?;
    Ok(())
}

async fn status(engine: &Engine, config: &Config, named: Option<&GroupName>, output: Output) -> Result<(), Stop> {
    let wanted: Vec<_> = match named {
        Some(_) => vec![group(config, named)?],
        None => config.groups.iter().collect(),
    };
    let mut groups = Vec::new();
    for (name, spec) in wanted {
        let observed = engine.observe(name, spec).await?;
        let newest = engine.state.newest_run(name).await.map_err(EngineError::from)?;
        let unfinished = newest.filter(|run| run.state.outcome.is_none()).map(|run| {
            let at = run.state.pending().map_or("at its end".to_owned(), |step| format!("at step {step}"));
            format!("{} {at}; repeat `leeward {}` to finish it", run.plan.run, run.plan.kind)
        });
        groups.push(GroupStatus::new(&observed, unfinished));
    }
    print(&StatusView { groups }, output)?;
    Ok(())
}
