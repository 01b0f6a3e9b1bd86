//! All objects of one kind in one namespace, kept up to date by one watch, however many wait for one of them.

use crate::cluster::{Cluster, ClusterError, Resource, raw};
use crate::view;
use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event};
use serde_json::Value;
use std::collections::HashMap;
use std::pin::pin;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// See the module. The watch ends with it.
pub(crate) struct Followed {
    resource: &'static Resource,
    namespace: String,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    objects: HashMap<String, Value>,
    /// Why the API server does not let it be watched: no watch mends that.
    forbidden: Option<String>,
}

/// What somebody who waits decides when the object has changed.
pub(crate) enum Look<T> {
    Done(T),
    Wait,
}

impl Followed {
    /// Begins to follow the objects with these labels.
    pub(crate) async fn new(
        cluster: &Cluster,
        resource: &'static Resource,
        namespace: &str,
        labels: &str,
    ) -> Result<Self, ClusterError> {
        let events = cluster.watch(resource, namespace, labels).await?;
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            let mut events = pin!(events);
            let mut listed = HashMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => listed = HashMap::new(),
                    Ok(Event::InitApply(object)) => add(&mut listed, raw(&object)),
                    Ok(Event::InitDone) => sender.send_modify(|seen| seen.objects = std::mem::take(&mut listed)),
                    Ok(Event::Apply(object)) => sender.send_modify(|seen| add(&mut seen.objects, raw(&object))),
                    Ok(Event::Delete(object)) => sender.send_modify(|seen| {
                        seen.objects.remove(view::name(&raw(&object)));
                    }),
                    Err(error) => match forbidden(&error) {
                        Some(why) => sender.send_modify(|seen| seen.forbidden = Some(why)),
                        // The watch mends itself; who waits has a deadline.
                        None => tracing::debug!("watch of {}: {error}", resource.plural()),
                    },
                }
            }
        });
        Ok(Self { resource, namespace: namespace.to_owned(), seen, task })
    }

    /// Waits until `look` is done with the object `name`; it is shown `None` when the object was there and is no more.
    /// `None` if it was not done by `until`.
    ///
    /// # Errors
    /// If the API server does not let it be watched.
    pub(crate) async fn wait<T>(
        &self,
        name: &str,
        until: Instant,
        mut look: impl FnMut(Option<&Value>) -> Look<T>,
    ) -> Result<Option<T>, ClusterError> {
        let mut seen = self.seen.clone();
        let mut was_there = false;
        loop {
            {
                let seen = seen.borrow_and_update();
                let object = seen.objects.get(name);
                if object.is_some() || was_there {
                    was_there = true;
                    if let Look::Done(result) = look(object) {
                        return Ok(Some(result));
                    }
                }
                if let Some(why) = &seen.forbidden {
                    let (plural, namespace) = (self.resource.plural(), self.namespace.clone());
                    return Err(ClusterError::NotWatched { plural, namespace, why: why.clone() });
                }
            }
            // Either the deadline is over or, which cannot be while `self` is there, the watch.
            if !matches!(timeout_at(until, seen.changed()).await, Ok(Ok(()))) {
                return Ok(None);
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The API server's words, if it refuses for want of a right.
fn forbidden(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 403 =>
        {
            Some(status.message.clone())
        }
        _ => None,
    }
}

fn add(objects: &mut HashMap<String, Value>, object: Value) {
    objects.insert(view::name(&object).to_owned(), object);
}
