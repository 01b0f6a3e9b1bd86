//! Velero's part of the bucket, read only.
//!
//! Layout and file names are Velero's (`pkg/persistence/object_store_layout.go`). Nothing is ever written here: a folder
//! that Velero does not know makes its location `Unavailable`.

use crate::{BackupItems, Results};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use jiff::Timestamp;
use leeward_model::keys;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;
use std::fmt;
use std::io::Read;
use std::sync::Arc;

/// Why the store could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The bucket did not answer, or refused.
    #[error(
        "could not read {key} from the bucket; check that it is reachable and that the credentials may read it [LW-0220]"
    )]
    Unreachable {
        /// The object's key.
        key: String,
        /// Its answer.
        #[source]
        source: object_store::Error,
    },
    /// The file is not there.
    #[error("the bucket holds no {key}; the backup or restore was deleted, has expired or never finished [LW-0221]")]
    Absent {
        /// The object's key.
        key: String,
    },
    /// The file breaks off or does not unpack.
    #[error("{key} in the bucket is damaged; use another recovery point and check the bucket's storage [LW-0222]")]
    Damaged {
        /// The object's key or file name.
        key: String,
        /// Where it broke.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than Leeward reads.
    #[error("{key} in the bucket holds more than {} MiB, which is not read; narrow the protection group [LW-0223]", .limit >> 20)]
    TooLarge {
        /// The object's key or file name.
        key: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The archive is not as Velero writes it.
    #[error(
        "the archive of backup {backup} is not one that Velero wrote: {problem}; do not restore from it, and find out who writes to the bucket [LW-0224]"
    )]
    Untrusted {
        /// The backup.
        backup: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The archive is of a version that Leeward does not know.
    #[error("backup {backup} has archive format {version}, Leeward reads 1.x; update Leeward [LW-0225]")]
    UnknownFormat {
        /// The backup.
        backup: String,
        /// Its version.
        version: String,
    },
    /// A description or results file is not what it should be.
    #[error(
        "{key} in the bucket is not what Velero writes there; use another recovery point and find out who writes to the bucket [LW-0226]"
    )]
    NotVeleros {
        /// The object's key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// No backup or restore can have that name.
    #[error("{name:?} is not the name of a backup or restore [LW-0227]")]
    InvalidName {
        /// The name.
        name: String,
    },
}

/// A backup in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// Its name.
    pub name: String,
    /// Velero's phase, e.g. `Completed`.
    pub phase: String,
    /// When it completed.
    pub completed: Option<Timestamp>,
    /// The protection group, if Leeward made it.
    pub group: Option<String>,
    /// The recovery point, if it was made for one.
    pub point: Option<String>,
    /// The site that made it, if Leeward did.
    pub site: Option<String>,
}

/// A `Backup` is written to etcd, which takes 1.5 MiB.
const MOST_DESCRIPTION: u64 = 8 << 20;
const MOST_RESULTS: u64 = 64 << 20;
/// Held in memory while it is read. 66,776 objects of a real cluster were 152 MB.
const MOST_ARCHIVE: u64 = 1 << 30;
/// Descriptions fetched at a time.
const AT_ONCE: usize = 16;

