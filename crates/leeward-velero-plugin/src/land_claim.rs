//! Restore, PVCs: each claim lands bound to its volume, and takes no new, empty one. Where its volume does not land, neither
//! does the claim, which would stay Pending and tell nobody why.

use crate::adopt::populated;
use crate::cluster::{Cluster, VOLUMES};
use crate::fate::{Fate, Fates};
use crate::metadata_only::is_velero_s;
use crate::present::Present;
use crate::promote::is_promoted;
use crate::promote_snapshot::MUST_INCLUDE;
use crate::report_only::Mode;
use crate::site::Site;
use crate::view::{self, UnknownOrigin};
use leeward_model::claim::{self, ClaimError, landed};
use leeward_model::mapping::Mapping;
use serde_json::{Value, json};
use std::sync::Arc;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

/// See the module.
pub(crate) struct LandClaim {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) fates: Arc<Fates>,
    pub(crate) volumes: Arc<Present>,
    pub(crate) claims: Present,
}

/// Kubernetes writes here which driver is to make a claim's volume.
const PROVISIONED_BY: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

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
    #[error(
        "PersistentVolumeClaim {claim} is not restored, for its PersistentVolume {pv} was refused; do what the error about the \
         PersistentVolume says, then restore again [LW-0641]"
    )]
    Refused { claim: String, pv: String },
    #[error(
        "PersistentVolumeClaim {claim} is not restored, for while this restore ran somebody else made a PersistentVolume {pv} \
         at this site, so that Velero left that one as it is; look at it, delete it if it is not the right one (its data \
         stays), then restore again [LW-0641]"
    )]
    Taken { claim: String, pv: String },
    #[error(
        "PersistentVolumeClaim {claim} is not restored, for its PersistentVolume {pv} is not at this site and not in this \
         restore, and the claim would stay Pending; restore the PersistentVolume as well (without `restorePVs: false`), from a \
         backup that was made with Leeward's plug-in [LW-0641]"
    )]
    NoVolume { claim: String, pv: String },
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

/// What the mapping skips, by the driver that made the claim's volume. Velero's own action has taken the annotation away,
/// so `stored` is the claim as the backup has it.
fn skipped_driver(stored: &Value, mapping: &Mapping) -> Option<String> {
    let driver = PROVISIONED_BY.iter().find_map(|key| view::annotation(stored, key))?;
    mapping.skips(&json!({"spec": {"csi": {"driver": driver}}}))
}

impl LandClaim {
    /// The claim as it is created; `None` if it stays out.
    async fn made(&self, input: &RestoreInput<'_>, mode: Mode) -> Result<Option<Value>, ActionError> {
        let (pvc, restore) = (&input.item, input.restore);
        let site = self.cluster.site().await?;
        let pv = claim::volume(pvc).unwrap_or_default();
        let claim = claim::title(pvc);
        let fate = self.fates.of(pv);
        let left_out = |kind: &str| {
            let why = format!("its PersistentVolume {pv} is on {kind}, which the site mapping skips");
            tracing::warn!("{mode}left out PersistentVolumeClaim {claim}: {why}");
        };
        if let Some(Fate::LeftOut(kind)) = &fate {
            left_out(kind);
            return Ok(None);
        }
        let mut wanted = ready(pvc, restore, site)?;
        // It was for Velero's ears, at the backup.
        view::unannotate(&mut wanted, MUST_INCLUDE);
        populated(&mut wanted, &input.item_from_backup);
        // Velero maps the namespace only after the actions.
        let namespace = view::target_namespace(view::namespace(pvc), restore);
        if let Some(existing) = self.claims.get(&self.cluster, restore, Some(namespace), view::name(pvc)).await? {
            compare(&existing, &wanted)?;
            tracing::debug!("{mode}PersistentVolumeClaim {claim} is here and right");
            return Ok(None);
        }
        match fate {
            Some(Fate::Made) => {
                if self.volumes.taken(&self.cluster, restore, None, pv).await?.is_some() {
                    return Err(LandError::Taken { claim, pv: pv.to_owned() }.into());
                }
            }
            Some(Fate::Here) => {}
            Some(Fate::Refused) => return Err(LandError::Refused { claim, pv: pv.to_owned() }.into()),
            Some(Fate::LeftOut(_)) | None if self.cluster.get(&VOLUMES, None, pv).await?.is_some() => {}
            Some(Fate::LeftOut(_)) | None => match skipped_driver(&input.item_from_backup, &site.mapping) {
                Some(kind) => {
                    left_out(&kind);
                    return Ok(None);
                }
                None => return Err(LandError::NoVolume { claim, pv: pv.to_owned() }.into()),
            },
        }
        if mode == Mode::Test {
            let class = view::text(&wanted, "/spec/storageClassName").unwrap_or("(none)");
            tracing::info!(
                "{mode}PersistentVolumeClaim {namespace}/{} lands bound to PersistentVolume {pv}, class {class}",
                view::name(pvc)
            );
        }
        Ok(Some(wanted))
    }
}

