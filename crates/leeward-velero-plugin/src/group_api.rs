//! VolumeGroupSnapshots, in the version that this cluster serves.
//!
//! What the plug-in reads and writes of them is the same in all three: external-snapshotter has served `v1beta1` since 8.2,
//! `v1beta2` since 8.4 and `v1` since 8.6. `v1alpha1` made its snapshots otherwise and is passed over.

use crate::cluster::{Cluster, ClusterError, Resource, call, is_not_found, resource};
use serde_json::Value;

const GROUP: &str = "groupsnapshot.storage.k8s.io";

/// Its resources, of one version.
#[derive(Debug)]
pub(crate) struct GroupApi {
    pub(crate) snapshots: Resource,
    pub(crate) classes: Resource,
}

const fn of(version: &'static str) -> GroupApi {
    GroupApi {
        snapshots: resource(GROUP, version, "VolumeGroupSnapshot", "volumegroupsnapshots"),
        classes: resource(GROUP, version, "VolumeGroupSnapshotClass", "volumegroupsnapshotclasses"),
    }
}

/// The best first.
static KNOWN: [GroupApi; 3] = [of("v1"), of("v1beta2"), of("v1beta1")];

impl Cluster {
    /// The API; `None` if this cluster serves none that is known.
    pub(crate) async fn group_api(&self) -> Result<Option<&'static GroupApi>, ClusterError> {
        let read = || async {
            let failed = |source| call(format!("ask for the versions of {GROUP}"), source);
            let request = http::Request::get(format!("/apis/{GROUP}")).body(Vec::new());
            let request = request.map_err(|source| failed(kube::Error::HttpError(source)))?;
            match self.client().await?.request::<Value>(request).await {
                Ok(group) => Ok(best(&group)),
                Err(error) if is_not_found(&error) => Ok(None),
                Err(error) => Err(failed(error)),
            }
        };
        self.known.group_api.get_or_try_init(read).await.copied()
    }
}

/// The best version among those that the server names.
fn best(group: &Value) -> Option<&'static GroupApi> {
    let served = |version: &str| {
        group
            .pointer("/versions")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|of| of["groupVersion"] == version))
    };
    KNOWN.iter().find(|api| served(&api.snapshots.api_version()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_known_version_is_used() {
        let served = |versions: &[&str]| {
            let versions: Vec<_> = versions.iter().map(|v| json!({"groupVersion": format!("{GROUP}/{v}")})).collect();
            best(&json!({"kind": "APIGroup", "versions": versions})).map(|api| api.classes.api_version())
        };
        assert_eq!(served(&["v1beta2", "v1", "v1beta1"]).unwrap(), format!("{GROUP}/v1"));
        assert_eq!(served(&["v1alpha1", "v1beta1"]).unwrap(), format!("{GROUP}/v1beta1"));
        assert_eq!(served(&["v1alpha1"]), None);
    }
}
