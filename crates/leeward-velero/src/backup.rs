//! A Velero `Backup`: what Leeward asks for, and how it ended.
//!
//! It holds objects only. Each of the three ways by which Velero takes data is switched off by name, as the server's flags
//! would otherwise decide.
//!
//! What is left out is written into `excludedNamespaceScopedResources` and `excludedClusterScopedResources`, not into
//! `excludedResources`: the KubeVirt plug-in for Velero fails the backup of a running VM whose `Backup` names pods or VMIs in
//! `excludedResources`, as Velero's snapshot of the disk would then be torn. Leeward's disks come from elsewhere, and with
//! the launcher pods in the backup Velero would run KubeVirt's freeze hooks a second time. The two ways of filtering
//! cannot be mixed, so `includeClusterResources` stays unset; PVs come because Velero's own plug-in asks for them.

use crate::{VeleroError, excluded, phase, request};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use leeward_model::keys;
use leeward_model::name::{GroupName, Namespace, PointId, RunId, SiteName};
use serde_json::{Value, json};
use std::time::Duration;

/// What is to be backed up. The name is the identity: the same name is the same backup, however often it is asked for.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// Name of the `Backup`, deterministic for what it is made for, e.g. `shop-rp-20261122-180501`; at most 60 characters.
    pub name: String,
    /// The protection group.
    pub group: GroupName,
    /// The run or cycle that asks.
    pub run: RunId,
    /// The recovery point; with it, the plug-in promotes the point's snapshots.
    pub point: Option<PointId>,
    /// The namespaces to take; never empty.
    pub namespaces: Vec<Namespace>,
    /// Takes only objects that match; `None` takes all.
    pub label_selector: Option<LabelSelector>,
    /// How long Velero keeps it, from its creation; `None` is 30 days.
    pub ttl: Option<Duration>,
}

/// How a completed backup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOutcome {
    /// Name of the completed `Backup`: the requested one, or `<name>-2`, … if earlier attempts failed. Use this one from here on.
    pub name: String,
    /// When Velero completed it.
    pub completed: Option<Timestamp>,
    /// Objects in it.
    pub items: u64,
    /// Warnings that Velero counted.
    pub warnings: u64,
}

/// Velero's own default, written out so that the server's flag does not decide how long a recovery point lives.
const TTL: Duration = Duration::from_secs(720 * 3600);

impl BackupRequest {
    /// Refuses what Velero would read otherwise than meant.
    ///
    /// # Errors
    /// The name is not one, or there is no namespace (Velero would take *all*).
    pub fn check(&self) -> Result<(), VeleroError> {
        request::check_name("Backup", &self.name)?;
        if self.namespaces.is_empty() {
            return Err(request::invalid(
                "Backup",
                &self.name,
                "it names no namespace, which to Velero means all of them",
            ));
        }
        if self.ttl.is_some_and(|ttl| ttl < Duration::from_secs(60)) {
            return Err(request::invalid("Backup", &self.name, "its ttl is shorter than a minute"));
        }
        Ok(())
    }

    /// The `Backup` to create under `name` (an attempt at this request) in Velero's `namespace`.
    #[must_use]
    pub fn object(&self, name: &str, site: &SiteName, namespace: &str, location: &str) -> Value {
        let mut backup = json!({
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    keys::GROUP: self.group,
                    keys::RUN: self.run,
                    // Read by the KubeVirt plug-in: do not refuse VMs for disks that are not in this backup.
                    "velero.kubevirt.io/metadataBackup": "true",
                },
                "annotations": { keys::SITE: site },
            },
            "spec": {
                "storageLocation": location,
                "includedNamespaces": self.namespaces,
                "excludedNamespaceScopedResources": excluded::NAMESPACED,
                "excludedClusterScopedResources": excluded::CLUSTER_SCOPED,
                "snapshotVolumes": false,
                "defaultVolumesToFsBackup": false,
                "snapshotMoveData": false,
                "csiSnapshotTimeout": "10m0s",
                // No plug-in of Leeward works on after its call; one of somebody else's gets an hour, not Velero's four.
                "itemOperationTimeout": "1h0m0s",
                "ttl": request::go_duration(self.ttl.unwrap_or(TTL)),
            },
        });
        if let Some(point) = &self.point {
            backup["metadata"]["annotations"][keys::RECOVERY_POINT] = json!(point);
        }
        if let Some(selector) = &self.label_selector {
            backup["spec"]["labelSelector"] = json!(selector);
        }
        backup
    }

    /// In what a `Backup` that has the name already is not the one asked for.
    pub(crate) fn difference(&self, existing: &Value) -> Option<String> {
        let group = request::text(existing, &["metadata", "labels", keys::GROUP]);
        let point = request::text(existing, &["metadata", "annotations", keys::RECOVERY_POINT]);
        if group != Some(self.group.as_str()) {
            return Some(format!("its group is {}, not {}", group.unwrap_or("none"), self.group));
        }
        let wanted = self.point.as_ref().map(PointId::as_str);
        (point != wanted)
            .then(|| format!("its recovery point is {}, not {}", point.unwrap_or("none"), wanted.unwrap_or("none")))
    }
}

