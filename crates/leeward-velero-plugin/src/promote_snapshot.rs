//! Backup, PVCs: turns a recovery point's VolumeSnapshots into volumes that the storage replicates.
//!
//! The first claim of a namespace starts the promotion of *all* the point's snapshots there; each claim then waits for its
//! own. So a backup waits for the slowest promotion, not for the sum. A later attempt finds what an earlier one made. It
//! hangs on claims because snapshots do not reach a backup from Velero 1.17 on.

use crate::cluster::{CLAIMS, Cluster, ClusterError, Created, SNAPSHOTS};
use crate::promote::{self, PromoteError, Promotion, Request, State};
use crate::view;
use futures::{StreamExt as _, future};
use leeward_model::keys::{PROMOTION_DEADLINE, RECOVERY_POINT};
use leeward_model::name::PointId;
use serde_json::Value;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout_at};
use velero_plugin::{ActionError, BackupItemAction, BackupOutput, ItemId, Selector, async_trait};

/// See the module.
pub(crate) struct PromoteSnapshot {
    cluster: Arc<Cluster>,
    /// A process lives for one backup, so these are few.
    batches: Mutex<HashMap<Key, Arc<OnceCell<Batch>>>>,
}

/// Namespace and point.
type Key = (String, PointId);

/// A namespace's promotions, all begun.
struct Batch {
    begun: Instant,
    by_claim: HashMap<String, Begun>,
}

struct Begun {
    snapshot: String,
    /// The promoted claim's name, or why there is none.
    name: Result<String, Arc<NotPromoted>>,
}

/// A claim's snapshot did not become a volume.
#[derive(Debug, thiserror::Error)]
enum NotPromoted {
    #[error(transparent)]
    Impossible(PromoteError),
    #[error("VolumeSnapshot {snapshot} of PersistentVolumeClaim {claim} cannot be promoted [LW-0614]")]
    Refused {
        snapshot: String,
        claim: String,
        #[source]
        source: ClusterError,
    },
    #[error(
        "VolumeSnapshot {snapshot} of PersistentVolumeClaim {claim} is to be promoted to PersistentVolumeClaim {promoted}, \
         but there is another of that name; delete it, then back up again [LW-0615]"
    )]
    Foreign { snapshot: String, claim: String, promoted: String },
    #[error(
        "PersistentVolumeClaim {promoted}, to which VolumeSnapshot {snapshot} of claim {claim} is promoted, did not become \
         Bound within {seconds} s; last event: {event}. See to what the event says, or allow more time with the Backup's \
         annotation {key}, then back up again [LW-0616]",
        key = PROMOTION_DEADLINE
    )]
    Late { promoted: String, snapshot: String, claim: String, seconds: u64, event: String },
    #[error(
        "PersistentVolumeClaim {promoted}, to which VolumeSnapshot {snapshot} of claim {claim} is promoted, {how}; last \
         event: {event}. Take a new recovery point [LW-0617]"
    )]
    Ended { promoted: String, snapshot: String, claim: String, how: &'static str, event: String },
}

