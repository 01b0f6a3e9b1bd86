//! What every kind of action does around a call: find the action, read JSON, guard the call, write JSON.
//!
//! The gRPC server has a thread and a runtime of its own, actions run on the program's. So an action that blocks its
//! thread holds up neither other calls' arrival nor the shutdown: on a shared runtime even a second worker thread did not
//! help, since the blocked one had left with nobody at the event queue, and the host waits for the shutdown for ever.
//! A plug-in whose actions never block can do without ([`Server::on_one_thread`](crate::Server::on_one_thread)).

use crate::error::ActionError;
use crate::kind::Kind;
use crate::panic::caught;
use crate::proto::generated::ResourceSelector;
use crate::selector::Selector;
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::Instrument as _;

/// The registered actions of one kind.
pub(crate) struct Actions<A: ?Sized> {
    kind: Kind,
    by_name: BTreeMap<String, Arc<A>>,
}

impl<A: ?Sized> Actions<A> {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, by_name: BTreeMap::new() }
    }

    /// False if the name is taken.
    pub(crate) fn insert(&mut self, name: &str, action: Arc<A>) -> bool {
        self.by_name.insert(name.to_owned(), action).is_none()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.by_name.keys().map(|name| (self.kind, name.as_str()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<A>, Status> {
        self.by_name.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.by_name.keys().map(String::as_str).collect();
            Status::not_found(format!(
                "{} plugin: {name} was not found or has an invalid name format; this binary serves {}",
                self.kind,
                if known.is_empty() { "none of this kind".to_owned() } else { known.join(", ") }
            ))
        })
    }
}

/// The gRPC service of one kind of action; what differs between the kinds are the messages.
pub(crate) struct Service<A: ?Sized> {
    pub(crate) actions: Actions<A>,
    /// Where the actions run.
    pub(crate) program: Handle,
}

impl<A: ?Sized + Send + Sync + 'static> Service<A> {
    /// What the action `name` says that it applies to.
    pub(crate) async fn selector(&self, name: &str, of: fn(&A) -> Selector) -> Result<ResourceSelector, Status> {
        let action = self.actions.get(name)?;
        run(&self.program, name, Subject::default(), async move { Ok(of(&action)) }).await.map(Into::into)
    }
}

/// Reads the JSON that Velero sent as `what`.
pub(crate) fn read(what: &'static str, json: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(json).map_err(|e| Status::invalid_argument(format!("read the {what} that Velero sent: {e}")))
}

/// The bytes to answer with: always a whole object, for Velero takes neither empty bytes nor an object without kind,
/// not even with an item that it is to skip.
pub(crate) fn write(changed: Option<Value>, original: Vec<u8>) -> Result<Vec<u8>, ActionError> {
    let Some(item) = changed else { return Ok(original) };
    if item["kind"].as_str().is_none_or(str::is_empty) {
        return Err(ActionError::new("the action returned an item without `kind`; it has to return the whole object"));
    }
    Ok(serde_json::to_vec(&item)?)
}

/// The item that a call is about, for the log.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    namespace: String,
    name: String,
}

impl From<&Value> for Subject {
    fn from(item: &Value) -> Self {
        let of = |key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
        Self { namespace: of("namespace"), name: of("name") }
    }
}

/// Runs an action's `work` on the program's own runtime: log lines carry the item's name, a panic or an error becomes a
/// status. If the call is dropped, so is the work.
pub(crate) async fn run<T: Send + 'static>(
    program: &Handle,
    name: &str,
    subject: Subject,
    work: impl Future<Output = Result<T, ActionError>> + Send + 'static,
) -> Result<T, Status> {
    let Subject { namespace, name: item } = subject;
    // Velero crashes on a log field `name` or `namespace` that is no string; these always are.
    let span = tracing::info_span!("action", plugin = name, namespace, name = item);
    let working = AbortOnDropHandle::new(program.spawn(caught(work).instrument(span)));
    match working.await {
        Ok(result) => result.map_err(|e| e.into_status(name)),
        // Its panics were caught, so it was stopped with the runtime.
        Err(_) => Err(Status::cancelled(format!("{name} was stopped: the plug-in is ending"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unchanged_item_is_echoed_byte_for_byte() {
        let original = br#"{"kind":"X",  "odd":1e3}"#.to_vec();
        assert_eq!(write(None, original.clone()).unwrap(), original);
    }

    #[test]
    fn an_item_without_kind_is_refused_here_not_in_velero() {
        for bad in [json!({}), json!(null), json!({"kind": ""}), json!({"kind": 1})] {
            assert!(write(Some(bad.clone()), Vec::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_by_what_it_should_be() {
        for bad in [&b""[..], b"{", b"\xff", b"{} {}", b"nul"] {
            let status = read("item", bad).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with("read the item that Velero sent: "), "{}", status.message());
        }
        // Far deeper than any object: an error, not the end of the stack.
        assert!(read("item", "[".repeat(1_000_000).as_bytes()).is_err());
    }
}