impl BackupOutcome {
    pub(crate) fn read(name: &str, backup: &Value) -> Self {
        Self {
            name: name.to_owned(),
            completed: phase::completed(backup),
            items: phase::items_done(backup),
            warnings: phase::number(backup, "warnings"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    pub(crate) fn request() -> BackupRequest {
        BackupRequest {
            name: "shop-rp-1".into(),
            group: GroupName::parse("shop").unwrap(),
            run: RunId::parse("cycle-1").unwrap(),
            point: Some(PointId::parse("rp-1").unwrap()),
            namespaces: vec![Namespace::parse("shop").unwrap()],
            label_selector: None,
            ttl: None,
        }
    }

    fn east() -> SiteName {
        SiteName::parse("east").unwrap()
    }

    #[test]
    fn holds_objects_only() {
        insta::assert_json_snapshot!(request().object("shop-rp-1", &east(), "velero", "default"));
    }

    #[test]
    fn takes_what_the_selector_matches_and_no_point_if_there_is_none() {
        let mut request = request();
        request.point = None;
        request.ttl = Some(Duration::from_secs(5400));
        request.label_selector = Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("tier".to_owned(), "db".to_owned())])),
            ..LabelSelector::default()
        });
        let backup = request.object("shop-rp-1-2", &east(), "openshift-adp", "dpa-1");
        assert_eq!(backup["metadata"]["name"], "shop-rp-1-2");
        assert_eq!(backup["spec"]["labelSelector"], json!({ "matchLabels": { "tier": "db" } }));
        assert_eq!(backup["spec"]["ttl"], "1h30m0s");
        assert_eq!(backup["metadata"]["annotations"], json!({ keys::SITE: "east" }));
    }

    /// Velero fails the validation of a Backup that uses both ways of filtering.
    #[test]
    fn the_two_ways_of_filtering_are_not_mixed() {
        let spec = &request().object("x", &east(), "velero", "default")["spec"];
        for field in ["includedResources", "excludedResources", "includeClusterResources"] {
            assert!(spec.get(field).is_none(), "{field}");
        }
    }

    #[test]
    fn all_namespaces_is_never_meant() {
        let mut request = request();
        request.check().unwrap();
        request.namespaces.clear();
        assert!(request.check().unwrap_err().to_string().ends_with("[LW-0205]"));
    }

    #[test]
    fn knows_its_own_backup_by_group_and_point() {
        let backup = request().object("shop-rp-1", &east(), "velero", "default");
        assert_eq!(request().difference(&backup), None);
        let mut other = request();
        other.point = None;
        assert_eq!(other.difference(&backup).unwrap(), "its recovery point is rp-1, not none");
        other = request();
        other.group = GroupName::parse("bank").unwrap();
        assert_eq!(other.difference(&backup).unwrap(), "its group is shop, not bank");
    }

    #[test]
    fn the_outcome_is_what_velero_counted() {
        let backup = json!({ "status": {
            "phase": "Completed", "warnings": 2, "completionTimestamp": "2026-11-22T18:05:01Z",
            "progress": { "itemsBackedUp": 7, "totalItems": 7 },
        }});
        let completed = Some("2026-11-22T18:05:01Z".parse().unwrap());
        let expected = BackupOutcome { name: "b".into(), completed, items: 7, warnings: 2 };
        assert_eq!(BackupOutcome::read("b", &backup), expected);
    }
}
