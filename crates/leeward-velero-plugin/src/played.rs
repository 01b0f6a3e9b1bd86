//! A cluster played in memory, for tests: the API server's verbs for any resource, with a real watch. The plug-in may do
//! there what its role allows and nothing else.

use crate::cluster::Cluster;
use crate::rights::{self, Right};
use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::watch;

/// The objects, and what was asked.
pub(crate) struct Played {
    state: Mutex<State>,
    /// `METHOD path`, `WATCH path`.
    pub(crate) asked: Mutex<Vec<String>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// (plural, object).
    objects: Vec<(String, Value)>,
    /// (version, plural, event) of all that has changed.
    log: Vec<(u64, String, Value)>,
    version: u64,
    /// `METHOD path` that are answered by a server's error, once each.
    failing: Vec<String>,
    /// What was asked without the right to it.
    forbidden: Vec<String>,
    /// How often all watches were ended.
    cuts: usize,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl State {
    fn record(&mut self, plural: &str, kind: &str, object: &Value) {
        self.log.push((self.version, plural.to_owned(), json!({"type": kind, "object": object})));
    }
}

/// One request, taken apart.
#[derive(Clone)]
struct Asked {
    group: String,
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    /// (key, value, whether it has it); without a value, whether there is the key.
    labels: Vec<(String, Option<String>, bool)>,
    field: Option<String>,
    since: u64,
}

impl Asked {
    fn of(path: &str, query: &str) -> Self {
        let core = path.starts_with("/api/");
        let group = if core { "" } else { path.split('/').nth(2).unwrap_or_default() }.to_owned();
        let mut steps = path.trim_matches('/').split('/').skip(if core { 2 } else { 3 });
        let mut first = steps.next().unwrap_or_default().to_owned();
        let mut namespace = None;
        let mut rest = steps.map(str::to_owned).collect::<Vec<_>>();
        if first == "namespaces" && rest.len() > 1 {
            namespace = Some(rest.remove(0));
            first = rest.remove(0);
        }
        let parameter = |key: &str| {
            let found = query.split('&').find_map(|q| q.strip_prefix(key)?.strip_prefix('='));
            found.map(|v| v.replace("%3D", "=").replace("%2F", "/").replace("%2C", ",").replace("%21", "!"))
        };
        let labels = parameter("labelSelector").unwrap_or_default();
        let labels = labels.split(',').filter(|l| !l.is_empty()).map(|l| match l.split_once('=') {
            Some((key, value)) => (key.trim_end_matches('!').to_owned(), Some(value.to_owned()), !key.ends_with('!')),
            None => (l.to_owned(), None, true),
        });
        let field = parameter("fieldSelector").and_then(|f| f.rsplit_once("name=").map(|(_, name)| name.to_owned()));
        let since = parameter("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        Self { group, plural: first, namespace, name: rest.pop(), labels: labels.collect(), field, since }
    }

    /// The right that it needs.
    fn right(&self, method: &str) -> Right {
        let verb = match (method, &self.name) {
            ("GET", Some(_)) => "get",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("WATCH" | "PATCH" | "DELETE", _) => &method.to_lowercase(),
            _ => panic!("the API server's verb for {method} {}", self.plural),
        };
        let in_veleros = self.namespace.as_deref() == Some(VELEROS);
        Right { verb: verb.to_owned(), group: self.group.clone(), resource: self.plural.clone(), in_veleros }
    }

    fn takes(&self, plural: &str, object: &Value) -> bool {
        let meta = &object["metadata"];
        let is = |asked: &Option<String>, value: &Value| asked.as_ref().is_none_or(|asked| value == asked.as_str());
        let about = if plural == "events" { &object["involvedObject"]["name"] } else { &meta["name"] };
        plural == self.plural
            && is(&self.namespace, &meta["namespace"])
            && is(&self.name, &meta["name"])
            && is(&self.field, about)
            && self.labels.iter().all(|(key, value, has)| match value {
                Some(value) => (meta["labels"][key] == value.as_str()) == *has,
                None => !meta["labels"][key].is_null(),
            })
    }
}

/// The namespace of the Velero that the plug-in belongs to.
const VELEROS: &str = "velero";

impl Drop for Played {
    /// A plug-in can live with many a refusal, and a test with it.
    fn drop(&mut self) {
        let forbidden = std::mem::take(&mut self.state().forbidden);
        assert!(std::thread::panicking() || forbidden.is_empty(), "no right to {}", forbidden.join(", "));
    }
}

impl Played {
    pub(crate) fn empty() -> Self {
        let played = Self { state: Mutex::default(), asked: Mutex::default(), changed: watch::Sender::new(0) };
        let mut config_map = crate::site::tests::config_map("east");
        config_map["metadata"]["namespace"] = VELEROS.into();
        played.add("configmaps", config_map);
        played.add("storageclasses", json!({"metadata": {"name": "nfs-csi"}, "provisioner": "nfs.csi.k8s.io"}));
        played
    }

