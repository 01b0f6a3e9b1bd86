//! Guests whose instance is gone: stopped, and forgotten once they have ended.
//!
//! An instance normally goes only after its guest; this is for one that was removed by force, or while this program did
//! not run.

use crate::{
    guest::chain,
    guests::Guests,
    objects::{api, get, vmi_resource},
};
use futures::StreamExt;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use std::{pin::pin, sync::Arc, time::Duration};

/// Between two attempts while the API server does not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// Watches for ever.
pub(crate) async fn watch(client: Client, guests: Arc<Guests>, max_grace: Duration) {
    let all: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &vmi_resource());
    let mut gone = pin!(watcher(all, watcher::Config::default()).default_backoff());
    let mut changes = guests.changes();
    let mut again = false;
    loop {
        tokio::select! {
            event = gone.next() => match event {
                Some(Ok(watcher::Event::Delete(_) | watcher::Event::InitDone)) => {}
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    tracing::debug!(error = chain(&error), "watching instances");
                    continue;
                }
                None => return,
            },
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN), if again => {}
        }
        again = false;
        for guest in guests.all() {
            let of = &guest.record;
            let instances = api(&client, &vmi_resource(), &of.namespace);
            match get(&instances, &of.name).await {
                Ok(Some(vmi)) if vmi["metadata"]["uid"] == of.uid => {}
                Ok(_) if guest.observed().is_alive() => {
                    tracing::warn!(guest = of.key(), uid = of.uid, "its instance is gone");
                    guest.stop(max_grace);
                }
                Ok(_) => {
                    if let Err(error) = guests.forget(&guest) {
                        tracing::warn!(guest = of.key(), %error, "cannot remove its files");
                    }
                }
                Err(error) => {
                    tracing::warn!(guest = of.key(), error = chain(&error), "cannot look for its instance");
                    again = true;
                }
            }
        }
    }
}
