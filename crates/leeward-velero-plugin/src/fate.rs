//! What became of each volume of this restore, so that its claim follows. Velero restores a volume before its claim, and
//! starts one process of this plug-in for a restore; if that had to be started again, the claim looks at the cluster.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Velero makes it. In test mode: it would.
    Made,
    /// It is here already and right, or no matter of this plug-in.
    Here,
    /// The site mapping skips what it is on.
    LeftOut(String),
    /// An error, which Velero's log has.
    Refused,
}

/// By PersistentVolume.
#[derive(Debug, Default)]
pub(crate) struct Fates(Mutex<HashMap<String, Fate>>);

impl Fates {
    pub(crate) fn set(&self, pv: &str, fate: Fate) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pv.to_owned(), fate);
    }

    pub(crate) fn of(&self, pv: &str) -> Option<Fate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pv).cloned()
    }
}
