//! A backup for the other site holds objects only. Where Velero would take a volume's data as well, its restore would make a
//! new volume from it instead of using the storage's copy, and no restore plug-in would be asked. Such a backup is refused.
//!
//! It cannot be corrected: an action gets a copy of the Backup, and Velero decides with its own, before the action for a
//! pod's volumes and after it for a claim's. So each volume fails, with what to set; that keeps Velero from taking the data,
//! for its own action on a claim backs the PV up first, and what fails there ends the claim. A Backup that is meant to hold
//! data says so.

use crate::cluster::{CONFIG_MAPS, Cluster, ClusterError};
use crate::view;
use leeward_model::keys::VOLUME_DATA;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::OnceCell;
use velero_plugin::{ActionError, BackupItemAction, BackupOutput, Selector, async_trait};

/// Value of [`VOLUME_DATA`].
const ALLOW: &str = "allow";
const FS_BACKUP: &str = "backup.velero.io/backup-volumes";

/// Velero would take a volume's data.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeDataError {
    #[error(
        "the Backup has {field}, so Velero would take the volumes' data, and a restore would make new volumes from it instead \
         of using the storage's copies: {set}. If it is to hold data and is not for the other site, annotate it with \
         {VOLUME_DATA}: {ALLOW} [LW-0632]"
    )]
    Backup { field: String, set: &'static str },
    #[error(
        "pod {pod} has the annotation {FS_BACKUP}: {volumes}, so Velero would take those volumes' data; remove it, or annotate \
         the Backup with {VOLUME_DATA}: {ALLOW} [LW-0632]"
    )]
    Pod { pod: String, volumes: String },
    #[error(
        "ConfigMap {namespace}/{name}, the Backup's volume policies, cannot be read ({why}), so it cannot be told whether \
         Velero would take the volumes' data; correct it [LW-0632]"
    )]
    Policies { namespace: String, name: String, why: String },
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Whether the Backup says that it may hold volumes' data.
pub(crate) fn allowed(backup: &Value) -> bool {
    view::annotation(backup, VOLUME_DATA) == Some(ALLOW)
}

/// Whether Velero may have taken the data of a stored PV or claim itself.
pub(crate) fn is_velero_s(stored: &Value) -> bool {
    view::annotation(stored, VOLUME_DATA).is_some()
}

/// Marks what Velero may take the data of.
pub(crate) fn left_to_velero(mut item: Value) -> Value {
    view::annotate(&mut item, VOLUME_DATA, ALLOW);
    item
}

/// What the Backup's own fields say. Velero has put its server's defaults in by now, but for `snapshotVolumes`, which
/// counts as true; that matters only where there is something to take snapshots with.
fn fields(backup: &Value, csi: bool) -> Result<(), VolumeDataError> {
    let spec = &backup["spec"];
    let refused = |field: String, set| Err(VolumeDataError::Backup { field, set });
    for (field, set) in [
        ("snapshotMoveData", "set spec.snapshotMoveData: false"),
        ("defaultVolumesToFsBackup", "set spec.defaultVolumesToFsBackup: false"),
        ("defaultVolumesToRestic", "set spec.defaultVolumesToRestic: false"),
    ] {
        if spec[field] == true {
            return refused(format!("spec.{field}: true (its own, or the server's default)"), set);
        }
    }
    let locations = spec["volumeSnapshotLocations"].as_array().is_some_and(|locations| !locations.is_empty());
    if spec["snapshotVolumes"] != false && (csi || locations) {
        let field = match &spec["snapshotVolumes"] {
            Value::Null => "no spec.snapshotVolumes, which means true".to_owned(),
            value => format!("spec.snapshotVolumes: {value}"),
        };
        return refused(field, "set spec.snapshotVolumes: false (velero backup create --snapshot-volumes=false)");
    }
    Ok(())
}

/// The first action of the volume policies that takes data: (index, type).
fn taking(policies: &str) -> Result<Option<(usize, String)>, String> {
    let document: Value = serde_saphyr::from_str(policies).map_err(|e| e.to_string())?;
    let all = document["volumePolicies"].as_array().ok_or("it has no volumePolicies")?;
    let of = |policy: &Value| policy["action"]["type"].as_str().unwrap_or_default().to_owned();
    Ok(all.iter().map(of).enumerate().find(|(_, action)| action == "snapshot" || action == "fs-backup"))
}

/// The policy that takes data, in words, if there is one; or why it cannot be told.
type Verdict = Result<Option<String>, String>;

/// Guards a backup.
pub(crate) struct MetadataOnly {
    cluster: Arc<Cluster>,
    /// The verdict on the volume policies in the ConfigMap of that name. A process lives for one backup.
    policies: OnceCell<(String, Verdict)>,
}

