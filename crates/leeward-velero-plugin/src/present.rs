//! Which objects of a kind are at this site, for a restore that asks about each object that it makes.
//!
//! Nearly every answer is "none of that name", and asking the API server for each took longer than all else the plug-in does
//! for a volume. So after the first few all names are listed once and kept up by one watch.
//!
//! - "It is there" is never taken from here: the object itself is read then, whatever the watch says.
//! - "It is not there" is, while the watch stands, at most as old as an event on its way. The answer of a GET is that old, too,
//!   when Velero makes the object. Whoever makes one of that name in between is met by Velero (it leaves theirs and warns),
//!   and seen here: [`Present::taken`].
//! - While the watch does not stand, and where there is no right to it, every object is asked for by name.
//!
//! What this restore makes itself carries its label from the first moment, and the watch is told to leave that out: a
//! thousand volumes that arrive would be some thousand events. The list is not, for a restore of the same name may have run
//! before.

use crate::cluster::{Cluster, ClusterError, PAGE, Resource};
use crate::view;
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta, WatchEvent, WatchParams};
use serde_json::Value;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

/// So many are asked for by name: a restore of one machine is not to list a large site.
const FEW: usize = 16;
/// A connection that is gone without a word is noticed after this (and five seconds).
const WATCH_SECONDS: u32 = 60;
/// Between attempts that fail, doubled each time up to [`SLOWEST`].
const PAUSE: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(60);
/// Velero's, on what a restore made.
const RESTORE_NAME: &str = "velero.io/restore-name";
/// Longer names Velero shortens in its label.
const MAX_LABEL: usize = 63;

/// See the module.
pub(crate) struct Present {
    resource: &'static Resource,
    asked: AtomicUsize,
    following: OnceCell<Following>,
}

/// The list and its watch, which ends with it.
struct Following {
    names: Arc<Names>,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `namespace/name` of all that are there, while that is known.
#[derive(Default)]
struct Names(Mutex<State>);

#[derive(Default)]
struct State {
    there: HashSet<String>,
    in_step: bool,
}

impl Names {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked had inserted or not; the set is whole either way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

fn key_of(of: &ObjectMeta) -> String {
    key(of.namespace.as_deref(), of.name.as_deref().unwrap_or_default())
}

impl Present {
    pub(crate) fn new(resource: &'static Resource) -> Self {
        Self { resource, asked: AtomicUsize::new(0), following: OnceCell::new() }
    }

    /// The object of that name; `None` if there is none.
    pub(crate) async fn get(
        &self,
        cluster: &Cluster,
        restore: &Value,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) >= FEW {
            let following = self.following.get_or_try_init(|| self.follow(cluster, restore)).await?;
            let state = following.names.state();
            if state.in_step && !state.there.contains(&key(namespace, name)) {
                return Ok(None);
            }
        }
        cluster.get(self.resource, namespace, name).await
    }

    /// The object that somebody else has made under the name that this restore wanted; `None` as far as one knows.
    pub(crate) async fn taken(
        &self,
        cluster: &Cluster,
        restore: &Value,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let key = key(namespace, name);
        if self.following.get().is_none_or(|following| !following.names.state().there.contains(&key)) {
            return Ok(None);
        }
        let found = cluster.get(self.resource, namespace, name).await?;
        let ours = own_label(restore);
        Ok(found.filter(|object| ours.is_some() && view::label(object, RESTORE_NAME) != ours))
    }

    /// Lists and watches; comes back when that stands, or has failed once.
    async fn follow(&self, cluster: &Cluster, restore: &Value) -> Result<Following, ClusterError> {
        let source = Source { api: cluster.api(self.resource, None).await?, watch: watch_params(restore) };
        let names = Arc::new(Names::default());
        let (ready, stands) = oneshot::channel();
        let task = tokio::spawn(keep_up(source, self.resource, Arc::clone(&names), ready));
        // Without an answer it does not stand, which `names` says as well.
        let _ = stands.await;
        Ok(Following { names, task })
    }
}

/// What Velero writes on everything that `restore` makes; `None` if that is not simply its name.
fn own_label(restore: &Value) -> Option<&str> {
    view::text(restore, "/metadata/name").filter(|name| name.len() <= MAX_LABEL)
}

fn watch_params(restore: &Value) -> WatchParams {
    let all = WatchParams::default().timeout(WATCH_SECONDS);
    // It matches what has no such label, too.
    own_label(restore).map_or(all.clone(), |own| all.labels(&format!("{RESTORE_NAME}!={own}")))
}

struct Source {
    api: Api<DynamicObject>,
    watch: WatchParams,
}

impl Source {
    /// Everything that is there; the version from which a watch goes on.
    async fn list(&self, names: &Names) -> Result<String, kube::Error> {
        let (mut there, mut parameters) = (HashSet::new(), ListParams::default().limit(PAGE));
        loop {
            let page = self.api.list_metadata(&parameters).await?;
            there.extend(page.items.iter().map(|object| key_of(&object.metadata)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => {
                    names.state().there = there;
                    return Ok(page.metadata.resource_version.unwrap_or_default());
                }
            }
        }
    }

    /// Watches on from `version` until the server ends it; the version it has come to. Anew after `None`.
    async fn watch(
        &self,
        names: &Names,
        version: Option<String>,
        ready: &mut Option<oneshot::Sender<()>>,
    ) -> Result<String, kube::Error> {
        let mut version = match version {
            Some(version) => version,
            None => self.list(names).await?,
        };
        let mut events = pin!(self.api.watch_metadata(&self.watch, &version).await?);
        names.state().in_step = true;
        if let Some(ready) = ready.take() {
            // Whoever waited may have given up.
            let _ = ready.send(());
        }
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    names.state().there.insert(key_of(&object.metadata));
                    version = object.metadata.resource_version.unwrap_or(version);
                }
                WatchEvent::Deleted(object) => {
                    names.state().there.remove(&key_of(&object.metadata));
                    version = object.metadata.resource_version.unwrap_or(version);
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
        Ok(version)
    }
}

async fn keep_up(source: Source, resource: &'static Resource, names: Arc<Names>, ready: oneshot::Sender<()>) {
    let (mut version, mut ready, mut pause) = (None, Some(ready), PAUSE);
    loop {
        let ended = source.watch(&names, version.take(), &mut ready).await;
        let stood = std::mem::take(&mut names.state().in_step);
        // Who waits for the first list asks by name now.
        ready = None;
        match ended {
            Ok(at) => version = Some(at),
            Err(error) => {
                tracing::debug!(
                    "each of {} is asked for by name, for their watch has ended: {error}",
                    resource.plural()
                );
                pause = if stood { PAUSE } else { SLOWEST.min(pause * 2) };
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "present_tests.rs"]
mod tests;
