//! All objects of one kind in one namespace, kept up to date by one watch, however many wait for one of them.

use crate::cluster::{Cluster, ClusterError, Resource, raw};
use crate::view;
use futures::StreamExt as _;
use kube::runtime::watcher::Event;
use serde_json::Value;
use std::collections::HashMap;
use std::pin::pin;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// See the module. The watch ends with it.
pub(crate) struct Followed {
    objects: watch::Receiver<HashMap<String, Value>>,
    task: JoinHandle<()>,
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
        let (sender, objects) = watch::channel(HashMap::new());
        let task = tokio::spawn(async move {
            let mut events = pin!(events);
            let mut listed = HashMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => listed = HashMap::new(),
                    Ok(Event::InitApply(object)) => add(&mut listed, raw(&object)),
                    Ok(Event::InitDone) => sender.send_modify(|objects| *objects = std::mem::take(&mut listed)),
                    Ok(Event::Apply(object)) => sender.send_modify(|objects| add(objects, raw(&object))),
                    Ok(Event::Delete(object)) => sender.send_modify(|objects| {
                        objects.remove(view::name(&raw(&object)));
                    }),
                    // The watch mends itself; who waits has a deadline.
                    Err(error) => tracing::debug!("watch of {}: {error}", resource.plural()),
                }
            }
        });
        Ok(Self { objects, task })
    }

    /// Waits until `look` is done with the object `name`; it is shown `None` when the object was there and is no more.
    /// `None` if it was not done by `until`.
    pub(crate) async fn wait<T>(
        &self,
        name: &str,
        until: Instant,
        mut look: impl FnMut(Option<&Value>) -> Look<T>,
    ) -> Option<T> {
        let mut objects = self.objects.clone();
        let mut was_there = false;
        loop {
            {
                let objects = objects.borrow_and_update();
                let object = objects.get(name);
                if object.is_some() || was_there {
                    was_there = true;
                    if let Look::Done(result) = look(object) {
                        return Some(result);
                    }
                }
            }
            // Either the deadline is over or, which cannot be while `self` is there, the watch.
            if !matches!(timeout_at(until, objects.changed()).await, Ok(Ok(()))) {
                return None;
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn add(objects: &mut HashMap<String, Value>, object: Value) {
    objects.insert(view::name(&object).to_owned(), object);
}
