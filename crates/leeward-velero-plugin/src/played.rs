//! A cluster played in memory, for tests: just the calls that the actions make, with a real watch.

use crate::cluster::Cluster;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The objects, and what was asked.
pub(crate) struct Played {
    pub(crate) claims: Mutex<Vec<Value>>,
    pub(crate) snapshots: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) config_map: Value,
    /// `METHOD path`, `WATCH path`.
    pub(crate) asked: Mutex<Vec<String>>,
    changed: watch::Sender<u64>,
}

impl Played {
    pub(crate) fn new(claims: Vec<Value>, snapshots: Vec<Value>) -> Self {
        Self {
            claims: Mutex::new(claims),
            snapshots,
            events: Vec::new(),
            config_map: crate::site::tests::config_map("east"),
            asked: Mutex::default(),
            changed: watch::Sender::new(1),
        }
    }

    pub(crate) fn cluster(self: &Arc<Self>) -> Arc<Cluster> {
        let played = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let played = Arc::clone(&played);
            async move { Ok::<_, Infallible>(played.answer(request).await) }
        });
        Arc::new(Cluster::played(kube::Client::new(service, "default")))
    }

    pub(crate) fn count(&self, of: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(of)).count()
    }

    /// Changes a claim as a controller would.
    pub(crate) fn set(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut claims = self.claims.lock().unwrap();
        change(claims.iter_mut().find(|c| c["metadata"]["name"] == name).unwrap());
        self.changed.send_modify(|version| *version += 1);
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let watching = query.contains("watch=true");
        let method = if watching { "WATCH" } else { parts.method.as_str() };
        self.asked.lock().unwrap().push(format!("{method} {path}"));
        let last = path.rsplit('/').next().unwrap_or_default();
        // `fieldSelector=metadata.name%3Dx`
        let only = query.split('&').find_map(|q| q.strip_prefix("fieldSelector=metadata.name%3D")).map(str::to_owned);
        match (parts.method, last) {
            (Method::POST, "persistentvolumeclaims") => {
                let bytes = body.collect_bytes().await.unwrap();
                let claim: Value = serde_json::from_slice(&bytes).unwrap();
                let mut claims = self.claims.lock().unwrap();
                if claims.iter().any(|c| c["metadata"]["name"] == claim["metadata"]["name"]) {
                    return status(409, "AlreadyExists");
                }
                claims.push(claim.clone());
                reply(201, &claim)
            }
            (_, "persistentvolumeclaims") if watching => {
                let mut changes = self.changed.subscribe();
                changes.changed().await.unwrap();
                let object = self.matching(only.as_deref());
                let line = json!({"type": "MODIFIED", "object": object[0]});
                Response::new(Body::from(format!("{line}\n").into_bytes()))
            }
            (_, "persistentvolumeclaims") => list(&self.matching(only.as_deref())),
            (_, "volumesnapshots") => list(&self.snapshots),
            (_, "events") => list(&self.events),
            (_, "leeward-site") => reply(200, &self.config_map),
            (Method::GET, name) => match self.matching(Some(name)).pop() {
                Some(claim) => reply(200, &claim),
                None => status(404, "NotFound"),
            },
            _ => status(405, "MethodNotAllowed"),
        }
    }

    fn matching(&self, name: Option<&str>) -> Vec<Value> {
        let version = self.changed.borrow().to_string();
        let mut found: Vec<Value> = self.claims.lock().unwrap().clone();
        found.retain(|c| name.is_none_or(|name| c["metadata"]["name"] == name));
        for claim in &mut found {
            claim["metadata"]["resourceVersion"] = version.clone().into();
        }
        found
    }
}

fn reply(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

fn status(code: u16, reason: &str) -> Response<Body> {
    reply(code, &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}))
}

fn list(items: &[Value]) -> Response<Body> {
    reply(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}
