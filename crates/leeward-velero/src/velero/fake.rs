//! An API server in memory: just enough of get, list, watch, create and dry run for Velero's kinds.

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// Plural and name.
type Key = (String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// Of everything that happened: plural, name, watch event. Its index is the resource version.
    events: Vec<(Key, Value)>,
    created: Vec<Value>,
    drops_status: bool,
}

/// Cheap to clone; all clones are one server.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    version: Arc<watch::Sender<usize>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let fake = Self { state: Arc::default(), version: Arc::new(watch::channel(0).0) };
        fake.location("Available", "");
        fake
    }

    pub(crate) fn client(&self) -> kube::Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        kube::Client::new(service, "velero")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn location(&self, phase: &str, message: &str) {
        let status = json!({ "phase": phase, "message": message, "lastValidationTime": "2026-11-22T18:00:00Z" });
        let metadata = json!({ "name": "default", "namespace": "velero" });
        self.put(
            "backupstoragelocations",
            json!({ "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": metadata, "status": status }),
        );
    }

    /// Makes or replaces an object.
    pub(crate) fn put(&self, plural: &str, mut object: Value) {
        let mut state = self.state();
        let key = (plural.to_owned(), object["metadata"]["name"].as_str().unwrap().to_owned());
        let kind = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        object["metadata"]["resourceVersion"] = json!((state.events.len() + 1).to_string());
        state.events.push((key.clone(), json!({ "type": kind, "object": object })));
        state.objects.insert(key, object);
        self.version.send_replace(state.events.len());
    }

    pub(crate) fn remove(&self, plural: &str, name: &str) {
        let mut state = self.state();
        let key = (plural.to_owned(), name.to_owned());
        let mut object = state.objects.remove(&key).unwrap();
        object["metadata"]["resourceVersion"] = json!((state.events.len() + 1).to_string());
        state.events.push((key, json!({ "type": "DELETED", "object": object })));
        self.version.send_replace(state.events.len());
    }

    pub(crate) fn get(&self, plural: &str, name: &str) -> Option<Value> {
        self.state().objects.get(&(plural.to_owned(), name.to_owned())).cloned()
    }

    /// Plays Velero: waits for the object and gives it a status.
    pub(crate) async fn set_status(&self, plural: &str, name: &str, status: Value) {
        let mut version = self.version.subscribe();
        let mut object = loop {
            match self.get(plural, name) {
                Some(object) => break object,
                None => version.changed().await.unwrap(),
            }
        };
        object["status"] = status;
        self.put(plural, object);
    }

    /// Names of what was created by call, in order.
    pub(crate) fn created(&self) -> Vec<String> {
        self.state().created.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// From now on a status is not stored at creation, as with a status subresource.
    pub(crate) fn drop_status(&self) {
        self.state().drops_status = true;
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let ["apis", "velero.io", "v1", "namespaces", "velero", plural, rest @ ..] = &path[..] else {
            return respond(404, "404 page not found");
        };
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
            .collect();
        let wanted = query.get("fieldSelector").and_then(|fields| fields.strip_prefix("metadata.name="));
        match (parts.method, rest) {
            (Method::GET, [name]) => {
                self.get(plural, name).map_or_else(|| not_found(plural, name), |o| respond(200, &o.to_string()))
            }
            (Method::GET, []) if query.contains_key("watch") => {
                self.watch(plural, wanted, query["resourceVersion"].parse().unwrap()).await
            }
            (Method::GET, []) => {
                let state = self.state();
                let items: Vec<&Value> = state
                    .objects
                    .iter()
                    .filter(|((p, n), _)| p == plural && wanted.is_none_or(|wanted| wanted == n))
                    .map(|(_, object)| object)
                    .collect();
                let version = state.events.len().to_string();
                let list = json!({ "apiVersion": "velero.io/v1", "kind": "List", "metadata": { "resourceVersion": version }, "items": items });
                respond(200, &list.to_string())
            }
            (Method::POST, []) => {
                let body = body.collect_bytes().await.unwrap();
                self.create(plural, serde_json::from_slice(&body).unwrap(), query.contains_key("dryRun"))
            }
            _ => respond(405, "{}"),
        }
    }

    fn create(&self, plural: &str, mut object: Value, dry_run: bool) -> Response<Body> {
        let metadata = &mut object["metadata"];
        if metadata["name"].is_null() {
            metadata["name"] = json!(format!("{}x", metadata["generateName"].as_str().unwrap()));
        }
        metadata["uid"] = json!("uid-here");
        let name = metadata["name"].as_str().unwrap().to_owned();
        if self.get(plural, &name).is_some() {
            return status(409, "AlreadyExists", plural, &name);
        }
        if self.state().drops_status {
            object.as_object_mut().unwrap().remove("status");
        }
        if !dry_run {
            self.state().created.push(object.clone());
            self.put(plural, object.clone());
        }
        respond(201, &object.to_string())
    }

    /// Answers with what happened since, and ends: a client that cannot go on where it was misses something.
    async fn watch(&self, plural: &str, wanted: Option<&str>, since: usize) -> Response<Body> {
        let mut version = self.version.subscribe();
        loop {
            let lines: String = {
                let state = self.state();
                let news = state.events.iter().skip(since);
                let ours = news.filter(|((p, n), _)| p == plural && wanted.is_none_or(|wanted| wanted == n));
                ours.map(|(_, event)| format!("{event}\n")).collect()
            };
            if !lines.is_empty() {
                return respond(200, &lines);
            }
            version.changed().await.unwrap();
        }
    }
}

fn respond(code: u16, body: &str) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.as_bytes().to_vec())).unwrap()
}

fn not_found(plural: &str, name: &str) -> Response<Body> {
    status(404, "NotFound", plural, name)
}

fn status(code: u16, reason: &str, plural: &str, name: &str) -> Response<Body> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": format!("{plural} {name:?}: {reason}"), "details": { "name": name, "kind": plural },
    });
    respond(code, &status.to_string())
}
