//! What is at a site, as far as [`leeward_model::check`] asks. Reads only; of Secrets and the like not even the content.

use crate::VeleroError;
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, PartialObjectMeta};
use leeward_model::belongings::Named;
use leeward_model::check::{Present, Wanted};
use leeward_model::name::SiteName;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for one answer of the API server.
const ANSWER: Duration = Duration::from_secs(30);
/// Calls at a time.
const AT_ONCE: usize = 16;
/// Objects of one page.
const PAGE: u32 = 500;

/// A site's API server, to look at.
#[derive(Clone)]
pub struct Look {
    client: Client,
    site: SiteName,
}

impl Look {
    /// At the site that `client` reaches.
    #[must_use]
    pub fn new(client: Client, site: SiteName) -> Self {
        Self { client, site }
    }

    /// Looks up what is wanted.
    ///
    /// # Errors
    /// [`VeleroError::Call`] or [`VeleroError::NoAnswer`] if the API server refuses or does not answer. What it does not know
    /// is no error: it is not there.
    pub async fn present(&self, wanted: &Wanted) -> Result<Present, VeleroError> {
        let mut present = Present { versions: self.versions(&wanted.versions).await?, ..Present::default() };
        let lists = wanted.lists.iter().map(|resource| self.list(resource));
        let lists: Vec<Vec<Named>> = futures::stream::iter(lists).buffer_unordered(AT_ONCE).try_collect().await?;
        present.objects.extend(lists.into_iter().flatten());
        let objects = wanted
            .objects
            .iter()
            .map(|object| async move { self.is_there(object).await.map(|is| is.then_some(object)) });
        let objects: Vec<Option<&Named>> =
            futures::stream::iter(objects).buffer_unordered(AT_ONCE).try_collect().await?;
        present.objects.extend(objects.into_iter().flatten().cloned());
        let kubevirts = self.api("kubevirts.kubevirt.io", None);
        let kubevirts = self.answer("list kubevirts.kubevirt.io", kubevirts.list(&ListParams::default())).await?;
        let kubevirt = kubevirts.and_then(|list| list.items.into_iter().next());
        present.kubevirt = kubevirt.and_then(|kubevirt| serde_json::to_value(kubevirt).ok());
        Ok(present)
    }

    /// Every API version that is served, and the resources of those in `of`.
    async fn versions(&self, of: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>, VeleroError> {
        let mut versions = BTreeMap::new();
        let core = self.answer("list the API versions", self.client.list_core_api_versions()).await?;
        let groups = self.answer("list the API groups", self.client.list_api_groups()).await?;
        let named = groups.into_iter().flat_map(|list| list.groups).flat_map(|group| group.versions);
        let known = core.into_iter().flat_map(|core| core.versions).chain(named.map(|version| version.group_version));
        versions.extend(known.map(|version| (version, BTreeSet::new())));
        let wanted: Vec<&String> = of.iter().filter(|version| versions.contains_key(*version)).collect();
        let resources = wanted.into_iter().map(|version| async move {
            let doing = format!("list the resources of {version}");
            let found = if version.contains('/') {
                self.answer(&doing, self.client.list_api_group_resources(version)).await
            } else {
                self.answer(&doing, self.client.list_core_api_resources(version)).await
            }?;
            let plurals = found.into_iter().flat_map(|list| list.resources).map(|resource| resource.name);
            Ok::<_, VeleroError>((version.clone(), plurals.collect::<BTreeSet<String>>()))
        });
        let resources: Vec<_> = futures::stream::iter(resources).buffer_unordered(AT_ONCE).try_collect().await?;
        versions.extend(resources);
        Ok(versions)
    }

    async fn list(&self, resource: &'static str) -> Result<Vec<Named>, VeleroError> {
        let api = self.api(resource, None);
        let mut page = ListParams::default().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let Some(list) = self.answer(&format!("list {resource}"), api.list_metadata(&page)).await? else { break };
            all.extend(list.items.iter().filter_map(|object: &PartialObjectMeta<DynamicObject>| {
                let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone()?);
                Some(Named { resource, namespace, name })
            }));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        Ok(all)
    }

