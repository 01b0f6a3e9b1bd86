//! One site's Velero.
//!
//! A request's name is its identity: asked for twice, the second call finds what the first one made, running or done, so a
//! caller that was killed simply asks again. What *failed* is never mistaken for it: the next call makes a new attempt,
//! `<name>-2`, and so on, and the failed ones stay to be looked at. Velero itself cannot repeat: it takes each object once.

use crate::api::Kind;
use crate::request::{ATTEMPTS, attempt_name, text};
use crate::sync::{Stored, label_value};
use crate::wait::{Look, Until};
use crate::{
    BackupOutcome, BackupRequest, BackupStore, LocationState, RestoreOutcome, RestoreRequest, Results, StoreError,
    VeleroError, Verdict, location,
};
use leeward_model::name::SiteName;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Hears what is being waited for, one sentence, each time it changes.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Longest wait for a deletion.
const DELETION: Duration = Duration::from_secs(120);

/// One site's Velero.
#[derive(Clone)]
pub struct Velero {
    pub(crate) client: kube::Client,
    pub(crate) site: SiteName,
    /// Where Velero runs.
    pub(crate) namespace: String,
    /// Name of its storage location.
    pub(crate) location: String,
    pub(crate) store: Option<BackupStore>,
}

impl Velero {
    /// `namespace` is where Velero runs, `location` the name of its `BackupStorageLocation`.
    #[must_use]
    pub fn new(client: kube::Client, site: SiteName, namespace: String, location: String) -> Self {
        Self { client, site, namespace, location, store: None }
    }

    /// Lets it read the bucket too: it then names the items that failed, and knows backups of the other site at once
    /// instead of at Velero's next sync (see [`crate::sync`]).
    #[must_use]
    pub fn with_store(mut self, store: BackupStore) -> Self {
        self.store = Some(store);
        self
    }