#[async_trait]
impl RestoreItemAction for LandClaim {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let mode = Mode::of(input.restore)?;
        if is_promoted(&input.item) {
            tracing::debug!("left out PersistentVolumeClaim {}: it is a promoted snapshot", claim::title(&input.item));
            return Ok(RestoreOutput::skip());
        }
        if is_velero_s(&input.item) {
            return mode.end(Ok(RestoreOutput::unchanged()));
        }
        let made = self.made(&input, mode).await;
        mode.end(made.map(|claim| claim.map_or_else(RestoreOutput::skip, RestoreOutput::changed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::CLAIMS;
    use crate::played::Played;
    use crate::report_only::tests::test_restore;
    use crate::site::tests::{MAPPING, site};
    use leeward_model::keys::SITE;

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

    fn west() -> Arc<Played> {
        let played = Arc::new(Played::empty());
        played.set("configmaps", "leeward-site", |map| {
            map["data"] = json!({"site": "west", "mapping.yaml": format!("{MAPPING}skip:\n- driver: lvm.example\n")});
        });
        played
    }

    async fn execute(
        played: &Arc<Played>,
        fate: Option<Fate>,
        stored: Value,
        restore: &Value,
    ) -> Result<RestoreOutput, String> {
        let (volumes, claims) = (Arc::new(Present::new(&VOLUMES)), Present::new(&CLAIMS));
        let action = LandClaim { cluster: played.cluster(), fates: Arc::new(Fates::default()), volumes, claims };
        if let Some(fate) = fate {
            action.fates.set("pv1", fate);
        }
        let input = RestoreInput { item: pvc("pv1"), item_from_backup: stored, restore };
        action.execute(input).await.map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn a_claim_follows_its_volume() {
        let (played, plain) = (west(), json!({}));
        let landed = execute(&played, Some(Fate::Made), pvc("pv1"), &plain).await.unwrap();
        assert_eq!(landed.item.unwrap()["spec"]["storageClassName"], "silver");
        assert_eq!(played.count("GET /api/v1/persistentvolumes"), 0, "what is known is not asked for");
        let left_out = Some(Fate::LeftOut("spec.local".to_owned()));
        assert!(execute(&played, left_out, pvc("pv1"), &plain).await.unwrap().skip);
        let text = execute(&played, Some(Fate::Refused), pvc("pv1"), &plain).await.unwrap_err();
        assert!(text.contains("LW-0641") && text.contains("shop/db-data") && text.contains("was refused"), "{text}");
    }

    #[tokio::test]
    async fn a_claim_whose_volume_nobody_saw_looks_for_it() {
        let (played, plain) = (west(), json!({}));
        let text = execute(&played, None, pvc("pv1"), &plain).await.unwrap_err();
        assert!(text.contains("LW-0641") && text.contains("pv1") && text.contains("shop/db-data"), "{text}");
        let mut made_by = pvc("pv1");
        made_by["metadata"]["annotations"][PROVISIONED_BY[0]] = "lvm.example".into();
        assert!(execute(&played, None, made_by.clone(), &plain).await.unwrap().skip);
        made_by["metadata"]["annotations"][PROVISIONED_BY[0]] = "nfs.csi.k8s.io".into();
        assert!(execute(&played, None, made_by, &plain).await.is_err());
        played.add("persistentvolumes", json!({"metadata": {"name": "pv1"}}));
        assert!(execute(&played, None, pvc("pv1"), &plain).await.unwrap().item.is_some());
    }

    #[tokio::test]
    async fn a_claim_is_not_bound_to_a_volume_that_somebody_else_made_meanwhile() {
        let (played, restore) = (west(), json!({"metadata": {"name": "r"}}));
        let (cluster, volumes) = (played.cluster(), Arc::new(Present::new(&VOLUMES)));
        for number in 0..100 {
            assert!(volumes.get(&cluster, &restore, None, &format!("pv-{number}")).await.unwrap().is_none());
        }
        let fates = Arc::new(Fates::default());
        fates.set("pv1", Fate::Made);
        let claims = Present::new(&CLAIMS);
        let action = LandClaim { cluster: Arc::clone(&cluster), fates, volumes: Arc::clone(&volumes), claims };
        let execute = async || {
            let input = RestoreInput { item: pvc("pv1"), item_from_backup: pvc("pv1"), restore: &restore };
            action.execute(input).await.map(|output| output.item)
        };
        assert!(execute().await.unwrap().is_some());
        played.add("persistentvolumes", json!({"metadata": {"name": "pv1"}}));
        while volumes.taken(&cluster, &restore, None, "pv1").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let text = execute().await.unwrap_err().to_string();
        assert!(text.contains("LW-0641") && text.contains("somebody else") && text.contains("shop/db-data"), "{text}");
    }

    #[tokio::test]
    async fn in_test_mode_nothing_lands() {
        let (played, restore) = (west(), test_restore());
        let landed = execute(&played, Some(Fate::Made), pvc("pv1"), &restore).await.unwrap();
        assert_eq!(landed, RestoreOutput::skip());
        assert!(execute(&played, None, pvc("pv1"), &restore).await.unwrap_err().contains("LW-0641"));
    }
}