impl PromoteSnapshot {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, batches: Mutex::default() }
    }

    /// The namespace's promotions for `point`, begun if they were not.
    async fn batch(&self, namespace: &str, point: &PointId) -> Result<Arc<OnceCell<Batch>>, ClusterError> {
        let key = (namespace.to_owned(), point.clone());
        let batch = Arc::clone(self.batches.lock().await.entry(key).or_default());
        batch.get_or_try_init(|| self.begin(namespace, point)).await?;
        Ok(batch)
    }

    async fn begin(&self, namespace: &str, point: &PointId) -> Result<Batch, ClusterError> {
        let snapshots = self.cluster.list(&SNAPSHOTS, namespace, &format!("{RECOVERY_POINT}={point}")).await?;
        let claims = if snapshots.is_empty() { Vec::new() } else { self.cluster.list(&CLAIMS, namespace, "").await? };
        let (promotions, orphans) = promote::plan(&snapshots, &claims, point);
        for (snapshot, claim) in orphans {
            tracing::warn!(%point, "VolumeSnapshot {namespace}/{snapshot} is of claim {claim}, which is not there");
        }
        let begun = Instant::now();
        let by_claim = future::join_all(promotions.into_iter().map(|p| self.create(namespace, p))).await;
        Ok(Batch { begun, by_claim: by_claim.into_iter().collect() })
    }

    async fn create(&self, namespace: &str, promotion: Promotion) -> (String, Begun) {
        let Promotion { claim, snapshot, promoted } = promotion;
        let name = self.created(namespace, &claim, &snapshot, promoted).await.map_err(Arc::new);
        (claim, Begun { snapshot, name })
    }

    async fn created(
        &self,
        namespace: &str,
        claim: &str,
        snapshot: &str,
        promoted: Result<Value, PromoteError>,
    ) -> Result<String, NotPromoted> {
        let wanted = promoted.map_err(NotPromoted::Impossible)?;
        let name = view::name(&wanted).to_owned();
        let title = |name: &str| format!("{namespace}/{name}");
        let refused = |source| NotPromoted::Refused { snapshot: snapshot.to_owned(), claim: title(claim), source };
        if let Created::New = self.cluster.create(&CLAIMS, &wanted).await.map_err(refused)? {
            tracing::info!("promoting VolumeSnapshot {namespace}/{snapshot} to claim {name}");
            return Ok(name);
        }
        let existing = self.cluster.get(&CLAIMS, Some(namespace), &name).await.map_err(refused)?;
        if existing.is_some_and(|existing| promote::is_same(&existing, &wanted)) {
            return Ok(name);
        }
        Err(NotPromoted::Foreign { snapshot: snapshot.to_owned(), claim: title(claim), promoted: title(&name) })
    }

    /// Waits until `promoted` is bound. However late it is, it is looked at once.
    async fn bound(
        &self,
        namespace: &str,
        claim: &str,
        snapshot: &str,
        promoted: &str,
        begun: Instant,
        request: &Request,
    ) -> Result<(), ActionError> {
        let until = begun + request.deadline;
        let mut state = promote::state(self.cluster.get(&CLAIMS, Some(namespace), promoted).await?.as_ref());
        if state == State::Waiting {
            let mut changes = pin!(self.cluster.follow(&CLAIMS, namespace, promoted).await?);
            while state == State::Waiting {
                match timeout_at(until, changes.next()).await {
                    Ok(Some(Ok(seen))) => state = promote::state(seen.as_ref()),
                    // The watch mends itself; the deadline bounds how long it may try.
                    Ok(Some(Err(error))) => tracing::debug!("watch of claim {namespace}/{promoted}: {error}"),
                    Ok(None) | Err(_) => break,
                }
            }
        }
        let how = match state {
            State::Bound => return Ok(()),
            State::Waiting => None,
            State::Lost => Some("has lost its volume"),
            State::Gone => Some("was deleted meanwhile"),
        };
        let event = match self.cluster.events(namespace, promoted).await {
            Ok(events) => promote::telling(&events).unwrap_or_else(|| "none".to_owned()),
            Err(error) => format!("could not be read ({error})"),
        };
        let title = |name: &str| format!("{namespace}/{name}");
        let (promoted, snapshot, claim) = (title(promoted), snapshot.to_owned(), title(claim));
        Err(match how {
            None => {
                let seconds = request.deadline.as_secs();
                NotPromoted::Late { promoted, snapshot, claim, seconds, event }
            }
            Some(how) => NotPromoted::Ended { promoted, snapshot, claim, how, event },
        })?
    }
}

#[async_trait]
impl BackupItemAction for PromoteSnapshot {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumeclaims"])
    }

    async fn execute(&self, item: Value, backup: &Value) -> Result<BackupOutput, ActionError> {
        let Some(request) = promote::request(backup)? else { return Ok(BackupOutput::unchanged()) };
        // A promoted claim comes in as an additional item; it has no snapshot of its own.
        if promote::is_promoted(&item) {
            return Ok(BackupOutput::unchanged());
        }
        let (namespace, claim) = (view::namespace(&item), view::name(&item));
        let cell = self.batch(namespace, &request.point).await?;
        let begun = cell.get().and_then(|batch| Some((batch.begun, batch.by_claim.get(claim)?)));
        let Some((since, Begun { snapshot, name })) = begun else { return Ok(BackupOutput::unchanged()) };
        let promoted = name.as_ref().map_err(Arc::clone)?;
        self.bound(namespace, claim, snapshot, promoted, since, &request).await?;
        tracing::info!("claim {promoted} holds the data of recovery point {}", request.point);
        let also = ItemId::core("persistentvolumeclaims", namespace, promoted.as_str());
        Ok(BackupOutput::unchanged().with_items([also]))
    }
}

#[cfg(test)]
#[path = "promote_snapshot_tests.rs"]
mod tests;