    /// The site it serves.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Whether Velero reaches its bucket, as it found at its last check.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn location(&self) -> Result<LocationState, VeleroError> {
        Ok(LocationState::read(self.get(Kind::Location, &self.location).await?.as_ref()))
    }

    /// Waits until Velero says that it reaches its bucket. Velero looks by itself, once a minute.
    ///
    /// # Errors
    /// It did not say so in time; the error tells what it says.
    pub async fn await_available(&self, deadline: Duration, progress: Progress<'_>) -> Result<(), VeleroError> {
        let site = &self.site;
        let look = |found: Option<&Value>| match LocationState::read(found) {
            LocationState::Available => Look::End(()),
            LocationState::Missing => Look::Wait(format!("site {site} has no such backup storage location")),
            LocationState::Unavailable(why) => {
                Look::Wait(format!("Velero of site {site} cannot use its bucket: {why}"))
            }
        };
        self.watch(Kind::Location, &self.location, Until::new(deadline), progress, look).await
    }

    /// Has a backup made and waits for its end. Waits for the location first: a backup made while it is unavailable is
    /// lost at once.
    ///
    /// # Errors
    /// The backup is not whole (each failed item is named), or did not end in time.
    pub async fn back_up(
        &self,
        request: &BackupRequest,
        deadline: Duration,
        progress: Progress<'_>,
    ) -> Result<BackupOutcome, VeleroError> {
        request.check()?;
        let until = Until::new(deadline);
        let kind = Kind::Backup;
        let make = |name: &str| request.object(name, &self.site, &self.namespace, &self.location);
        let name = self.attempt(kind, &request.name, until, progress, make, |found| request.difference(found)).await?;
        let (backup, verdict) = self.end_of(kind, &name, until, progress).await?;
        match verdict {
            Verdict::Failed { phase, reasons } => Err(self.failure(kind, &name, phase, reasons).await),
            _ => Ok(BackupOutcome::read(&name, &backup)),
        }
    }

    /// Waits until this site's Velero knows a completed backup that the other site made. With the store it takes about a
    /// second after the backup is complete, without it up to two minutes.
    ///
    /// # Errors
    /// The backup is not one to restore from, or did not arrive in time.
    pub async fn await_backup(
        &self,
        name: &str,
        deadline: Duration,
        progress: Progress<'_>,
    ) -> Result<(), VeleroError> {
        let until = Until::new(deadline);
        let site = &self.site;
        let known = self.watch(Kind::Backup, name, until, progress, |backup| match backup.map(Verdict::read) {
            Some(Verdict::Completed) => Look::End(Ok(())),
            Some(Verdict::Failed { phase, reasons }) => {
                Look::End(Err(self.unusable(name, format!("it ended {phase} {}", reasons.join("; ")))))
            }
            Some(Verdict::Running(what)) => Look::Wait(format!("backup {name} is {what} at site {site}")),
            Some(Verdict::NotStarted) => Look::Wait(format!("backup {name} is not begun at site {site}")),
            None => Look::Wait(format!("site {site} does not know backup {name} yet")),
        });
        match &self.store {
            None => known.await?,
            Some(store) => tokio::select! {
                end = known => end?,
                error = self.bring(store, name, progress) => Err(error),
            },
        }
    }

    /// Has a backup restored at this site and waits for its end.
    ///
    /// # Errors
    /// The restore is not whole (each failed item is named), or did not end in time.
    pub async fn restore(
        &self,
        request: &RestoreRequest,
        deadline: Duration,
        progress: Progress<'_>,
    ) -> Result<RestoreOutcome, VeleroError> {
        request.check()?;
        let until = Until::new(deadline);
        let kind = Kind::Restore;
        let mut again = true;
        loop {
            self.await_backup(&request.backup, until.at - Instant::now(), progress).await?;
            let make = |name: &str| request.object(name, &self.namespace);
            let name =
                self.attempt(kind, &request.name, until, progress, make, |found| request.difference(found)).await?;
            let (restore, verdict) = self.end_of(kind, &name, until, progress).await?;
            let Verdict::Failed { phase, reasons } = verdict else {
                return Ok(RestoreOutcome::read(&name, &restore, self.warnings(&name, &restore).await));
            };
            // Its cache had not heard of the Backup yet, or a sync that began before the backup arrived took it away
            // (see `crate::sync`). Neither has to do with what is restored.
            let unknown =
                phase == "FailedValidation" && reasons.iter().any(|why| why.contains("Error retrieving backup"));
            if again && (unknown || self.get(Kind::Backup, &request.backup).await?.is_none()) {
                tracing::debug!(restore = name, ?reasons, "Velero did not find the backup; trying once more");
                again = false;
                continue;
            }
            return Err(self.failure(kind, &name, phase, reasons).await);
        }
    }

    /// Has a backup deleted, object and files, and waits for it (at most two minutes). A backup that is nowhere is deleted.
    ///
    /// # Errors
    /// Velero refuses, e.g. as the location is `ReadOnly`, or does not come to it in time.
    pub async fn delete_backup(&self, name: &str) -> Result<(), VeleroError> {
        let until = Until::new(DELETION);
        let backup = match (self.get(Kind::Backup, name).await?, &self.store) {
            (Some(backup), _) => backup,
            (None, None) => return Ok(()),
            // Velero deletes only what it knows; else its next sync would bring the backup back.
            (None, Some(store)) => match self.stored(store, name).await? {
                Some(Stored::Final { object, .. }) => {
                    // `None`: Velero's sync was quicker.
                    self.create(Kind::Backup, &object, false).await?.unwrap_or(object)
                }
                Some(_) => return Err(self.unusable(name, "another site's Velero still works on it".to_owned())),
                None => return Ok(()),
            },
        };
        let uid = text(&backup, &["metadata", "uid"]).unwrap_or_default();
        let request = json!({
            "apiVersion": "velero.io/v1",
            "kind": "DeleteBackupRequest",
            "metadata": {
                "generateName": format!("{name}-"),
                "namespace": self.namespace,
                "labels": { "velero.io/backup-name": label_value(name), "velero.io/backup-uid": uid },
            },
            "spec": { "backupName": name },
        });
        let Some(created) = self.create(Kind::Deletion, &request, false).await? else { return Ok(()) };
        let request = text(&created, &["metadata", "name"]).unwrap_or_default().to_owned();
        // When all went well Velero deletes the request too.
        let errors = self.watch(Kind::Deletion, &request, until, &|_| {}, |request| match request {
            None => Look::End(vec![]),
            Some(request) if text(request, &["status", "phase"]) == Some("Processed") => {
                let errors = request.pointer("/status/errors").and_then(Value::as_array).into_iter().flatten();
                Look::End(errors.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(_) => Look::Wait("Velero to delete it".to_owned()),
        });
        let errors: Vec<String> = errors.await?;
        if errors.is_empty() || errors == ["backup not found"] {
            return Ok(());
        }
        Err(VeleroError::NotDeleted { name: name.to_owned(), site: self.site.to_string(), errors })
    }

    /// The object that stands for the request: the running or completed one, else a new one.
    async fn attempt(
        &self,
        kind: Kind,
        base: &str,
        until: Until,
        progress: Progress<'_>,
        make: impl Fn(&str) -> Value + Send,
        difference: impl Fn(&Value) -> Option<String> + Send,
    ) -> Result<String, VeleroError> {
        let mut ready = false;
        let mut attempt = 1;
        while attempt <= ATTEMPTS {
            let name = attempt_name(base, attempt);
            let Some(found) = self.get(kind, &name).await? else {
                if !ready {
                    self.await_location(kind, until, progress).await?;
                    ready = true;
                }
                // Lost a race: look at what won it.
                if self.create(kind, &make(&name), false).await?.is_none() {
                    continue;
                }
                return Ok(name);
            };
            if let Some(difference) = difference(&found) {
                return Err(VeleroError::NameTaken {
                    kind: kind.name(),
                    name,
                    site: self.site.to_string(),
                    difference,
                });
            }
            if !matches!(Verdict::read(&found), Verdict::Failed { .. }) {
                return Ok(name);
            }
            attempt += 1;
        }
        let (name, site, namespace) = (base.to_owned(), self.site.to_string(), self.namespace.clone());
        Err(VeleroError::AttemptsExhausted { kind: kind.name(), name, site, namespace, attempts: ATTEMPTS })
    }

    async fn await_location(&self, kind: Kind, until: Until, progress: Progress<'_>) -> Result<(), VeleroError> {
        let (site, location) = (self.site.to_string(), self.location.clone());
        let state =
            self.watch(Kind::Location, &self.location, until, progress, |found| match LocationState::read(found) {
                LocationState::Available => Look::End(found.cloned()),
                LocationState::Missing => Look::End(None),
                LocationState::Unavailable(why) => {
                    Look::Wait(format!("Velero of site {site} cannot use its bucket: {why}"))
                }
            });
        match state.await? {
            None => Err(VeleroError::LocationMissing { site, location, namespace: self.namespace.clone() }),
            Some(found) if kind == Kind::Backup && location::is_read_only(&found) => {
                Err(VeleroError::LocationReadOnly { site, location })
            }
            Some(_) => Ok(()),
        }
    }

    /// Waits for the end, good or bad.
    async fn end_of(
        &self,
        kind: Kind,
        name: &str,
        until: Until,
        progress: Progress<'_>,
    ) -> Result<(Value, Verdict), VeleroError> {
        let mut seen = false;
        let (site, what) = (&self.site, kind.name());
        let end = self.watch(kind, name, until, progress, |object| {
            let Some(object) = object else {
                // The watch may begin at a moment before the creation.
                return if seen {
                    Look::End(None)
                } else {
                    Look::Wait(format!("{what} {name} to appear at site {site}"))
                };
            };
            seen = true;
            match Verdict::read(object) {
                Verdict::NotStarted => Look::Wait(format!("Velero of site {site} to begin {what} {name}")),
                Verdict::Running(doing) => Look::Wait(format!("{what} {name} at site {site}: {doing}")),
                verdict => Look::End(Some((object.clone(), verdict))),
            }
        });
        end.await?.ok_or_else(|| VeleroError::Vanished { kind: what, name: name.to_owned(), site: site.to_string() })
    }

    async fn failure(&self, kind: Kind, name: &str, phase: String, reasons: Vec<String>) -> VeleroError {
        let mut errors = reasons;
        match self.results(kind, name).await {
            Some(Ok(results)) => errors.extend(results.errors),
            // It failed before there was anything to tell.
            Some(Err(StoreError::Absent { .. })) => {}
            Some(Err(error)) => errors.push(format!("its results cannot be read: {error}")),
            None if errors.is_empty() => {
                let kind = kind.name().to_lowercase();
                errors.push(format!("see `velero {kind} describe {name} --details`"));
            }
            None => {}
        }
        VeleroError::Failed { kind: kind.name(), name: name.to_owned(), site: self.site.to_string(), phase, errors }
    }

    async fn warnings(&self, name: &str, restore: &Value) -> Vec<String> {
        if crate::phase::number(restore, "warnings") == 0 {
            return vec![];
        }
        match self.results(Kind::Restore, name).await {
            Some(Ok(results)) => results.warnings,
            Some(Err(error)) => {
                tracing::warn!(restore = name, error = &error as &dyn std::error::Error, "warnings cannot be read");
                vec![]
            }
            None => vec![],
        }
    }

    async fn results(&self, kind: Kind, name: &str) -> Option<Result<Results, StoreError>> {
        let store = self.store.as_ref()?;
        Some(if kind == Kind::Restore { store.restore_results(name).await } else { store.backup_results(name).await })
    }
}

#[cfg(test)]
mod tests;
