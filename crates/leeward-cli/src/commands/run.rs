//! `cycle`, `migrate`, `failover`, `failback`: shows the plan, asks, carries out, shows the result.

use super::{Stop, group, request, user};
use crate::{
    args::{FailoverArgs, MoveArgs, Output, RunArgs},
    config::Config,
    listener::Teller,
    output::{Shown, print},
    view::{PlanView, RunView},
};
use leeward_engine::engine::{Carried, Engine};
use leeward_model::{
    name::SiteName,
    plan::{Plan, observed::Override},
    run::RunKind,
};
use std::{
    io::{BufRead, IsTerminal},
    sync::atomic::{AtomicBool, Ordering},
};

/// What a run was asked with.
pub(super) struct Wish {
    run: RunArgs,
    to: Option<SiteName>,
    accepted: Option<Override>,
}

impl From<RunArgs> for Wish {
    fn from(run: RunArgs) -> Self {
        Self { run, to: None, accepted: None }
    }
}

impl From<MoveArgs> for Wish {
    fn from(moves: MoveArgs) -> Self {
        Self { run: moves.run, to: moves.to, accepted: None }
    }
}

impl From<FailoverArgs> for Wish {
    fn from(failover: FailoverArgs) -> Self {
        let operator = failover.operator;
        let accepted = failover.reason.map(|reason| Override { who: operator.unwrap_or_else(user), reason });
        Self { accepted, ..failover.moves.into() }
    }
}

pub(super) async fn run(
    engine: &Engine,
    config: &Config,
    kind: RunKind,
    wish: &Wish,
    output: Output,
) -> Result<(), Stop> {
    let group = group(config, wish.run.group.as_ref())?;
    let request = request(engine, group, (kind, wish.to.as_ref()), wish.accepted.clone()).await?;
    let asks = kind.moves() && !wish.run.yes;
    if asks && !std::io::stdin().is_terminal() {
        return Err(Stop::Usage(format!(
            "{kind} stops and starts VMs: say --yes, or run it in a terminal to be asked [LW-0512]"
        )));
    }
    let refused = AtomicBool::new(false);
    let approve = |plan: &Plan| {
        announce(plan);
        let yes = !asks || ask(plan);
        refused.store(!yes, Ordering::Relaxed);
        yes
    };
    let teller = Teller::new();
    let carried = engine.carry_out(group, &request, wish.run.take_over, &approve, &teller).await;
    teller.end();
    match carried? {
        Some(carried) => {
            print(&RunView::new(&carried), output)?;
            Ok(())
        }
        None => Err(Stop::Refused("not confirmed: the run was not begun".to_owned())),
    }
}

pub(super) async fn roll_back(engine: &Engine, config: &Config, args: &RunArgs, output: Output) -> Result<(), Stop> {
    let group = group(config, args.group.as_ref())?;
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Stop::Usage(
                "rollback starts VMs: say --yes, or run it in a terminal to be asked [LW-0512]".to_owned(),
            ));
        }
        if !confirmed("Take the unfinished run back and start the VMs at its source?") {
            return Err(Stop::Refused("not confirmed, nothing was changed".to_owned()));
        }
    }
    let teller = Teller::new();
    let run = engine.roll_back(group, args.take_over, &teller).await;
    teller.end();
    let carried = Carried { run: run?, resumed: true, put_right: Vec::new() };
    print(&RunView::new(&carried), output)?;
    Ok(())
}

/// What one should know, on stderr, also when nobody is asked.
fn announce(plan: &Plan) {
    eprintln!("{} of {}: {} → {}, recovery point {}", plan.kind, plan.group, plan.source, plan.target, plan.point);
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    for lost in &plan.given_up {
        eprintln!(
            "given up at {}: {}, up to {} bytes written there after {}",
            plan.target, lost.pv, lost.bytes, lost.since
        );
    }
    if let Some(since) = plan.loses_since {
        eprintln!("data loss: what was written after {since}");
    }
}

fn ask(plan: &Plan) -> bool {
    eprintln!("{}", PlanView::new(plan.clone()).table());
    confirmed("Carry this out?")
}

fn confirmed(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
