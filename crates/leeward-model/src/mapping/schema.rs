//! The document's form, for its JSON Schema and for programs that write one.

use super::{API_VERSION, KIND};
use crate::name::SiteName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What one site's storage, classes and networks are at the other site. Works in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteMapping {
    /// `leeward.io/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `SiteMapping`.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// The names of the two sites.
    #[schemars(extend("uniqueItems" = true, "minItems" = 2, "maxItems" = 2))]
    pub sites: Vec<SiteName>,
    /// Which directory of one site is which directory of the other. Where several cover a volume they must agree.
    #[schemars(length(min = 1))]
    pub rules: Vec<RuleSpec>,
    /// Pairs of storage class names, by site. A class without a pair has the same name at both sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage_classes: Vec<ClassPair>,
}

/// A storage class's name at each site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 2, "maxProperties" = 2))]
pub struct ClassPair(pub BTreeMap<SiteName, String>);

/// One rule: a directory at one site and its copy at the other, under the sites' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("minProperties" = 3, "maxProperties" = 3), transform = sides_beside_name)]
pub struct RuleSpec {
    /// The rule's name, unique in the mapping; reports and errors use it.
    pub name: String,
    /// The side of each site, under the site's name.
    #[serde(flatten)]
    pub sides: BTreeMap<SiteName, SideSpec>,
}

/// A rule's side at one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideSpec {
    /// A directory of an NFS server.
    pub nfs: NfsSpec,
}

/// A directory of an NFS server, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NfsSpec {
    /// The file server as the volumes name it: an IP address or a host name. It is compared, never resolved.
    pub server: String,
    /// The exported directory, absolute, without `..`. It covers whole folders: `/export` does not cover `/exports`.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
}

impl SiteMapping {
    /// A document without rules.
    #[must_use]
    pub fn new(sites: [SiteName; 2]) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            sites: sites.into(),
            rules: Vec::new(),
            storage_classes: Vec::new(),
        }
    }
}

/// schemars says "whatever looks like a site's name is a side", and so does `name`.
fn sides_beside_name(rule: &mut schemars::Schema) {
    if let Some(Value::Object(patterns)) = rule.remove("patternProperties")
        && let Some((_, side)) = patterns.into_iter().next()
    {
        rule.insert("additionalProperties".to_owned(), side);
    }
}

/// The JSON Schema (2020-12) of the document.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(SiteMapping).to_value()
}
