//! Waiting for one of Velero's objects by watch, with a deadline and somebody who hears what it waits for.

use crate::api::Kind;
use crate::velero::Progress;
use crate::{LocationState, Velero, VeleroError};
use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// When nothing has changed for so long, a person wants to know why.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a look at the object says.
pub(crate) enum Look<T> {
    /// The wait is over.
    End(T),
    /// This is being waited for.
    Wait(String),
}

/// Until when, and how long that was from the start.
#[derive(Clone, Copy)]
pub(crate) struct Until {
    pub(crate) at: Instant,
    pub(crate) after: Duration,
}

impl Until {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { at: Instant::now() + deadline, after: deadline }
    }
}

/// Says each thing once.
pub(crate) struct Saying<'a> {
    progress: Progress<'a>,
    last: String,
}

impl<'a> Saying<'a> {
    pub(crate) fn new(progress: Progress<'a>) -> Self {
        Self { progress, last: String::new() }
    }

    /// Whether it was new.
    pub(crate) fn say(&mut self, what: String) -> bool {
        let new = what != self.last;
        if new {
            (self.progress)(&what);
            self.last = what;
        }
        new
    }
}

impl Velero {
    /// Watches the object `name` until `look` ends the wait. The watch survives a lost connection and a relist.
    pub(crate) async fn watch<T>(
        &self,
        kind: Kind,
        name: &str,
        until: Until,
        progress: Progress<'_>,
        mut look: impl FnMut(Option<&Value>) -> Look<T> + Send,
    ) -> Result<T, VeleroError> {
        let mut events = pin!(watch_object(self.api(kind), name).default_backoff());
        let mut saying = Saying::new(progress);
        let mut last = "no answer from the API server".to_owned();
        let mut patience = Instant::now() + PATIENCE;
        let mut asked = false;
        loop {
            tokio::select! {
                event = events.next() => {
                    let what = match event {
                        Some(Ok(object)) => {
                            let object = object.map(|object| self.value(kind, &object)).transpose()?;
                            match look(object.as_ref()) {
                                Look::End(end) => return Ok(end),
                                Look::Wait(what) => what,
                            }
                        }
                        Some(Err(error)) => self.endured(kind, name, error)?,
                        // It recovers for ever; if it ever ends, the deadline speaks.
                        None => std::future::pending().await,
                    };
                    last.clone_from(&what);
                    if saying.say(what) {
                        (patience, asked) = (Instant::now() + PATIENCE, false);
                    }
                }
                () = sleep_until(patience), if !asked => {
                    asked = true;
                    if let Some(cause) = self.cause_of_delay(kind, name).await {
                        last = format!("{last} ({cause})");
                        saying.say(cause);
                    }
                }
                () = sleep_until(until.at) => return Err(self.deadline(kind, name, until, last)),
            }
        }
    }

    pub(crate) fn deadline(&self, kind: Kind, name: &str, until: Until, last: String) -> VeleroError {
        let (site, namespace) = (self.site().to_string(), self.namespace.clone());
        VeleroError::Deadline {
            kind: kind.name(),
            name: name.to_owned(),
            site,
            namespace,
            after: until.after,
            last: last.into(),
        }
    }

    /// A fault that may pass is waited out; a refusal is an error at once.
    fn endured(&self, kind: Kind, name: &str, error: watcher::Error) -> Result<String, VeleroError> {
        use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
        let refused =
            |error: &kube::Error| matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404));
        match error {
            InitialListFailed(source) | WatchStartFailed(source) | WatchFailed(source) if refused(&source) => {
                Err(self.call_failed(kind, format!("watch {} {name}", kind.name()), source))
            }
            passing => {
                tracing::debug!(site = %self.site(), error = &passing as &dyn std::error::Error, "watch is interrupted");
                Ok(format!("the API server of site {} does not answer", self.site()))
            }
        }
    }

    /// Why nothing may be moving, if it can be told.
    async fn cause_of_delay(&self, kind: Kind, name: &str) -> Option<String> {
        let site = self.site();
        match self.location().await {
            Ok(LocationState::Unavailable(why)) => Some(format!("Velero of site {site} cannot use its bucket: {why}")),
            Ok(LocationState::Missing) => Some(format!("site {site} has no BackupStorageLocation {:?}", self.location)),
            Ok(LocationState::Available) if kind != Kind::Location => Some(format!(
                "nothing has moved for {} s at {} {name}: is Velero's server running in namespace {} of site {site}?",
                PATIENCE.as_secs(),
                kind.name(),
                self.namespace
            )),
            Ok(LocationState::Available) | Err(_) => None,
        }
    }
}
