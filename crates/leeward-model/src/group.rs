//! A protection group as its owner describes it.

use crate::name::{Namespace, SiteName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// When a started VM counts as up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Confirm {
    /// KubeVirt reports it Ready.
    #[default]
    Ready,
    /// Ready, and its guest agent has connected.
    GuestAgent,
}

/// Wave of a VM for which none is given: the middle of 1 to 5, as in SRM's priority groups.
pub const DEFAULT_PRIORITY: u8 = 3;

/// The VMs that fail over together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// The namespaces whose VMs belong to the group.
    #[schemars(length(min = 1))]
    pub namespaces: Vec<Namespace>,
    /// Only VMs that carry all these labels; empty takes all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// The site that is active before the first cycle, and where `failback` goes.
    pub home: SiteName,
    /// Start order by VM name: 1 starts first, 5 last; 3 if not given. A wave starts when the one before it is up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub priorities: BTreeMap<String, u8>,
    /// When a started VM counts as up.
    #[serde(default)]
    pub confirm: Confirm,
}

impl GroupSpec {
    /// The wave of a VM.
    #[must_use]
    pub fn priority(&self, vm: &str) -> u8 {
        self.priorities.get(vm).copied().unwrap_or(DEFAULT_PRIORITY)
    }
}
