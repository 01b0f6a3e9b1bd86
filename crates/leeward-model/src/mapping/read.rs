//! Reads a site mapping from its text, collecting all faults.

use super::pairs::Pairs;
use super::reader::{Reader, named};
use super::{
    API_VERSION, Documents, Fault, KIND, Mapping, MappingError, MappingErrors, ReclaimPolicy, check, policy, rule,
};
use crate::located::{self, Content, Field, Node};
use crate::name::SiteName;
use crate::profile::{self, Profile};
use std::sync::Arc;

pub(super) const DOCUMENT: [&str; 11] = [
    "apiVersion",
    "kind",
    "sites",
    "rules",
    "storageClasses",
    "networks",
    "secrets",
    "reclaimPolicy",
    "nodeAffinity",
    "skip",
    "profiles",
];

/// What reading a rule needs to know.
pub(super) struct Context<'a> {
    pub(super) sites: &'a [SiteName],
    pub(super) profiles: &'a [Arc<Profile>],
    pub(super) documents: &'a Documents,
}

pub(super) fn mapping(text: &str, documents: &Documents) -> Result<Mapping, MappingErrors> {
    let document = located::read(text).map_err(|(position, message)| {
        MappingErrors(vec![MappingError { position, field: String::new(), fault: Fault::Syntax(message) }])
    })?;
    let mut reader = Reader::default();
    let read = reader.document(&Node::root(&document), documents);
    let mut errors = reader.errors;
    match read {
        Some(mapping) if errors.is_empty() => Ok(mapping),
        _ => {
            errors.sort_by_key(|e| e.position);
            Err(MappingErrors(errors))
        }
    }
}

