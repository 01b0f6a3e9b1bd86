//! Backup, PVs and PVCs: makes the stored copy of a volume restorable, and says where it is from.
//!
//! Velero restores a PV as it is only if its stored reclaim policy is not `Delete`, and asks no restore plug-in otherwise.
//! So the stored copy says `Retain`; the live PV is not touched. Site and original policy go into annotations; so does, for
//! the volume of a promoted claim, the claim that it was promoted from, since nothing else in a PV tells that. A claim gets
//! the site as well: its storage class is a name of that site.
//!
//! If the claim is to be recovered from its promoted volume, the stored copy has to say where that is. Velero backs the PV
//! up before any of our actions on the claim runs, so this one waits for the promotion, too.

use crate::cluster::{CLAIMS, Cluster, VOLUMES};
use crate::metadata_only::{self, MetadataOnly};
use crate::naming::MAX_NAME;
use crate::policy::RecoverFrom;
use crate::promote::{is_promoted, title};
use crate::promoter::Promoter;
use crate::selection::{self, Selection};
use crate::{recover_from, view};
use leeward_model::keys::{ORIGINAL_RECLAIM_POLICY, PROMOTE, PROMOTED_FROM, SITE, VOLUME_DATA};
use leeward_model::name::SiteName;
use serde_json::Value;
use std::sync::Arc;
use velero_plugin::{ActionError, BackupItemAction, BackupOutput, Selector, async_trait};

/// See the module.
pub(crate) struct KeepVolume {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) promoter: Arc<Promoter>,
    pub(crate) metadata_only: Arc<MetadataOnly>,
}

/// The claim could not be recovered from this backup.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(
        "PersistentVolumeClaim {claim} is backed up without its PersistentVolume, so it could never be bound to its copy: the \
         Backup has {field}; take that out, then back up again [LW-0633]"
    )]
    NoVolumes { claim: String, field: String },
    #[error(
        "PersistentVolumeClaim {claim} is to be recovered from a promoted volume, but the recovery point has no snapshot of \
         it; take one, or annotate the claim with {PROMOTE}: none to recover it from its own volume [LW-0625]"
    )]
    NothingPromoted { claim: String },
    #[error(
        "{kind} {name} has a name of {length} bytes, and Velero could restore nothing of a backup that has one of more than \
         {MAX_NAME}, so it is left out; give it a shorter name, then back up again [LW-0636]"
    )]
    Name { kind: String, name: String, length: usize },
    #[error("PersistentVolume {volume} of the promoted claim {claim} is gone; back up again [LW-0625]")]
    VolumeGone { volume: String, claim: String },
}

/// Whether the stored copy says where it is from. An annotation that is there already stays: it was written where the
/// address was.
fn stamped(mut object: Value, site: &SiteName) -> Value {
    view::unannotate(&mut object, VOLUME_DATA);
    if view::annotation(&object, SITE).is_none() {
        view::annotate(&mut object, SITE, site.as_str());
    }
    object
}

/// Whether Velero can restore what it stores under this name.
fn storable(item: &Value) -> Result<(), KeepError> {
    let length = view::name(item).len();
    if length <= MAX_NAME {
        return Ok(());
    }
    let kind = view::text(item, "/kind").unwrap_or_default().to_owned();
    let name = if kind == "PersistentVolume" { view::name(item).to_owned() } else { title(item) };
    Err(KeepError::Name { kind, name, length })
}

/// The stored copy of a PV at `site`, whose claim was promoted from the claim `promoted_from`.
fn kept(pv: Value, site: &SiteName, promoted_from: Option<&str>) -> Value {
    let mut pv = stamped(pv, site);
    recover_from::clear(&mut pv);
    let policy = view::text(&pv, "/spec/persistentVolumeReclaimPolicy").unwrap_or("Retain").to_owned();
    // A PV that Leeward brought here has `Retain`, and the policy it had at home in the annotation.
    if policy != "Retain" || view::annotation(&pv, ORIGINAL_RECLAIM_POLICY).is_none() {
        view::annotate(&mut pv, ORIGINAL_RECLAIM_POLICY, &policy);
    }
    if let Some(claim) = promoted_from {
        view::annotate(&mut pv, PROMOTED_FROM, claim);
    }
    if let Some(spec) = pv.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("persistentVolumeReclaimPolicy".to_owned(), "Retain".into());
    }
    pv
}

