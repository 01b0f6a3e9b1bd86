//! The promotions of a namespace as they happen, with the time that each took: Kubernetes' own times are in whole seconds.

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use leeward_lab::Cluster;
use leeward_model::keys::PROMOTED_FROM;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Longest watch that the API server keeps open, in seconds; kube refuses more.
const WATCH: u32 = 290;
/// Time for the last events after a backup has ended, which has waited for what they say.
const EVENTS: Duration = Duration::from_secs(30);

/// A watch of so many promotions.
pub struct Promotions {
    count: usize,
    /// When each was made and bound.
    watching: JoinHandle<Result<Vec<(Instant, Instant)>>>,
}

/// What the promotions of a backup took.
#[derive(Debug)]
pub struct Promoted {
    /// From the first promoted claim's creation until the last one is bound.
    pub whole: Duration,
    /// From the first promoted claim's creation to the last one's.
    pub begun: Duration,
    /// From the creation of each to when it is bound, in rising order.
    pub each: Vec<Duration>,
}

impl Promoted {
    /// What the slowest took.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        self.each.last().copied().unwrap_or_default()
    }
}

impl Promotions {
    /// Watches the namespace's promoted claims from now on, until `count` are bound.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn watch(cluster: &Cluster, namespace: &str, count: usize) -> Result<Self> {
        let claims = cluster.api("v1", "PersistentVolumeClaim", Some(namespace));
        let now = claims.list_metadata(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let promoted = WatchParams::default().labels(PROMOTED_FROM).timeout(WATCH);
        let mut events = claims.watch(&promoted, &now).await?.boxed();
        let watching = tokio::spawn(async move {
            let (mut made, mut bound) = (BTreeMap::new(), BTreeMap::new());
            while bound.len() < count {
                let ended = || format!("the watch of promoted claims ended when {} of {count} were bound", bound.len());
                let event = events.next().await.with_context(ended)??;
                let (WatchEvent::Added(claim) | WatchEvent::Modified(claim)) = event else { continue };
                let (name, at) = (claim.metadata.name.unwrap_or_default(), Instant::now());
                made.entry(name.clone()).or_insert(at);
                if claim.data.pointer("/status/phase").is_some_and(|phase| phase == "Bound") {
                    bound.entry(name).or_insert(at);
                }
            }
            Ok(bound.into_iter().map(|(name, bound)| (made[&name], bound)).collect())
        });
        Ok(Self { count, watching })
    }

    /// What came of them, after the backup.
    ///
    /// # Errors
    /// The watch broke off, or not all are bound.
    pub async fn end(self) -> Result<Promoted> {
        let missing = || format!("not all of {} promoted claims are bound", self.count);
        let seen = tokio::time::timeout(EVENTS, self.watching).await.with_context(missing)???;
        let first = seen.iter().map(|(made, _)| *made).min().context("nothing was promoted")?;
        let begun = seen.iter().map(|(made, _)| *made - first).max().unwrap_or_default();
        let whole = seen.iter().map(|(_, bound)| *bound - first).max().unwrap_or_default();
        let mut each: Vec<Duration> = seen.iter().map(|(made, bound)| *bound - *made).collect();
        each.sort_unstable();
        Ok(Promoted { whole, begun, each })
    }
}
