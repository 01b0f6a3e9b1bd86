//! The storage class of a promoted claim: the claim's own, unless that one waits for a first consumer. A promoted claim has
//! none, so it would wait for ever; the site's configuration then has to name a twin, a class of the same storage that does
//! not wait.

use crate::cluster::{Cluster, ClusterError, STORAGE_CLASSES};
use crate::promote::title;
use crate::view;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

const BETA: &str = "volume.beta.kubernetes.io/storage-class";

/// No promoted claim can have the claim's class.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClassError {
    #[error(
        "PersistentVolumeClaim {claim} cannot be promoted: its StorageClass {class} has volumeBindingMode \
         WaitForFirstConsumer, and a promoted claim has no consumer. Make a class like it with volumeBindingMode Immediate, \
         and write into ConfigMap leeward-site, key `promote`: twinClasses: {{ {class}: <that class> }} [LW-0623]"
    )]
    Waits { claim: String, class: String },
    #[error(
        "PersistentVolumeClaim {claim} cannot be promoted: the twin of its StorageClass {class} is {twin}, and {why}; correct \
         `twinClasses` in ConfigMap leeward-site, key `promote` [LW-0623]"
    )]
    Twin { claim: String, class: String, twin: String, why: String },
    #[error(
        "PersistentVolumeClaim {claim} cannot be promoted: {what}, so nothing would make a volume for a promoted claim; name \
         a class of the same storage in ConfigMap leeward-site, key `promote`: twinClasses: {{ {class:?}: <class> }} [LW-0623]"
    )]
    None { claim: String, class: String, what: &'static str },
    #[error("PersistentVolumeClaim {claim} cannot be promoted: its StorageClass {class} cannot be looked at [LW-0623]")]
    Read {
        claim: String,
        class: String,
        #[source]
        source: ClusterError,
    },
}

/// The classes, each read once.
#[derive(Default)]
pub(crate) struct Classes(Mutex<HashMap<String, Arc<OnceCell<Option<Value>>>>>);

impl Classes {
    /// The class of `claim`'s promoted claim; `None` for the cluster's default.
    pub(crate) async fn of(&self, cluster: &Cluster, claim: &Value) -> Result<Option<String>, ClassError> {
        let named = claim["spec"]["storageClassName"].as_str().or_else(|| view::annotation(claim, BETA));
        let class = named.unwrap_or_default();
        let read = |source| ClassError::Read { claim: title(claim), class: class.to_owned(), source };
        let twins = &cluster.settings().await.map_err(read)?.twin_classes;
        let found = if class.is_empty() { None } else { self.get(cluster, class).await.map_err(read)? };
        let Some(twin) = twins.get(class) else {
            return match (named, found) {
                (None, _) => Ok(None),
                (Some(_), Some(found)) if waits(&found) => {
                    Err(ClassError::Waits { claim: title(claim), class: class.to_owned() })
                }
                (Some(class), Some(_)) => Ok(Some(class.to_owned())),
                (Some(class), None) => {
                    let what = if class.is_empty() { "it has no storage class" } else { "its class does not exist" };
                    Err(ClassError::None { claim: title(claim), class: class.to_owned(), what })
                }
            };
        };
        if found.as_ref().is_some_and(|class| !waits(class)) {
            // The twin is for claims that need it.
            return Ok(Some(class.to_owned()));
        }
        let wrong =
            |why: String| ClassError::Twin { claim: title(claim), class: class.to_owned(), twin: twin.clone(), why };
        match self.get(cluster, twin).await.map_err(read)? {
            None => Err(wrong("there is no class of that name".to_owned())),
            Some(twin) if waits(&twin) => Err(wrong("it waits for a first consumer, too".to_owned())),
            Some(twin) => match found.map(|class| (class["provisioner"].clone(), twin["provisioner"].clone())) {
                Some((own, other)) if own != other => {
                    Err(wrong(format!("it is of another provisioner ({other}, not {own})")))
                }
                _ => Ok(Some(view::name(&twin).to_owned())),
            },
        }
    }

    async fn get(&self, cluster: &Cluster, name: &str) -> Result<Option<Value>, ClusterError> {
        let cell = Arc::clone(self.0.lock().await.entry(name.to_owned()).or_default());
        cell.get_or_try_init(|| cluster.get(&STORAGE_CLASSES, None, name)).await.cloned()
    }
}

fn waits(class: &Value) -> bool {
    class["volumeBindingMode"] == "WaitForFirstConsumer"
}