impl KeepVolume {
    /// The PV of `claim`'s promoted claim, if that is what a restore is to use.
    async fn promoted(&self, claim: &Value, backup: &Value) -> Result<Option<Value>, ActionError> {
        let Some(request) = self.promoter.request(backup).await? else { return Ok(None) };
        let concerned = !is_promoted(claim)
            && view::annotation(claim, PROMOTE) != Some("none")
            && Selection::of(backup).takes(view::namespace(claim));
        if request.recover_from == RecoverFrom::Live || !concerned {
            return Ok(None);
        }
        let nothing = || KeepError::NothingPromoted { claim: title(claim) };
        let promoted = self.promoter.promoted(claim, backup).await?.ok_or_else(nothing)?;
        let volume = view::text(&promoted.claim, "/spec/volumeName").unwrap_or_default();
        let gone = || KeepError::VolumeGone { volume: volume.to_owned(), claim: title(&promoted.claim) };
        Ok(Some(self.cluster.get(&VOLUMES, None, volume).await?.ok_or_else(gone)?))
    }
}

#[async_trait]
impl BackupItemAction for KeepVolume {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes", "persistentvolumeclaims"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        storable(&item)?;
        if metadata_only::allowed(backup) {
            return Ok(BackupOutput::changed(metadata_only::left_to_velero(item)));
        }
        self.metadata_only.check(backup).await?;
        let site = &self.cluster.site().await?.name;
        if item["kind"] != "PersistentVolume" {
            if let Some(field) = selection::without_volumes(backup) {
                return Err(KeepError::NoVolumes { claim: title(&item), field }.into());
            }
            return Ok(BackupOutput::changed(stamped(item, site)));
        }
        // One GET per volume: promoted claims are made during the backup, so a list would be out of date.
        let claim = match view::claim_of(&item) {
            Some((namespace, name)) => self.cluster.get(&CLAIMS, Some(namespace), name).await?,
            None => None,
        };
        let promoted_from = claim.as_ref().and_then(|claim| {
            view::label(claim, PROMOTED_FROM).map(|short| view::annotation(claim, PROMOTED_FROM).unwrap_or(short))
        });
        let mut pv = kept(item, site, promoted_from);
        if let Some(claim) = &claim
            && let Some(promoted) = self.promoted(claim, backup).await?
        {
            recover_from::write(&mut pv, &promoted, site);
        }
        Ok(BackupOutput::changed(pv))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pv(policy: &str) -> Value {
        json!({
            "kind": "PersistentVolume", "metadata": {"name": "pv1"},
            "spec": {"persistentVolumeReclaimPolicy": policy, "nfs": {"server": "10.77.0.1", "path": "/export/a"}, "new": [1]}
        })
    }

    fn east() -> SiteName {
        SiteName::parse("east").unwrap()
    }

    #[test]
    fn the_stored_copy_is_retained_and_knows_its_origin() {
        let got = kept(pv("Delete"), &east(), None);
        let mut expected = pv("Retain");
        expected["metadata"]["annotations"] = json!({SITE: "east", ORIGINAL_RECLAIM_POLICY: "Delete"});
        assert_eq!(got, expected);
    }

    #[test]
    fn the_site_that_is_written_there_stays() {
        let mut pv = pv("Delete");
        pv["metadata"]["annotations"] = json!({SITE: "west"});
        assert_eq!(kept(pv, &east(), None)["metadata"]["annotations"][SITE], "west");
    }

