//! Restore, PVCs: each claim lands bound to its volume, and takes no new, empty one.

use crate::adopt::populated;
use crate::cluster::{CLAIMS, Cluster};
use crate::metadata_only::is_velero_s;
use crate::promote::is_promoted;
use crate::promote_snapshot::MUST_INCLUDE;
use crate::site::Site;
use crate::view::{self, UnknownOrigin};
use leeward_model::claim::{self, ClaimError, landed};
use serde_json::Value;
use std::sync::Arc;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

/// See the module.
pub(crate) struct LandClaim(pub(crate) Arc<Cluster>);

/// A claim cannot be restored here.
#[derive(Debug, thiserror::Error)]
enum LandError {
    #[error(transparent)]
    Origin(#[from] UnknownOrigin),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(
        "PersistentVolumeClaim {claim} exists at this site and {has}, but the backup's is bound to PersistentVolume {wanted}; \
         delete the claim if it is left over, then restore again [LW-0630]"
    )]
    OtherVolume { claim: String, has: String, wanted: String },
}

/// The claim as it is created here.
fn ready(pvc: &Value, restore: &Value, site: &Site) -> Result<Value, LandError> {
    let source = view::origin(pvc, || format!("PersistentVolumeClaim {}", claim::title(pvc)), restore)?;
    Ok(landed(pvc, &site.mapping, &source, &site.name)?)
}

/// Whether the claim of that name that is here already will do.
fn compare(existing: &Value, wanted: &Value) -> Result<(), LandError> {
    let (has, wants) = (claim::volume(existing), claim::volume(wanted));
    if has == wants {
        return Ok(());
    }
    Err(LandError::OtherVolume {
        claim: claim::title(existing),
        has: has.map_or_else(|| "has no volume".to_owned(), |pv| format!("is bound to PersistentVolume {pv}")),
        wanted: wants.unwrap_or("(none)").to_owned(),
    })
}

#[async_trait]
impl RestoreItemAction for LandClaim {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let pvc = input.item;
        if is_promoted(&pvc) {
            tracing::debug!("left out PersistentVolumeClaim {}: it is a promoted snapshot", claim::title(&pvc));
            return Ok(RestoreOutput::skip());
        }
        if is_velero_s(&pvc) {
            return Ok(RestoreOutput::unchanged());
        }
        let mut wanted = ready(&pvc, input.restore, self.0.site().await?)?;
        // It was for Velero's ears, at the backup.
        view::unannotate(&mut wanted, MUST_INCLUDE);
        populated(&mut wanted, &input.item_from_backup);
        // Velero maps the namespace only after the actions.
        let namespace = view::target_namespace(view::namespace(&pvc), input.restore);
        if let Some(existing) = self.0.get(&CLAIMS, Some(namespace), view::name(&pvc)).await? {
            compare(&existing, &wanted)?;
            return Ok(RestoreOutput::skip());
        }
        Ok(RestoreOutput::changed(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::site;
    use leeward_model::keys::SITE;
    use serde_json::json;

    fn pvc(volume: &str) -> Value {
        json!({
            "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": "shop", "name": "db-data", "annotations": {SITE: "east"}},
            "spec": {
                "storageClassName": "gold", "volumeName": volume, "dataSource": {"kind": "VolumeSnapshot", "name": "s"},
                "new-field": 1
            }
        })
    }

    #[test]
    fn lands_bound_and_in_this_site_s_class() {
        let got = ready(&pvc("pv1"), &json!({}), &site("west")).unwrap();
        assert_eq!(got["spec"], json!({"storageClassName": "silver", "volumeName": "pv1", "new-field": 1}));
        // A restore where it was backed up.
        let got = ready(&pvc("pv1"), &json!({}), &site("east")).unwrap();
        assert_eq!(got["spec"]["storageClassName"], "gold");
    }

    #[test]
    fn a_claim_without_volume_would_get_an_empty_one() {
        let text = ready(&pvc(""), &json!({}), &site("west")).unwrap_err().to_string();
        assert!(text.contains("shop/db-data"), "{text}");
    }

    #[test]
    fn only_the_same_volume_will_do() {
        assert!(compare(&pvc("pv1"), &pvc("pv1")).is_ok());
        for (other, part) in [("pv2", "pv2"), ("", "no volume")] {
            let text = compare(&pvc(other), &pvc("pv1")).unwrap_err().to_string();
            assert!(text.contains("LW-0630") && text.contains(part) && text.contains("pv1"), "{text}");
        }
    }
}
