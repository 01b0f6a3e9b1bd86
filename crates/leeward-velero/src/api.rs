//! Single calls to the API server of a site, each with a limit of time and an error that says what was being done.

use crate::request::text;
use crate::{StoreError, Velero, VeleroError};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for one answer of the API server.
const ANSWER: Duration = Duration::from_secs(10);

/// Velero's kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Backup,
    Restore,
    Deletion,
    Location,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backup => "Backup",
            Self::Restore => "Restore",
            Self::Deletion => "DeleteBackupRequest",
            Self::Location => "BackupStorageLocation",
        }
    }
}

impl Velero {
    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("velero.io", "v1", kind.name()));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(crate) fn value(&self, kind: Kind, object: &DynamicObject) -> Result<Value, VeleroError> {
        serde_json::to_value(object).map_err(|source| {
            self.call_failed(kind, format!("read a {}", kind.name()), kube::Error::SerdeError(source))
        })
    }

    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, VeleroError> {
        let found = self.answer(kind, format!("get {} {name}", kind.name()), self.api(kind).get_opt(name)).await?;
        found.map(|found| self.value(kind, &found)).transpose()
    }

    /// `None` if there is one of that name already.
    pub(crate) async fn create(&self, kind: Kind, object: &Value, dry_run: bool) -> Result<Option<Value>, VeleroError> {
        let name =
            text(object, &["metadata", "name"]).or(text(object, &["metadata", "generateName"])).unwrap_or_default();
        let doing = format!("create {} {name}", kind.name());
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|source| self.call_failed(kind, doing.clone(), kube::Error::SerdeError(source)))?;
        let params = PostParams { dry_run, field_manager: Some("leeward".to_owned()) };
        match self.answer(kind, doing, self.api(kind).create(&params, &object)).await {
            Ok(created) => self.value(kind, &created).map(Some),
            Err(VeleroError::Call { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_already_exists()) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn answer<T>(
        &self,
        kind: Kind,
        doing: String,
        call: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<T, VeleroError> {
        match timeout(ANSWER, call).await {
            Ok(answer) => answer.map_err(|source| self.call_failed(kind, doing, source)),
            Err(_) => Err(VeleroError::NoAnswer { site: self.site.to_string(), doing, after: ANSWER }),
        }
    }

    pub(crate) fn call_failed(&self, kind: Kind, doing: String, source: kube::Error) -> VeleroError {
        let site = self.site.to_string();
        // A 404 that is not about an object: the kind is not served.
        let unknown = matches!(&source, kube::Error::Api(status) if status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty()));
        if unknown {
            return VeleroError::NotInstalled { site, kind: kind.name() };
        }
        VeleroError::Call { site, doing, source: Box::new(source) }
    }

    pub(crate) fn store_failed(&self, what: String, source: StoreError) -> VeleroError {
        VeleroError::Store { site: self.site.to_string(), what, source: Box::new(source) }
    }

    pub(crate) fn unusable(&self, name: &str, problem: String) -> VeleroError {
        VeleroError::Unusable { name: name.to_owned(), site: self.site.to_string(), problem }
    }
}