    #[test]
    fn a_volume_that_came_over_keeps_the_policy_it_had_at_home() {
        let mut pv = pv("Retain");
        pv["metadata"]["annotations"] = json!({ORIGINAL_RECLAIM_POLICY: "Delete"});
        let got = kept(pv.clone(), &east(), None);
        assert_eq!(got["metadata"]["annotations"][ORIGINAL_RECLAIM_POLICY], "Delete");
        // Unless somebody has changed the live one since.
        pv["spec"]["persistentVolumeReclaimPolicy"] = "Recycle".into();
        let got = kept(pv, &east(), None);
        assert_eq!(got["metadata"]["annotations"][ORIGINAL_RECLAIM_POLICY], "Recycle");
    }

    #[test]
    fn twice_is_once() {
        let once = kept(pv("Delete"), &east(), Some("db-data"));
        assert_eq!(kept(once.clone(), &east(), Some("db-data")), once);
        assert_eq!(once["metadata"]["annotations"][PROMOTED_FROM], "db-data");
    }

    #[test]
    fn a_name_that_no_file_can_have_is_refused() {
        let named = |length: usize| {
            let mut pv = pv("Delete");
            pv["metadata"]["name"] = "n".repeat(length).into();
            storable(&pv)
        };
        assert!(named(250).is_ok());
        let text = named(251).unwrap_err().to_string();
        assert!(
            text.contains("PersistentVolume nnn") && text.contains("251 bytes") && text.contains("LW-0636"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_volume_of_a_promoted_claim_is_told_by_its_claim() {
        let mut claim = json!({"metadata": {"namespace": "shop", "name": "a-rp-1", "labels": {PROMOTED_FROM: "a"}}});
        claim["kind"] = "PersistentVolumeClaim".into();
        let played = Arc::new(crate::played::Played::new(vec![claim.clone()], Vec::new()));
        let cluster = played.cluster();
        let action = KeepVolume {
            cluster: Arc::clone(&cluster),
            promoter: Arc::new(Promoter::new(Arc::clone(&cluster))),
            metadata_only: Arc::new(MetadataOnly::new(cluster)),
        };
        let backup = json!({"spec": {"snapshotVolumes": false}});
        let execute = async |claim: &str| {
            let mut pv = pv("Delete");
            pv["spec"]["claimRef"] = json!({"namespace": "shop", "name": claim});
            action.execute(pv, &backup).await.unwrap().item.unwrap()
        };
        assert_eq!(execute("a-rp-1").await["metadata"]["annotations"][PROMOTED_FROM], "a");
        assert!(execute("gone").await["metadata"]["annotations"].get(PROMOTED_FROM).is_none());
        let stored = action.execute(claim.clone(), &backup).await.unwrap().item.unwrap();
        assert_eq!(stored["metadata"]["annotations"], json!({SITE: "east"}), "a claim's class is a name of its site");
        assert_eq!(played.count("GET /api/v1/namespaces/velero/configmaps/leeward-site"), 1, "read once");

        let text = action.execute(claim.clone(), &json!({})).await.unwrap_err().to_string();
        assert!(text.contains("snapshotVolumes") && text.contains("LW-0632"), "{text}");
        let alone = json!({"spec": {"snapshotVolumes": false, "includeClusterResources": false}});
        let text = action.execute(claim.clone(), &alone).await.unwrap_err().to_string();
        assert!(text.contains("shop/a-rp-1") && text.contains("LW-0633"), "{text}");
        // Velero's own business: the restore leaves it alone, and a later backup forgets that.
        let allowing = json!({"metadata": {"annotations": {VOLUME_DATA: "allow"}}});
        let left = action.execute(claim, &allowing).await.unwrap().item.unwrap();
        assert!(metadata_only::is_velero_s(&left));
        assert!(!metadata_only::is_velero_s(&action.execute(left, &backup).await.unwrap().item.unwrap()));
    }
}
