//! A Velero `Restore`: what Leeward asks for, and how it ended.
//!
//! `restorePVs` stays unset: with `false`, Velero's CSI plug-in clears the claims' volume names, which would provision new,
//! empty disks. `includeClusterResources` stays unset as well, so that the PVs come.

use crate::{VeleroError, excluded, phase, request};
use jiff::Timestamp;
use leeward_model::keys;
use leeward_model::name::{GroupName, RunId};
use serde_json::{Value, json};

/// What is to be restored. The name is the identity, as for a backup.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// Name of the `Restore`, deterministic; at most 60 characters.
    pub name: String,
    /// The `Backup` it takes from: [`crate::BackupOutcome::name`].
    pub backup: String,
    /// The protection group.
    pub group: GroupName,
    /// The run or cycle that asks.
    pub run: RunId,
    /// Whether objects that exist and differ are patched to what the backup says; otherwise they stay as they are.
    pub update_existing: bool,
}

/// How a completed restore ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// Name of the completed `Restore`: the requested one, or `<name>-2`, … if earlier attempts failed.
    pub name: String,
    /// When Velero completed it.
    pub completed: Option<Timestamp>,
    /// Objects that were restored or found right.
    pub items: u64,
    /// What Velero warned of, e.g. an object that exists and differs. Empty if Velero's results cannot be read.
    pub warnings: Vec<String>,
}

impl RestoreRequest {
    /// Refuses names that Velero could not use.
    ///
    /// # Errors
    /// The name of the restore or of the backup is not one.
    pub fn check(&self) -> Result<(), VeleroError> {
        request::check_name("Restore", &self.name)?;
        if self.backup.is_empty() {
            return Err(request::invalid("Restore", &self.name, "it names no backup"));
        }
        Ok(())
    }

    /// The `Restore` to create under `name` (an attempt at this request) in Velero's `namespace`.
    #[must_use]
    pub fn object(&self, name: &str, namespace: &str) -> Value {
        let excluded =
            [excluded::NAMESPACED, excluded::CLUSTER_SCOPED, excluded::STARTS_CONTAINERS, excluded::NEVER_RESTORED]
                .concat();
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "Restore",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    keys::GROUP: self.group,
                    keys::RUN: self.run,
                    // Read by the KubeVirt plug-in, so that it agrees with Leeward's own: no VM starts by being restored.
                    "velero.kubevirt.io/restore-run-strategy": "Halted",
                },
            },
            "spec": {
                "backupName": self.backup,
                "existingResourcePolicy": if self.update_existing { "update" } else { "none" },
                "excludedResources": excluded,
                "itemOperationTimeout": "1h0m0s",
            },
        })
    }

    /// In what a `Restore` that has the name already is not the one asked for.
    pub(crate) fn difference(&self, existing: &Value) -> Option<String> {
        let group = request::text(existing, &["metadata", "labels", keys::GROUP]);
        let backup = request::text(existing, &["spec", "backupName"]);
        if group != Some(self.group.as_str()) {
            return Some(format!("its group is {}, not {}", group.unwrap_or("none"), self.group));
        }
        (backup != Some(&self.backup))
            .then(|| format!("it restores backup {}, not {}", backup.unwrap_or("none"), self.backup))
    }
}

impl RestoreOutcome {
    pub(crate) fn read(name: &str, restore: &Value, warnings: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            completed: phase::completed(restore),
            items: phase::items_done(restore),
            warnings,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request() -> RestoreRequest {
        RestoreRequest {
            name: "shop-stage-1".into(),
            backup: "shop-rp-1".into(),
            group: GroupName::parse("shop").unwrap(),
            run: RunId::parse("cycle-1").unwrap(),
            update_existing: true,
        }
    }

    #[test]
    fn restores_halted_and_statically() {
        insta::assert_json_snapshot!(request().object("shop-stage-1", "velero"));
    }

    #[test]
    fn leaves_existing_objects_alone_unless_asked() {
        let request = RestoreRequest { update_existing: false, ..request() };
        assert_eq!(request.object("x", "velero")["spec"]["existingResourcePolicy"], "none");
    }

    #[test]
    fn knows_its_own_restore_by_group_and_backup() {
        let restore = request().object("shop-stage-1", "velero");
        assert_eq!(request().difference(&restore), None);
        let other = RestoreRequest { backup: "shop-rp-2".into(), ..request() };
        assert_eq!(other.difference(&restore).unwrap(), "it restores backup shop-rp-1, not shop-rp-2");
    }
}
