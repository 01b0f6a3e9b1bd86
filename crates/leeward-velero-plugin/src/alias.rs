//! Restore, PVs: a volume that comes back to a site where a promoted claim still names the same storage.
//!
//! That happens on the way home of a machine that was recovered from a promoted volume. Deleting the promoted claim, or the
//! namespace, would then delete the machine's disk. So every other PV of that storage is told to leave it (`Retain`) before
//! the restored one is made.

use crate::cluster::{Cluster, ClusterError, VOLUMES};
use crate::retire::address;
use crate::view;
use serde_json::{Value, json};

/// Makes sure that no other PV deletes the storage of `landed`.
pub(crate) async fn keep(cluster: &Cluster, landed: &Value) -> Result<(), ClusterError> {
    let Some(storage) = address(landed) else { return Ok(()) };
    let is_other = |(of, name): &&(Value, String)| *of == storage && name != view::name(landed);
    for (_, other) in cluster.deleting().await?.iter().filter(is_other) {
        let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
        if cluster.patch(&VOLUMES, None, other, &retain).await?.is_some() {
            let landed = view::name(landed);
            tracing::warn!("PersistentVolume {other} names the same storage as {landed}; set it to Retain");
        }
    }
    Ok(())
}