    async fn is_there(&self, object: &Named) -> Result<bool, VeleroError> {
        // A name that Kubernetes cannot have is nowhere; asked for, it would be another path.
        let good = |text: &str| {
            !text.is_empty()
                && text.len() <= 253
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':'))
                && !text.starts_with('.')
        };
        if !good(&object.name) || object.namespace.as_deref().is_some_and(|namespace| !good(namespace)) {
            return Ok(false);
        }
        let api = self.api(object.resource, object.namespace.as_deref());
        let doing = format!("look for {} {}", object.resource, object.title());
        Ok(self.answer(&doing, api.get_metadata(&object.name)).await?.is_some())
    }

    fn api(&self, resource: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let version = if group == "instancetype.kubevirt.io" { "v1beta1" } else { "v1" };
        // The kind is not asked for: what is read is metadata.
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, plural), plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// `None` where the answer is 404.
    async fn answer<T>(
        &self,
        doing: &str,
        call: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<Option<T>, VeleroError> {
        let (site, doing) = (self.site.to_string(), doing.to_owned());
        match timeout(ANSWER, call).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(source)) => Err(VeleroError::Call { site, doing, source: Box::new(source) }),
            Err(_) => Err(VeleroError::NoAnswer { site, doing, after: ANSWER }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    /// An API server that answers these paths, and 404 to all others. What it was asked.
    fn played(answers: Vec<(&'static str, u16, Value)>) -> (Look, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let page = request.uri().query().is_some_and(|query| query.contains("continue="));
            let path = if page { format!("{path}?more") } else { path };
            let answer = answers.iter().find(|(known, ..)| *known == path);
            let missing =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
            let (code, body) = answer.map_or((404, missing), |(_, code, body)| (*code, body.clone()));
            seen.lock().unwrap().push(path);
            async move {
                Ok::<_, Infallible>(
                    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap(),
                )
            }
        });
        (Look::new(kube::Client::new(service, "default"), SiteName::parse("west").unwrap()), asked)
    }

    fn list(names: &[(&str, &str)], more: &str) -> Value {
        let items: Vec<_> = names
            .iter()
            .map(|(namespace, name)| json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"namespace": namespace, "name": name}}))
            .collect();
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"continue": more}, "items": items})
    }

    const NETWORKS: &str = "network-attachment-definitions.k8s.cni.cncf.io";
    const LIST: &str = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions";

    fn discovery() -> Vec<(&'static str, u16, Value)> {
        let group = |name: &str, version: &str| {
            let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
            json!({"name": name, "versions": [version], "preferredVersion": version})
        };
        let resources = |version: &str, name: &str| {
            json!({"kind": "APIResourceList", "groupVersion": version, "resources": [
                {"name": name, "singularName": "", "namespaced": true, "kind": "X", "verbs": ["get"]}
            ]})
        };
        vec![
            ("/api", 200, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
            ("/apis", 200, json!({"kind": "APIGroupList", "groups": [group("apps", "v1"), group("other.io", "v2")]})),
            ("/api/v1", 200, resources("v1", "secrets")),
            ("/apis/apps/v1", 200, resources("apps/v1", "deployments")),
        ]
    }

    #[tokio::test]
    async fn only_what_is_asked_for_is_looked_up() {
        let mut answers = discovery();
        answers.push((LIST, 200, list(&[("shop", "lan")], "next")));
        answers.push((
            "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions?more",
            200,
            list(&[("nets", "wan")], ""),
        ));
        let secret = list(&[("shop", "s")], "")["items"][0].clone();
        answers.push(("/api/v1/namespaces/shop/secrets/s", 200, secret));
        let kubevirt = json!({"metadata": {"name": "kubevirt"}, "status": {"observedKubeVirtVersion": "v1.8.4"}});
        answers.push((
            "/apis/kubevirt.io/v1/kubevirts",
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [kubevirt]}),
        ));
        let (look, asked) = played(answers);
        let secret = |name: &str| Named::of("secrets", "shop", name);
        let wanted = Wanted {
            lists: [NETWORKS, "storageclasses.storage.k8s.io"].into(),
            objects: [
                secret("s"),
                secret("gone"),
                secret("../../nodes"),
                secret("a?watch=1"),
                Named::of("secrets", "a/b", "s"),
            ]
            .into(),
            versions: ["v1", "apps/v1", "nobody.io/v1"].map(str::to_owned).into(),
        };
        let present = look.present(&wanted).await.unwrap();
        let networks = [Named::of(NETWORKS, "nets", "wan"), Named::of(NETWORKS, "shop", "lan")];
        assert_eq!(present.objects, networks.into_iter().chain([secret("s")]).collect());
        let served = |version: &str| present.versions[version].iter().cloned().collect::<Vec<_>>();
        assert_eq!((served("v1"), served("apps/v1")), (vec!["secrets".to_owned()], vec!["deployments".to_owned()]));
        assert!(served("other.io/v2").is_empty() && !present.versions.contains_key("nobody.io/v1"));
        assert_eq!(present.kubevirt.unwrap()["status"]["observedKubeVirtVersion"], "v1.8.4");
        // Names that no object can have are not asked for.
        let asked = asked.lock().unwrap();
        assert!(!asked.iter().any(|path| path.contains("nodes") || path.contains("watch")), "{asked:?}");
    }

    #[tokio::test]
    async fn what_is_refused_is_an_error_and_not_missing() {
        let forbidden =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403});
        let mut answers = discovery();
        answers.push((LIST, 403, forbidden));
        let (look, _) = played(answers);
        let text =
            look.present(&Wanted { lists: [NETWORKS].into(), ..Wanted::default() }).await.unwrap_err().to_string();
        assert!(text.contains("west") && text.contains(NETWORKS) && text.ends_with("[LW-0201]"), "{text}");
    }
}