    pub(crate) fn new(claims: Vec<Value>, snapshots: Vec<Value>) -> Self {
        let played = Self::empty();
        claims.into_iter().for_each(|claim| played.add("persistentvolumeclaims", claim));
        snapshots.into_iter().for_each(|snapshot| played.add("volumesnapshots", snapshot));
        played
    }

    pub(crate) fn cluster(self: &Arc<Self>) -> Arc<Cluster> {
        let played = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let played = Arc::clone(&played);
            async move { Ok::<_, Infallible>(played.answer(request).await) }
        });
        Arc::new(Cluster::played(kube::Client::new(service, "default")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn tell(&self) {
        let version = self.state().version;
        self.changed.send_replace(version);
    }

    pub(crate) fn add(&self, plural: &str, mut object: Value) {
        {
            let mut state = self.state();
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            object["apiVersion"] =
                if object["apiVersion"].is_null() { "v1".into() } else { object["apiVersion"].take() };
            object["kind"] = if object["kind"].is_null() { "Thing".into() } else { object["kind"].take() };
            state.record(plural, "ADDED", &object);
            state.objects.push((plural.to_owned(), object));
        }
        self.tell();
    }

    /// Writes the ConfigMap's key `promote`.
    pub(crate) fn promote(&self, text: &str) {
        self.set("configmaps", "leeward-site", |map| map["data"]["promote"] = text.into());
    }

    /// Answers the next `METHOD path` with an error.
    pub(crate) fn fail(&self, what: &str) {
        self.state().failing.push(what.to_owned());
    }

    pub(crate) fn count(&self, of: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(of)).count()
    }

    /// The names of all objects of a kind.
    pub(crate) fn names(&self, plural: &str) -> Vec<String> {
        let state = self.state();
        let of = state.objects.iter().filter(|(p, _)| p == plural);
        of.map(|(_, object)| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn object(&self, plural: &str, name: &str) -> Option<Value> {
        let state = self.state();
        state
            .objects
            .iter()
            .find(|(p, object)| p == plural && object["metadata"]["name"] == name)
            .map(|(_, o)| o.clone())
    }

    /// Changes an object as a controller would.
    pub(crate) fn set(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        {
            let mut state = self.state();
            state.version += 1;
            let version = state.version.to_string();
            let (_, object) =
                state.objects.iter_mut().find(|(p, o)| p == plural && o["metadata"]["name"] == name).unwrap();
            change(object);
            object["metadata"]["resourceVersion"] = version.into();
            let object = object.clone();
            state.record(plural, "MODIFIED", &object);
        }
        self.tell();
    }

    pub(crate) fn remove(&self, plural: &str, name: &str) {
        {
            let mut state = self.state();
            let at = state.objects.iter().position(|(p, o)| p == plural && o["metadata"]["name"] == name).unwrap();
            state.version += 1;
            let (_, mut object) = state.objects.remove(at);
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.record(plural, "DELETED", &object);
        }
        self.tell();
    }

    /// Waits until `METHOD path` was asked for `times` times.
    pub(crate) async fn was_asked(&self, what: &str, times: usize) {
        while self.count(what) < times {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default();
        let asked = Asked::of(&path, query);
        let watching = query.contains("watch=true");
        let method = if watching { "WATCH" } else { parts.method.as_str() };
        let call = format!("{method} {path}");
        self.asked.lock().unwrap().push(call.clone());
        let right = asked.right(method);
        {
            let mut state = self.state();
            if !rights::allow(&right) {
                state.forbidden.push(right.to_string());
                return status(403, "Forbidden");
            }
            if let Some(at) = state.failing.iter().position(|failing| *failing == call) {
                state.failing.remove(at);
                return status(403, "Forbidden");
            }
        }
        // Which versions of a group are served.
        if let Some(group) = path.strip_prefix("/apis/").filter(|group| !group.contains('/')) {
            return self.object("apigroups", group).map_or_else(|| status(404, "NotFound"), |group| reply(200, &group));
        }
        let body = || async { serde_json::from_slice::<Value>(&body.collect_bytes().await.unwrap()).unwrap() };
        match parts.method {
            Method::POST => {
                let mut object = body().await;
                if self.object(&asked.plural, object["metadata"]["name"].as_str().unwrap()).is_some() {
                    return status(409, "AlreadyExists");
                }
                object["metadata"]["uid"] = format!("uid-{}", self.state().version).into();
                self.add(&asked.plural, object.clone());
                reply(201, &object)
            }
            Method::PATCH => {
                let patch = body().await;
                let name = asked.name.clone().unwrap();
                if self.object(&asked.plural, &name).is_none() {
                    return status(404, "NotFound");
                }
                self.set(&asked.plural, &name, |object| merge(object, &patch));
                reply(200, &self.object(&asked.plural, &name).unwrap())
            }
            Method::DELETE => {
                let options = body().await;
                let name = asked.name.clone().unwrap();
                let Some(object) = self.object(&asked.plural, &name) else { return status(404, "NotFound") };
                for key in ["uid", "resourceVersion"] {
                    let wanted = &options["preconditions"][key];
                    if !wanted.is_null() && *wanted != object["metadata"][key] {
                        return status(409, "Conflict");
                    }
                }
                self.remove(&asked.plural, &name);
                reply(200, &object)
            }
            _ if watching => self.events(asked),
            _ if asked.name.is_some() => match self.matching(&asked).pop() {
                Some(object) => reply(200, &object),
                None => status(404, "NotFound"),
            },
            _ => {
                let meta = json!({"resourceVersion": self.state().version.to_string()});
                reply(
                    200,
                    &json!({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": self.matching(&asked)}),
                )
            }
        }
    }

    /// What has changed since the version asked for, and what changes, until the watch is cut.
    fn events(self: &Arc<Self>, asked: Asked) -> Answer {
        let (played, since, cuts) = (Arc::downgrade(self), asked.since, self.state().cuts);
        let next = move |(since, mut changes): (u64, watch::Receiver<u64>)| {
            let (played, asked) = (Weak::clone(&played), asked.clone());
            async move {
                loop {
                    changes.borrow_and_update();
                    let (lines, now) = played.upgrade()?.since(&asked, since, cuts)?;
                    if !lines.is_empty() {
                        return Some((Ok(Frame::data(Bytes::from(lines))), (now, changes)));
                    }
                    changes.changed().await.ok()?;
                }
            }
        };
        Response::new(StreamBody::new(stream::unfold((since, self.changed.subscribe()), next)).boxed_unsync())
    }

    /// The events after a version, and the version of now; `None` if watches were cut since.
    fn since(&self, asked: &Asked, since: u64, cuts: usize) -> Option<(String, u64)> {
        let state = self.state();
        let new = state
            .log
            .iter()
            .filter(|(version, plural, event)| *version > since && asked.takes(plural, &event["object"]));
        (state.cuts == cuts).then(|| (new.map(|(_, _, event)| format!("{event}\n")).collect(), state.version))
    }

    /// Ends all watches, as a server does now and then.
    pub(crate) fn cut(&self) {
        self.state().cuts += 1;
        self.tell();
    }

    fn matching(&self, asked: &Asked) -> Vec<Value> {
        let state = self.state();
        state.objects.iter().filter(|(plural, object)| asked.takes(plural, object)).map(|(_, o)| o.clone()).collect()
    }
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().shift_remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn reply(code: u16, body: &Value) -> Answer {
    let body = Full::from(body.to_string()).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

fn status(code: u16, reason: &str) -> Answer {
    reply(code, &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}))
}