/// Velero's prefix in the bucket.
#[derive(Clone)]
pub struct BackupStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// Without the store, whose own form may hold credentials.
impl fmt::Debug for BackupStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl BackupStore {
    /// `prefix` is the location's `objectStorage.prefix`; empty if Velero owns the whole bucket.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        Self { store, prefix: Path::parse(prefix).unwrap_or_else(|_| Path::from(prefix)) }
    }

    /// All backups, newest completion first. One whose description cannot be read is left out, with a warning in the log:
    /// a single broken one must not hide the others.
    ///
    /// # Errors
    /// The bucket cannot be listed.
    pub async fn list(&self) -> Result<Vec<BackupSummary>, StoreError> {
        let backups = self.prefix.clone().join("backups");
        let listed = self.store.list_with_delimiter(Some(&backups)).await;
        let listed = listed.map_err(|source| StoreError::Unreachable { key: backups.to_string(), source })?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned));
        let described = futures::stream::iter(names.collect::<Vec<_>>())
            .map(|name| async move { (self.metadata(&name).await, name) })
            .buffer_unordered(AT_ONCE);
        let mut summaries: Vec<BackupSummary> = described
            .filter_map(|(metadata, name)| async move {
                match metadata {
                    Ok(metadata) => metadata.map(|backup| summary(name, &backup)),
                    Err(error) => {
                        tracing::warn!(backup = name, error = &error as &dyn std::error::Error, "backup is left out");
                        None
                    }
                }
            })
            .collect()
            .await;
        summaries.sort_by(|a, b| b.completed.cmp(&a.completed).then_with(|| a.name.cmp(&b.name)));
        Ok(summaries)
    }

    /// The `Backup` object as Velero stored it; `None` if there is no such backup.
    ///
    /// # Errors
    /// The bucket cannot be read, or holds something else there.
    pub async fn metadata(&self, backup: &str) -> Result<Option<Value>, StoreError> {
        let path = self.file("backups", backup, "velero-backup.json")?;
        match self.fetch(&path, MOST_DESCRIPTION).await {
            Ok(json) => json_of(&path, &json).map(Some),
            Err(StoreError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects inside a backup.
    ///
    /// # Errors
    /// The bucket cannot be read, or the archive is not one to be trusted.
    pub async fn items(&self, backup: &str) -> Result<BackupItems, StoreError> {
        let path = self.file("backups", backup, &format!("{backup}.tar.gz"))?;
        let archive = self.fetch(&path, MOST_ARCHIVE).await?;
        let name = backup.to_owned();
        unpack(move || BackupItems::read(&name, archive.as_ref())).await
    }

    /// What a backup warned of and what failed in it.
    ///
    /// # Errors
    /// The bucket cannot be read, or holds something else there.
    pub async fn backup_results(&self, backup: &str) -> Result<Results, StoreError> {
        self.results(self.file("backups", backup, &format!("{backup}-results.gz"))?).await
    }

    /// What a restore warned of and what failed in it.
    ///
    /// # Errors
    /// The bucket cannot be read, or holds something else there.
    pub async fn restore_results(&self, restore: &str) -> Result<Results, StoreError> {
        self.results(self.file("restores", restore, &format!("restore-{restore}-results.gz"))?).await
    }

    /// Whether data of pods belongs to the backup.
    pub(crate) async fn has_pod_volumes(&self, backup: &str) -> Result<bool, StoreError> {
        let path = self.file("backups", backup, &format!("{backup}-podvolumebackups.json.gz"))?;
        match self.fetch_gz(&path).await {
            Ok(json) => Ok(json_of::<Value>(&path, &json)?.as_array().is_some_and(|list| !list.is_empty())),
            Err(StoreError::Absent { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn results(&self, path: Path) -> Result<Results, StoreError> {
        let json = self.fetch_gz(&path).await?;
        Results::parse(&json).map_err(|source| StoreError::NotVeleros { key: path.to_string(), source })
    }

    fn file(&self, folder: &'static str, name: &str, file: &str) -> Result<Path, StoreError> {
        // What an object of Kubernetes may be called; anything else could name a key elsewhere in the bucket.
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > 253 || !name.chars().all(good) || name.starts_with('.') {
            return Err(StoreError::InvalidName { name: name.to_owned() });
        }
        Ok(self.prefix.clone().join(folder).join(name).join(file))
    }

    async fn fetch(&self, path: &Path, limit: u64) -> Result<Bytes, StoreError> {
        let failed = |source| match source {
            object_store::Error::NotFound { .. } => StoreError::Absent { key: path.to_string() },
            source => StoreError::Unreachable { key: path.to_string(), source },
        };
        let found = self.store.get(path).await.map_err(failed)?;
        if found.meta.size > limit {
            return Err(StoreError::TooLarge { key: path.to_string(), limit });
        }
        found.bytes().await.map_err(failed)
    }

    async fn fetch_gz(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let packed = self.fetch(path, MOST_RESULTS).await?;
        let key = path.to_string();
        unpack(move || {
            let mut json = Vec::new();
            let mut reader = MultiGzDecoder::new(packed.as_ref()).take(MOST_RESULTS + 1);
            match reader.read_to_end(&mut json) {
                Err(source) => Err(StoreError::Damaged { key, source }),
                Ok(_) if json.len() as u64 > MOST_RESULTS => Err(StoreError::TooLarge { key, limit: MOST_RESULTS }),
                Ok(_) => Ok(json),
            }
        })
        .await
    }
}

/// Unpacking a large archive takes seconds, which must not stop everything else.
async fn unpack<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(StoreError::Damaged { key: "the file".to_owned(), source: std::io::Error::other(error) }),
        },
    }
}

fn json_of<T: serde::de::DeserializeOwned>(path: &Path, json: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|source| StoreError::NotVeleros { key: path.to_string(), source })
}

fn summary(name: String, backup: &Value) -> BackupSummary {
    let text = |path: &[&str]| crate::request::text(backup, path).map(str::to_owned);
    BackupSummary {
        name,
        phase: text(&["status", "phase"]).unwrap_or_default(),
        completed: crate::phase::completed(backup),
        group: text(&["metadata", "labels", keys::GROUP]),
        point: text(&["metadata", "annotations", keys::RECOVERY_POINT]),
        site: text(&["metadata", "annotations", keys::SITE]),
    }
}

#[cfg(test)]
pub(crate) mod tests;
