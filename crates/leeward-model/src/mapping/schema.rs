//! The document's form, for its JSON Schema and for programs that write one.

use super::{API_VERSION, KIND, ReclaimPolicy};
use crate::name::SiteName;
use crate::profile::Parts;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What one site's storage, classes and networks are at the others. Works in every direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteMapping {
    /// `leeward.io/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `SiteMapping`.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// The names of the sites, two or more: lower-case letters, digits, `-`; at most 32 characters; not the name of a
    /// rule's field.
    #[schemars(extend("uniqueItems" = true, "minItems" = 2))]
    pub sites: Vec<SiteName>,
    /// Which storage of one site is which storage of the others. Where several rules cover a volume they must agree.
    #[schemars(length(min = 1))]
    pub rules: Vec<RuleSpec>,
    /// What storage classes are called at each site. A class that is not here has the same name at all sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage_classes: Vec<ClassPair>,
    /// What NetworkAttachmentDefinitions are called at each site, `namespace/name`. A network that is not here has the same
    /// name at all sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<ClassPair>,
    /// What the secrets that volumes name are called at each site, `namespace/name`. A secret that is not here has the same
    /// name at all sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ClassPair>,
    /// The reclaim policy of restored volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = ReclaimPolicy::default()))]
    pub reclaim_policy: Option<ReclaimPolicy>,
    /// Node affinity and topology labels that no profile maps: for all the same, or a list by key. Left out, an expression
    /// or label with values that no profile maps is an error (LW-0138).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NodeAffinitySpec>")]
    pub node_affinity: Option<Value>,
    /// Volumes that cannot be at another site and stay out. Those that are not named here are an error (LW-0136).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<SkipSpec>,
    /// Driver profiles besides those that Leeward brings. One of the same name replaces Leeward's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<ProfileSpec>")]
    pub profiles: Vec<Value>,
}

/// The name at each site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 2))]
pub struct ClassPair(pub BTreeMap<SiteName, String>);

/// Node affinity and topology labels.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NodeAffinitySpec {
    /// For all keys.
    All(UnmappedSpec),
    /// By key.
    Keys(Vec<NodeAffinityKeySpec>),
}

/// One key of expressions and labels: a value of it at each site, or what becomes of all of its values.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = SitesBesideFields("The value there."))]
#[expect(dead_code, reason = "only its schema is used")]
struct NodeAffinityKeySpec {
    /// The key; `*` for all others. A key with several values has several entries.
    key: String,
    /// What becomes of values that no entry of the key has.
    policy: Option<UnmappedSpec>,
    /// The value at each site.
    #[serde(flatten)]
    values: BTreeMap<SiteName, String>,
}

/// What becomes of expressions and labels that nothing maps.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum UnmappedSpec {
    /// They are left out.
    Drop,
    /// They stay as they are.
    Keep,
}

/// One kind of volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct SkipSpec {
    /// A CSI driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// A kind of Kubernetes' own, e.g. `hostPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_tree: Option<String>,
}

/// One rule: storage at one site and its copy at others, under the sites' names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 3), transform = SitesBesideFields("The rule's side there; a rule has two or more."))]
pub struct RuleSpec {
    /// The rule's name, unique in the mapping; reports and errors use it.
    pub name: String,
    /// Parts that are the same at all of the rule's sites. A volume whose every part is kept is covered and keeps its
    /// address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// Pairs of parts that change places: the local and the remote half of a metro volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swap: Vec<[String; 2]>,
    /// Tables of parts that each volume has its own of; one or a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<TableSpec>")]
    pub table: Vec<TableSpec>,
    /// The rule's addresses occur at several sites and are other storage at each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub address_reused: bool,
    /// A raw rule that has edits for one direction only. A volume that it moved cannot go back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
    /// The side of each site, under the site's name.
    #[serde(flatten)]
    pub sides: BTreeMap<SiteName, SideSpec>,
}

/// One, or a list.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

/// A rule's side at one site: `nfs`, or `driver` or `inTree` with `parts`, or `raw`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SideSpec {
    /// A directory of an NFS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NfsSpec>,
    /// Volumes of this CSI driver, which a driver profile reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Volumes of this kind of Kubernetes' own, e.g. `iscsi`, which a driver profile reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_tree: Option<String>,
    /// The profile, where several read the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The parts that all of the rule's volumes share.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub parts: Parts,
    /// Edits of a volume that leaves this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Vec<EditSpec>>,
}

/// A directory of an NFS server, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "NFS directory")]
pub struct NfsSpec {
    /// The file server as the volumes name it: an IP address or a host name. It is compared, never resolved.
    pub server: String,
    /// The exported directory, absolute, without `..`. It covers whole folders: `/export` does not cover `/exports`.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
}

/// Which id at one site is which at the other, volume by volume: `rows`, `csv` or `from`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// The parts that a row says.
    pub parts: Vec<String>,
    /// The rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowSpec>,
    /// The rows as CSV; the header names the sites (`east,west`), or sites and parts (`east.array,east.volume,…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<String>,
    /// The name of a document with the rows: CSV, or a YAML list. Or a list of names: their rows make one table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub from: Vec<String>,
}

/// One volume, under the sites' names: the part, or an object of the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 2))]
pub struct RowSpec(pub BTreeMap<SiteName, RowSide>);

