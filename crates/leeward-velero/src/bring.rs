//! Brings a backup of the other site to this one as soon as Velero's own sync would; why that is safe: [`crate::sync`].

use crate::api::Kind;
use crate::sync::{Stored, synced};
use crate::velero::Progress;
use crate::wait::Saying;
use crate::{BackupStore, LocationState, StoreError, Velero, VeleroError, Verdict};
use std::future::pending;
use std::time::Duration;
use tokio::time::sleep;

/// Between looks into the bucket, which tells nobody that something arrived.
const LOOK: Duration = Duration::from_secs(1);

impl Velero {
    /// Makes the `Backup` that Velero's sync would make, as soon as it would. Ends only by an error that no waiting mends.
    pub(crate) async fn bring(&self, store: &BackupStore, name: &str, progress: Progress<'_>) -> VeleroError {
        let mut saying = Saying::new(progress);
        loop {
            match self.brought(store, name).await {
                Ok(None) => return pending().await,
                Ok(Some(why)) => {
                    saying.say(why);
                }
                Err(error) if is_final(&error) => return error,
                Err(error) => {
                    saying.say(format!("not brought yet: {error}"));
                }
            }
            sleep(LOOK).await;
        }
    }

    /// `None` if there is nothing more to do, else why not yet.
    async fn brought(&self, store: &BackupStore, name: &str) -> Result<Option<String>, VeleroError> {
        let by_itself = |why: &str| {
            tracing::info!(site = %self.site, backup = name, why, "left to Velero's own sync");
            Ok(None)
        };
        if self.get(Kind::Backup, name).await?.is_some() {
            return Ok(None);
        }
        let (phase, object) = match self.stored(store, name).await {
            Ok(Some(Stored::Final { phase, object })) => (phase, object),
            Ok(Some(Stored::Unfinished(phase))) => {
                return Ok(Some(format!("backup {name} is not finished in the bucket (phase {phase:?})")));
            }
            Ok(Some(Stored::LeftToVelero(why))) => return by_itself(&why),
            Ok(Some(Stored::Wrong(problem))) => return Err(self.unusable(name, problem)),
            Ok(None) => return Ok(Some(format!("backup {name} is not in the bucket yet"))),
            Err(error) => return Err(error),
        };
        if phase != "Completed" {
            return Err(self.unusable(name, format!("it ended {phase}")));
        }
        let has_pod_volumes = store.has_pod_volumes(name).await;
        if has_pod_volumes.map_err(|source| self.store_failed(format!("backup {name}"), source))? {
            return by_itself("data of pods belongs to it");
        }
        match self.location().await? {
            LocationState::Available => {}
            LocationState::Unavailable(why) => {
                return Ok(Some(format!("Velero of site {} cannot use its bucket: {why}", self.site)));
            }
            LocationState::Missing => {
                let (site, location) = (self.site.to_string(), self.location.clone());
                return Err(VeleroError::LocationMissing { site, location, namespace: self.namespace.clone() });
            }
        }
        // Would its phase be kept? Without it, it is an order to make a backup.
        match self.create(Kind::Backup, &object, true).await {
            Ok(Some(tried)) if Verdict::read(&tried) == Verdict::Completed => {}
            Ok(Some(_)) => return by_itself("this cluster keeps no status of a new Backup"),
            Ok(None) => return Ok(None),
            Err(VeleroError::Call { source, .. }) if matches!(*source, kube::Error::Api(_)) => {
                return by_itself(&format!("the API server refuses the Backup: {source}"));
            }
            Err(error) => return Err(error),
        }
        self.create(Kind::Backup, &object, false).await?;
        Ok(None)
    }

    pub(crate) async fn stored(&self, store: &BackupStore, name: &str) -> Result<Option<Stored>, VeleroError> {
        let stored =
            store.metadata(name).await.map_err(|source| self.store_failed(format!("backup {name}"), source))?;
        Ok(stored.map(|stored| synced(&stored, name, &self.namespace, &self.location)))
    }
}

/// Whether no waiting mends it. A refusal by the API server ends the watch beside this, with the same error.
fn is_final(error: &VeleroError) -> bool {
    match error {
        VeleroError::Store { source, .. } => !matches!(**source, StoreError::Unreachable { .. }),
        error => matches!(error, VeleroError::Unusable { .. } | VeleroError::LocationMissing { .. }),
    }
}
