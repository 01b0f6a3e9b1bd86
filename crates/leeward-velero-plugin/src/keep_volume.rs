//! Backup, PVs and PVCs: makes the stored copy of a volume restorable, and says where it is from.
//!
//! Velero restores a PV as it is only if its stored reclaim policy is not `Delete`, and asks no restore plug-in otherwise.
//! So the stored copy says `Retain`; the live PV is not touched. Site and original policy go into annotations; so does, for
//! the volume of a promoted claim, the claim that it was promoted from, since nothing else in a PV tells that. A claim gets
//! the site as well: its storage class is a name of that site.

use crate::cluster::{CLAIMS, Cluster};
use crate::view;
use leeward_model::keys::{ORIGINAL_RECLAIM_POLICY, PROMOTED_FROM, SITE};
use leeward_model::name::SiteName;
use serde_json::Value;
use std::sync::Arc;
use velero_plugin::{ActionError, BackupItemAction, BackupOutput, Selector, async_trait};

/// See the module.
pub(crate) struct KeepVolume(pub(crate) Arc<Cluster>);

/// Whether the stored copy says where it is from. An annotation that is there already stays: it was written where the
/// address was.
fn stamped(mut object: Value, site: &SiteName) -> Value {
    if view::annotation(&object, SITE).is_none() {
        view::annotate(&mut object, SITE, site.as_str());
    }
    object
}

/// The stored copy of a PV at `site`, whose claim was promoted from the claim `promoted_from`.
fn kept(pv: Value, site: &SiteName, promoted_from: Option<&str>) -> Value {
    let mut pv = stamped(pv, site);
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

#[async_trait]
impl BackupItemAction for KeepVolume {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes", "persistentvolumeclaims"])
    }

    async fn execute(&self, item: Value, _: &Value) -> Result<BackupOutput, ActionError> {
        let site = &self.0.site().await?.name;
        if item["kind"] != "PersistentVolume" {
            return Ok(BackupOutput::changed(stamped(item, site)));
        }
        // One GET per volume: promoted claims are made during the backup, so a list would be out of date.
        let claim = match view::claim_of(&item) {
            Some((namespace, name)) => self.0.get(&CLAIMS, Some(namespace), name).await?,
            None => None,
        };
        let promoted_from = claim.as_ref().and_then(|claim| view::label(claim, PROMOTED_FROM));
        Ok(BackupOutput::changed(kept(item, site, promoted_from)))
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

    #[tokio::test]
    async fn the_volume_of_a_promoted_claim_is_told_by_its_claim() {
        let mut claim = json!({"metadata": {"namespace": "shop", "name": "a-rp-1", "labels": {PROMOTED_FROM: "a"}}});
        claim["kind"] = "PersistentVolumeClaim".into();
        claim["apiVersion"] = "v1".into();
        let played = Arc::new(crate::played::Played::new(vec![claim.clone()], Vec::new()));
        let action = KeepVolume(played.cluster());
        let execute = async |claim: &str| {
            let mut pv = pv("Delete");
            pv["spec"]["claimRef"] = json!({"namespace": "shop", "name": claim});
            action.execute(pv, &json!({})).await.unwrap().item.unwrap()
        };
        assert_eq!(execute("a-rp-1").await["metadata"]["annotations"][PROMOTED_FROM], "a");
        assert!(execute("gone").await["metadata"]["annotations"].get(PROMOTED_FROM).is_none());
        let stored = action.execute(claim, &json!({})).await.unwrap().item.unwrap();
        assert_eq!(stored["metadata"]["annotations"], json!({SITE: "east"}), "a claim's class is a name of its site");
        assert_eq!(played.count("GET /api/v1/namespaces/velero/configmaps"), 1, "read once");
    }
}