/// The names of the documents that tables are `from`, as far as the text can be read.
pub(super) fn documents(text: &str) -> Vec<String> {
    let Ok(document) = located::read(text) else { return Vec::new() };
    let root = Node::root(&document);
    let mut found = Vec::new();
    collect(&root, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(root: &Node<'_>, found: &mut Vec<String>) {
    let fields = root.fields().unwrap_or_default();
    let rules = named(&fields, "rules").and_then(|rules| rules.value.items()).unwrap_or_default();
    for rule in rules {
        let fields = rule.fields().unwrap_or_default();
        let Some(table) = named(&fields, "table") else { continue };
        for table in table.value.items().unwrap_or_else(|| vec![table.value.clone()]) {
            let fields = table.fields().unwrap_or_default();
            let Some(from) = named(&fields, "from") else { continue };
            for name in from.value.items().unwrap_or_else(|| vec![from.value.clone()]) {
                if let Content::Text(name) = name.content {
                    found.push(name.clone());
                }
            }
        }
    }
}

impl Reader {
    /// `None` only after a fault was noted.
    fn document(&mut self, root: &Node<'_>, documents: &Documents) -> Option<Mapping> {
        let fields = self.object(root, &DOCUMENT)?;
        self.constant(root, &fields, "apiVersion", API_VERSION);
        self.constant(root, &fields, "kind", KIND);
        let mut profiles: Vec<Arc<Profile>> = Vec::new();
        for item in self.list(&fields, "profiles", "a list of driver profiles") {
            let Some(profile) = profile::read_profile(self, &item) else { continue };
            if profiles.iter().any(|p| p.name == profile.name) {
                self.value(&item, &profile.name, "an earlier profile has this name");
            }
            profiles.push(Arc::new(profile));
        }
        let sites = self.sites(named(&fields, "sites"), root)?;
        let context = Context { sites: &sites, profiles: &profiles, documents };
        let rules = self.rules(named(&fields, "rules"), root, &context);
        let class = (
            "storageClasses",
            "a list of pairs of class names",
            "the class's name at that site",
            "a storage class's name is not empty",
        );
        let storage_classes =
            self.pairs(&fields, class, &sites, "an earlier pair has this class, so there would be two ways for it");
        let network = (
            "networks",
            "a list of pairs of NetworkAttachmentDefinitions",
            "`namespace/name` of the NetworkAttachmentDefinition at that site",
            "a network is `namespace/name`",
        );
        let networks =
            self.pairs(&fields, network, &sites, "an earlier pair has this network, so there would be two ways for it");
        self.in_namespaces(&fields, network, &sites);
        let secret = (
            "secrets",
            "a list of pairs of secrets",
            "`namespace/name` of the secret at that site",
            "a secret is `namespace/name`",
        );
        let secrets =
            self.pairs(&fields, secret, &sites, "an earlier pair has this secret, so there would be two ways for it");
        self.in_namespaces(&fields, secret, &sites);
        let reclaim_policy = match named(&fields, "reclaimPolicy") {
            Some(field) => self.reclaim_policy(&field.value),
            None => ReclaimPolicy::default(),
        };
        let node_affinity =
            named(&fields, "nodeAffinity").map(|field| policy::node_affinity(self, &field.value, &sites));
        let mut skip = Vec::new();
        for item in self.list(&fields, "skip", "a list of drivers and kinds of volumes") {
            skip.extend(policy::skip(self, &item));
        }
        check::rules(&sites, &rules, &mut self.errors);
        Some(Mapping {
            rules: rules.into_iter().map(|r| r.rule).collect(),
            sites,
            storage_classes,
            networks,
            secrets,
            reclaim_policy,
            node_affinity: node_affinity.unwrap_or_default(),
            skip,
            profiles,
        })
    }

    fn sites(&mut self, field: Option<&Field<'_>>, root: &Node<'_>) -> Option<Vec<SiteName>> {
        const WHAT: &str = "a list of the sites' names, two or more";
        let Some(field) = field else {
            self.missing(root, "sites", WHAT);
            return None;
        };
        let Some(items) = field.value.items() else {
            self.wrong_type(&field.value, WHAT);
            return None;
        };
        let mut names = Vec::new();
        for item in &items {
            let text = self.text(item)?;
            match SiteName::parse(text) {
                Ok(name) if rule::FIELDS.contains(&name.as_str()) || policy::FIELDS.contains(&name.as_str()) => {
                    self.value(item, text, "a rule's own field has this name; call the site something else");
                }
                Ok(name) if names.contains(&name) => self.value(item, text, "the sites must have different names"),
                Ok(name) => names.push(name),
                Err(_) => self.value(item, text, "a site's name has lower-case letters, digits and '-', at most 32"),
            }
        }
        if items.len() < 2 {
            self.value(&field.value, &format!("{} sites", items.len()), "a site mapping is between two sites or more");
        }
        (names.len() == items.len() && names.len() >= 2).then_some(names)
    }

    fn rules(&mut self, field: Option<&Field<'_>>, root: &Node<'_>, context: &Context<'_>) -> Vec<rule::ReadRule> {
        const WHAT: &str = "a list of rules, at least one";
        let Some(field) = field else {
            self.missing(root, "rules", WHAT);
            return Vec::new();
        };
        let Some(items) = field.value.items() else {
            self.wrong_type(&field.value, WHAT);
            return Vec::new();
        };
        if items.is_empty() {
            self.value(&field.value, "[]", "without a rule no volume can be recovered; add at least one");
        }
        let mut rules: Vec<rule::ReadRule> = Vec::new();
        for item in &items {
            let Some(rule) = rule::rule(self, item, context) else { continue };
            if let Some(first) = rules.iter().find(|r| r.rule.name == rule.rule.name) {
                let reason = format!("the rule at {} has this name already", first.at);
                self.value(item, &rule.rule.name, &reason);
            }
            rules.push(rule);
        }
        rules
    }

    fn reclaim_policy(&mut self, node: &Node<'_>) -> ReclaimPolicy {
        match self.text(node) {
            Some("Retain") | None => ReclaimPolicy::Retain,
            Some("Delete") => ReclaimPolicy::Delete,
            Some("Original") => ReclaimPolicy::Original,
            Some(text) => {
                self.value(node, text, "must be Retain, Delete or Original");
                ReclaimPolicy::Retain
            }
        }
    }

    /// Notes a field that is no site's name.
    pub(super) fn unknown_site(&mut self, field: &Field<'_>, sites: &[SiteName]) {
        let fault = Fault::UnknownSite { site: field.key.to_owned(), sites: super::listed(sites) };
        self.note(field.key_position, &field.value.path, fault);
    }

    fn pairs(
        &mut self,
        fields: &[Field<'_>],
        (key, what, side, empty): (&str, &str, &str, &str),
        sites: &[SiteName],
        twice: &str,
    ) -> Pairs {
        let mut pairs = Pairs::default();
        for item in self.list(fields, key, what) {
            let Some(fields) = item.fields() else {
                self.wrong_type(&item, "an object with one name for each site");
                continue;
            };
            for field in fields.iter().filter(|f| !sites.iter().any(|s| s.as_str() == f.key)) {
                self.unknown_site(field, sites);
            }
            let mut row: Vec<Option<String>> = vec![None; sites.len()];
            for (at, site) in sites.iter().enumerate() {
                // With two sites both are needed; with more a row may be about some of them.
                if sites.len() > 2 && named(&fields, site.as_str()).is_none() {
                    continue;
                }
                let Some((node, name)) = self.required(&item, &fields, site.as_str(), side) else { continue };
                if name.is_empty() {
                    self.value(&node, name, empty);
                } else if pairs.0.iter().any(|row| row[at].as_deref() == Some(name)) {
                    self.value(&node, name, twice);
                }
                row[at] = Some(name.to_owned());
            }
            if row.iter().flatten().count() == 1 && sites.len() > 2 {
                self.missing(&item, sites[0].as_str(), "a row has names for two sites at least");
            }
            pairs.0.push(row);
        }
        pairs
    }

    /// Notes every name of the pairs `key` that is not `namespace/name`.
    fn in_namespaces(&mut self, fields: &[Field<'_>], (key, _, _, form): (&str, &str, &str, &str), sites: &[SiteName]) {
        let good = |part: &str| !part.is_empty() && !part.contains(['/', ' ', ',', '@']);
        for (node, text) in self.pair_texts(fields, key, sites) {
            if !text.split_once('/').is_some_and(|(namespace, name)| good(namespace) && good(name)) {
                self.value(&node, &text, form);
            }
        }
    }

    fn pair_texts<'a>(&mut self, fields: &[Field<'a>], key: &str, sites: &[SiteName]) -> Vec<(Node<'a>, String)> {
        let items = named(fields, key).and_then(|field| field.value.items()).unwrap_or_default();
        let all = items.into_iter().flat_map(|item| item.fields().unwrap_or_default());
        let of_sites = all.filter(|field| sites.iter().any(|site| site.as_str() == field.key));
        of_sites
            .filter_map(|field| match field.value.content {
                Content::Text(text) if !text.is_empty() => Some((field.value.clone(), text.clone())),
                _ => None,
            })
            .collect()
    }
}
