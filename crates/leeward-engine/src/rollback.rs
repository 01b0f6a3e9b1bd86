//! Undoes a move that has not started anything at its target, backwards: fence the target again, let the source write
//! again, start its VMs. The epoch goes first: nothing starts at a site that does not hold it (N1).

use crate::{
    engine::Engine,
    error::EngineError,
    progress::{Listener, Told},
    state::RunRecord,
    vms,
};
use leeward_model::{group::GroupSpec, journal::WitnessRecord, plan::observed::ObjectRef, run::Step};

/// Makes the run's source active again.
///
/// # Errors
/// The part that could not be undone; all are repeated the next time.
pub(crate) async fn undo(
    engine: &Engine,
    group: &GroupSpec,
    run: &RunRecord,
    listener: &dyn Listener,
) -> Result<(), EngineError> {
    let plan = &run.plan;
    let epoch = plan.epoch.next();
    let record = WitnessRecord {
        epoch,
        active: plan.source.clone(),
        run: plan.run.clone(),
        kind: plan.kind,
        point: plan.point.clone(),
        at: (engine.clock)(),
        by: engine.by(),
    };
    engine.state.claim_epoch(&plan.group, &record).await?;
    listener.hear(Told::Note(&format!("{} is active again, from epoch {epoch} on", plan.source)));
    if run.state.has_begun(Step::Present) {
        engine.storage.fence(&plan.target).await?;
        listener.hear(Told::Note(&format!("{} is fenced again", plan.target)));
    }
    if run.state.has_begun(Step::FenceSource) {
        engine.storage.unfence(&plan.source).await?;
        listener.hear(Told::Note(&format!("{} can be written again", plan.source)));
    }
    let Some(site) = engine.sites.get(&plan.source).filter(|_| run.state.has_begun(Step::StopVms)) else {
        return Ok(());
    };
    let stopped: Vec<ObjectRef> = plan.vms.iter().filter(|vm| vm.on && vm.runnable).map(|vm| vm.vm.clone()).collect();
    engine.state.hold(&plan.group, epoch, &plan.source).await?;
    vms::start(site, &stopped).await?;
    vms::wait_up(site, &stopped, group.confirm).await?;
    listener.hear(Told::Note(&format!("the VMs are up at {}", plan.source)));
    Ok(())
}
