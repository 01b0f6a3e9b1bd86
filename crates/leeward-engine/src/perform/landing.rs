//! Checks what Velero landed at the target: every VM, halted, and every claim, bound to a volume at the address that the
//! plan gives. Nothing is started on anything else (N2).

use super::SitesPerformer;
use crate::{
    error::{SiteError, StepError},
    site::{PV, PVC, Site, VM},
};
use leeward_model::{
    claim,
    mapping::Mapping,
    plan::{Plan, VolumePlan},
    vm,
};
use serde_json::Value;
use std::time::Duration;

/// Time for Kubernetes to bind a claim to the volume that it names.
const BOUND: Duration = Duration::from_secs(60);

impl SitesPerformer<'_> {
    /// Waits until every claim is bound, and checks all.
    pub(super) async fn check_landed(&self, plan: &Plan) -> Result<(), StepError> {
        let site = self.site(&plan.target)?;
        for planned in &plan.vms {
            let object = site.get(VM, Some(planned.vm.namespace.as_str()), &planned.vm.name).await?;
            let problem = match &object {
                None => "was not restored: the restore's results in the bucket say why",
                Some(object) if vm::strategy(object) != Some(vm::HALTED) => {
                    "was restored and is not halted: is the leeward plug-in in Velero's plug-in folder at this site?"
                }
                Some(_) => continue,
            };
            let object = format!("VM {}", planned.vm);
            return Err(SiteError::Wrong { site: site.name.clone(), object, problem: problem.to_owned() }.into());
        }
        futures::future::try_join_all(plan.volumes.iter().map(|volume| check_volume(site, self.mapping.0, volume)))
            .await?;
        Ok(())
    }

    /// Whether everything has landed already, without waiting for anything.
    pub(super) async fn has_landed(&self, plan: &Plan) -> Result<bool, StepError> {
        let site = self.site(&plan.target)?;
        for planned in &plan.vms {
            if site.get(VM, Some(planned.vm.namespace.as_str()), &planned.vm.name).await?.is_none() {
                return Ok(false);
            }
        }
        for volume in &plan.volumes {
            let pvc = site.get(PVC, Some(volume.claim.namespace.as_str()), &volume.claim.name).await?;
            if !pvc.is_some_and(|pvc| is_bound(Some(&pvc))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn check_volume(site: &Site, mapping: &Mapping, volume: &VolumePlan) -> Result<(), SiteError> {
    let namespace = volume.claim.namespace.as_str();
    let explain = |pvc: &Value| {
        format!(
            "its phase is {}; {}",
            pvc.pointer("/status/phase").and_then(Value::as_str).unwrap_or("unknown"),
            claim::volume(pvc).map_or("it names no volume".to_owned(), |pv| format!("it names volume {pv}"))
        )
    };
    site.wait(
        PVC,
        (Some(namespace), &volume.claim.name),
        (&format!("binding of claim {}", volume.claim), BOUND),
        is_bound,
        explain,
    )
    .await?;
    let wrong = |problem: String| SiteError::Wrong {
        site: site.name.clone(),
        object: format!("claim {}", volume.claim),
        problem,
    };
    let pvc = site.get(PVC, Some(namespace), &volume.claim.name).await?.ok_or_else(|| wrong("went away".to_owned()))?;
    if claim::volume(&pvc) != Some(volume.pv.as_str()) {
        let other = claim::volume(&pvc).unwrap_or_default();
        return Err(wrong(format!(
            "is bound to volume {other}, not to {}: delete the claim there, then repeat",
            volume.pv
        )));
    }
    let pv = site
        .get(PV, None, &volume.pv)
        .await?
        .ok_or_else(|| wrong(format!("names volume {}, which does not exist", volume.pv)))?;
    match mapping.address_of(&pv) {
        Ok(address) if address == volume.after => Ok(()),
        Ok(address) => Err(wrong(format!(
            "is bound to volume {} at {address}, but the mapping gives {}: delete that volume and the claim there, then repeat",
            volume.pv, volume.after
        ))),
        Err(error) => Err(wrong(format!("is bound to volume {} whose address cannot be read: {error}", volume.pv))),
    }
}

fn is_bound(pvc: Option<&Value>) -> bool {
    pvc.and_then(|pvc| pvc.pointer("/status/phase")).and_then(Value::as_str) == Some("Bound")
}