/// The parts of one volume at one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RowSide {
    /// Of a table with one part.
    One(String),
    /// Of a table with several parts.
    Several(BTreeMap<String, String>),
}

/// One edit of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditSpec {
    /// JSON pointer of the field, e.g. `/spec/csi/volumeHandle`.
    #[schemars(regex(pattern = "^/(spec|metadata/annotations|metadata/labels)/"))]
    pub at: String,
    /// Regular expression in Go's syntax.
    pub find: String,
    /// What stands there instead; `$1` and `${name}` as in Go.
    pub replace: String,
    /// Whether a volume is covered on which this edit does not apply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A driver profile: what the parts of a volume's address are, and every place that says them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileSpec {
    /// The profile's name; a rule's side says it where several profiles read one driver.
    pub name: String,
    /// The CSI driver's name, or several.
    #[serde(default)]
    #[schemars(with = "Option<OneOrMany<String>>")]
    pub driver: Vec<String>,
    /// The end of the CSI drivers' names, e.g. `.rbd.csi.ceph.com`.
    #[serde(default)]
    pub driver_suffix: Option<String>,
    /// A kind of Kubernetes' own, e.g. `iscsi`.
    #[serde(default)]
    pub in_tree: Option<String>,
    /// For volumes only that have one of these texts at that place.
    #[serde(default)]
    pub when: Option<WhenSpec>,
    /// Where the shape was read: source file or documentation, with its version.
    pub read: Vec<String>,
    /// The parts, by name.
    pub parts: BTreeMap<String, Option<PartSpec>>,
    /// Every place that says a part.
    pub places: Vec<PlaceSpec>,
    /// Whether secret references go through the mapping's `secrets`.
    #[serde(default)]
    #[schemars(extend("default" = true))]
    pub secrets: Option<bool>,
    /// Keys of node affinity and labels that hold parts.
    #[serde(default)]
    pub affinity: Vec<AffinitySpec>,
    /// What must be at the other site besides the PersistentVolume, for people. Changes nothing.
    #[serde(default)]
    #[schemars(with = "Option<OneOrMany<String>>")]
    pub notes: Vec<String>,
}

/// A condition on a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhenSpec {
    /// JSON pointer of the field.
    pub at: String,
    /// The texts, of which the field has one.
    #[schemars(with = "Option<OneOrMany<String>>")]
    pub is: Vec<String>,
    /// Whether volumes without the field are meant too.
    #[serde(default)]
    pub absent: bool,
}

/// One part of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartSpec {
    /// How it is compared and mapped: byte for byte, without regard to ASCII case, as a server's name or address, by prefix
    /// on whole folders, or as the same at all sites unless a rule says otherwise.
    #[serde(default)]
    #[schemars(extend("enum" = ["equal", "caseless", "host", "path", "keep"], "default" = "equal"))]
    pub maps: Option<String>,
    /// Whether each volume has its own; a proposed rule then has it in a table.
    #[serde(default)]
    pub per_volume: bool,
}

/// One place of a PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceSpec {
    /// JSON pointer; `*` is every element.
    pub at: String,
    /// How the parts stand in the text: `{pool}/{image}`.
    #[serde(default)]
    pub form: Option<String>,
    /// Several forms, tried in order.
    #[serde(default)]
    pub forms: Vec<String>,
    /// Whether the driver mounts from here.
    #[serde(default)]
    pub mounts: bool,
    /// Whether it may be absent.
    #[serde(default)]
    pub optional: bool,
    /// Whether its last step may be spelled in any case.
    #[serde(default)]
    pub any_case: bool,
    /// Whether a text of another form is simply not this place.
    #[serde(default)]
    pub if_matches: bool,
}

/// A key of node affinity and labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AffinitySpec {
    /// The form of the key.
    pub key: String,
    /// The form of its values.
    #[serde(default)]
    pub value: Option<String>,
}

impl SiteMapping {
    /// A document without rules.
    #[must_use]
    pub fn new(sites: impl Into<Vec<SiteName>>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            sites: sites.into(),
            rules: Vec::new(),
            storage_classes: Vec::new(),
            networks: Vec::new(),
            secrets: Vec::new(),
            reclaim_policy: None,
            node_affinity: None,
            skip: Vec::new(),
            profiles: Vec::new(),
        }
    }
}

/// schemars says "whatever looks like a site's name is a side", and so do the type's own fields. Nor does it say what the
/// sides are, for they are a map without a name; this says it.
struct SitesBesideFields(&'static str);

impl schemars::transform::Transform for SitesBesideFields {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        if let Some(Value::Object(patterns)) = schema.remove("patternProperties")
            && let Some((_, Value::Object(mut side))) = patterns.into_iter().next()
        {
            side.insert("description".to_owned(), self.0.into());
            schema.insert("additionalProperties".to_owned(), side.into());
        }
    }
}

/// The JSON Schema (2020-12) of the document.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(SiteMapping).to_value()
}

impl SiteMapping {
    /// The document as YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        // JSON is YAML; a document of plain types cannot fail to be written.
        serde_saphyr::to_string(self).or_else(|_| serde_json::to_string_pretty(self)).unwrap_or_default()
    }
}