impl MetadataOnly {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, policies: OnceCell::new() }
    }

    /// # Errors
    /// If Velero would take volumes' data for this backup.
    pub(crate) async fn check(&self, backup: &Value) -> Result<(), VolumeDataError> {
        if allowed(backup) {
            return Ok(());
        }
        fields(backup, self.cluster.csi())?;
        let Some(name) = view::text(backup, "/spec/resourcePolicy/name") else { return Ok(()) };
        let read = || async { Ok::<_, ClusterError>((name.to_owned(), self.policies(name).await?)) };
        let (read_of, verdict) = self.policies.get_or_try_init(read).await?;
        let verdict = if read_of == name { verdict.clone() } else { self.policies(name).await? };
        match verdict {
            Ok(None) => Ok(()),
            Ok(Some(field)) => {
                Err(VolumeDataError::Backup { field, set: "take that policy out, or make its action skip" })
            }
            Err(why) => {
                let namespace = self.cluster.namespace().to_owned();
                Err(VolumeDataError::Policies { namespace, name: name.to_owned(), why })
            }
        }
    }

    async fn policies(&self, name: &str) -> Result<Verdict, ClusterError> {
        let config_map = self.cluster.get(&CONFIG_MAPS, Some(self.cluster.namespace()), name).await?;
        // Velero takes whatever key there is.
        let data = config_map.as_ref().and_then(|map| map["data"].as_object());
        for text in data.into_iter().flat_map(|data| data.values()).filter_map(Value::as_str) {
            match taking(text) {
                Ok(None) => {}
                Ok(Some((index, action))) => {
                    return Ok(Ok(Some(format!(
                        "volume policies in ConfigMap {name}, of which number {} has action {action}",
                        index + 1
                    ))));
                }
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(None))
    }
}

/// Backup, pods: refuses those whose volumes Velero would read out.
pub(crate) struct RefuseVolumeData(pub(crate) Arc<MetadataOnly>);

#[async_trait]
impl BackupItemAction for RefuseVolumeData {
    fn applies_to(&self) -> Selector {
        Selector::resources(["pods"])
    }

    async fn execute(&self, pod: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        self.0.check(backup).await?;
        if let Some(volumes) = view::annotation(&pod, FS_BACKUP)
            && !allowed(backup)
        {
            let pod = crate::promote::title(&pod);
            return Err(VolumeDataError::Pod { pod, volumes: volumes.to_owned() }.into());
        }
        Ok(BackupOutput::unchanged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Played;
    use serde_json::json;

    #[test]
    fn every_way_in_which_data_would_travel_is_refused_with_what_to_set() {
        let off = json!({"snapshotVolumes": false, "snapshotMoveData": false, "defaultVolumesToFsBackup": false});
        assert!(fields(&json!({"spec": off}), true).is_ok());
        // A plain Backup on a Velero that has nothing to take snapshots with.
        assert!(fields(&json!({"spec": {}}), false).is_ok());
        for (field, value, csi) in [
            ("snapshotVolumes", Value::Null, true),
            ("snapshotVolumes", true.into(), true),
            ("snapshotMoveData", true.into(), false),
            ("defaultVolumesToFsBackup", true.into(), false),
        ] {
            let mut spec = off.clone();
            spec[field] = value;
            let text = fields(&json!({"spec": spec}), csi).unwrap_err().to_string();
            assert!(text.contains(&format!("set spec.{field}: false")) && text.contains("LW-0632"), "{text}");
        }
        let native = json!({"spec": {"volumeSnapshotLocations": ["default"]}});
        assert!(fields(&native, false).unwrap_err().to_string().contains("which means true"));
    }

    #[tokio::test]
    async fn volume_policies_and_pods() {
        let policies = |action: &str| {
            json!({
                "metadata": {"namespace": "velero", "name": "policies"},
                "data": {"p": format!("version: v1\nvolumePolicies:\n- conditions: {{}}\n  action: {{ type: skip }}\n- conditions: {{}}\n  action: {{ type: {action} }}\n")}
            })
        };
        let backup =
            json!({"spec": {"snapshotVolumes": false, "resourcePolicy": {"kind": "configmap", "name": "policies"}}});
        for (action, refused) in [("skip", false), ("snapshot", true), ("fs-backup", true)] {
            let played = Arc::new(Played::empty());
            played.add("configmaps", policies(action));
            let guard = MetadataOnly::new(played.cluster());
            let got = guard.check(&backup).await;
            assert_eq!(got.is_err(), refused, "{action}");
            if let Err(error) = got {
                assert!(error.to_string().contains(&format!("number 2 has action {action}")), "{error}");
            }
        }

        let played = Arc::new(Played::empty());
        let action = RefuseVolumeData(Arc::new(MetadataOnly::new(played.cluster())));
        let mut backup = json!({"spec": {"snapshotVolumes": false}});
        let mut pod = json!({"metadata": {"namespace": "shop", "name": "p"}});
        assert!(action.execute(pod.clone(), &backup).await.is_ok());
        pod["metadata"]["annotations"] = json!({FS_BACKUP: "data"});
        let text = action.execute(pod.clone(), &backup).await.unwrap_err().to_string();
        assert!(text.contains("shop/p") && text.contains("LW-0632"), "{text}");
        backup["metadata"]["annotations"] = json!({VOLUME_DATA: "allow"});
        assert!(action.execute(pod, &backup).await.is_ok(), "asked for by name");
    }
}
