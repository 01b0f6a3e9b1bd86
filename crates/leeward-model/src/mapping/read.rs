//! Reads a site mapping from its text, collecting all faults.

use super::{API_VERSION, Fault, KIND, Mapping, MappingError, MappingErrors, Rule, Side, check};
use crate::directory::Directory;
use crate::located::{self, Content, Field, Node, Position};
use crate::name::SiteName;
use crate::server::Server;

pub(super) const DOCUMENT: [&str; 5] = ["apiVersion", "kind", "sites", "rules", "storageClasses"];
pub(super) const NAME: &str = "name";
pub(super) const SIDE: [&str; 1] = ["nfs"];
pub(super) const NFS: [&str; 2] = ["server", "path"];

/// A rule with the places of its sides in the text, for the checks between rules.
pub(super) struct ReadRule {
    pub(super) rule: Rule,
    pub(super) sides: [(Position, String); 2],
}

pub(super) fn mapping(text: &str) -> Result<Mapping, MappingErrors> {
    let document = located::read(text).map_err(|(position, message)| {
        MappingErrors(vec![MappingError { position, field: String::new(), fault: Fault::Syntax(message) }])
    })?;
    let mut reader = Reader { errors: Vec::new() };
    let read = reader.document(&Node::root(&document));
    let mut errors = reader.errors;
    match read {
        Some(mapping) if errors.is_empty() => Ok(mapping),
        _ => {
            errors.sort_by_key(|e| e.position);
            Err(MappingErrors(errors))
        }
    }
}

struct Reader {
    errors: Vec<MappingError>,
}

impl Reader {
    /// `None` only after a fault was noted.
    fn document(&mut self, root: &Node<'_>) -> Option<Mapping> {
        let fields = self.object(root, &DOCUMENT)?;
        self.constant(root, &fields, "apiVersion", API_VERSION);
        self.constant(root, &fields, "kind", KIND);
        let sites = self.sites(named(&fields, "sites"), root)?;
        let rules = self.rules(named(&fields, "rules"), root, &sites);
        let storage_classes = match named(&fields, "storageClasses") {
            Some(node) => self.classes(&node.value, &sites),
            None => Vec::new(),
        };
        check::rules(&sites, &rules, &mut self.errors);
        Some(Mapping { sites, rules: rules.into_iter().map(|r| r.rule).collect(), storage_classes })
    }

    fn sites(&mut self, field: Option<&Field<'_>>, root: &Node<'_>) -> Option<[SiteName; 2]> {
        const WHAT: &str = "a list of the two sites' names";
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
                Ok(name) if name.as_str() == NAME => {
                    self.value(item, text, "a rule's own field has this name; call the site something else");
                }
                Ok(name) if names.contains(&name) => self.value(item, text, "the two sites must have different names"),
                Ok(name) => names.push(name),
                Err(_) => self.value(item, text, "a site's name has lower-case letters, digits and '-', at most 32"),
            }
        }
        if items.len() != 2 {
            self.value(&field.value, &format!("{} sites", items.len()), "a site mapping is between exactly two sites");
        }
        <[SiteName; 2]>::try_from(names).ok()
    }

    fn rules(&mut self, field: Option<&Field<'_>>, root: &Node<'_>, sites: &[SiteName; 2]) -> Vec<ReadRule> {
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
        let mut rules: Vec<ReadRule> = Vec::new();
        for item in &items {
            let Some(rule) = self.rule(item, sites) else { continue };
            if let Some(first) = rules.iter().find(|r| r.rule.name == rule.rule.name) {
                let reason = format!("the rule at {} has this name already", first.sides[0].0);
                self.value(item, &rule.rule.name, &reason);
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, item: &Node<'_>, sites: &[SiteName; 2]) -> Option<ReadRule> {
        let Some(fields) = item.fields() else {
            self.wrong_type(item, "an object with `name` and one field for each site");
            return None;
        };
        for field in &fields {
            if field.key != NAME && !sites.iter().any(|s| s.as_str() == field.key) {
                let sites = format!("{:?} and {:?}", sites[0].as_str(), sites[1].as_str());
                self.note(
                    field.key_position,
                    &field.value.path,
                    Fault::UnknownSite { site: field.key.to_owned(), sites },
                );
            }
        }
        let name = match named(&fields, NAME) {
            Some(field) => self.text(&field.value).map(str::to_owned),
            None => {
                self.missing(item, NAME, "give the rule a name of your choice; reports and errors use it");
                None
            }
        };
        let mut side = |site: &SiteName| match named(&fields, site.as_str()) {
            Some(field) => {
                let side = self.side(&field.value)?;
                Some((side, (field.key_position, field.value.path.clone())))
            }
            None => {
                self.missing(item, site.as_str(), "a rule has a side for each site, or it would have no way back");
                None
            }
        };
        let (first, second) = (side(&sites[0]), side(&sites[1]));
        let ((first, first_at), (second, second_at)) = (first?, second?);
        Some(ReadRule { rule: Rule { name: name?, sides: [first, second] }, sides: [first_at, second_at] })
    }

    fn side(&mut self, node: &Node<'_>) -> Option<Side> {
        let fields = self.object(node, &SIDE)?;
        let Some(nfs) = named(&fields, "nfs") else {
            self.missing(node, "nfs", "an object with `server` and `path`");
            return None;
        };
        let fields = self.object(&nfs.value, &NFS)?;
        let server =
            self.required(&nfs.value, &fields, "server", "the file server's address").and_then(|(node, text)| {
                let parsed = Server::parse(text);
                if parsed.is_err() {
                    self.value(&node, text, "that is neither an IP address nor a host name");
                }
                parsed.ok()
            });
        let path = self.required(&nfs.value, &fields, "path", "the exported directory").and_then(|(node, text)| {
            let parsed = Directory::parse(text);
            if let Err(why) = &parsed {
                self.value(&node, text, &why.to_string());
            }
            parsed.ok()
        });
        Some(Side { server: server?, path: path? })
    }

    fn classes(&mut self, node: &Node<'_>, sites: &[SiteName; 2]) -> Vec<[String; 2]> {
        if matches!(node.content, Content::Null) {
            return Vec::new();
        }
        let Some(items) = node.items() else {
            self.wrong_type(node, "a list of pairs of class names");
            return Vec::new();
        };
        let mut pairs: Vec<[String; 2]> = Vec::new();
        for item in &items {
            let Some(fields) = item.fields() else {
                self.wrong_type(item, "an object with one class name for each site");
                continue;
            };
            for field in fields.iter().filter(|f| !sites.iter().any(|s| s.as_str() == f.key)) {
                let sites = format!("{:?} and {:?}", sites[0].as_str(), sites[1].as_str());
                self.note(
                    field.key_position,
                    &field.value.path,
                    Fault::UnknownSite { site: field.key.to_owned(), sites },
                );
            }
            let [first, second] = sites
                .each_ref()
                .map(|site| self.required(item, &fields, site.as_str(), "the class's name at that site"));
            let (Some(first), Some(second)) = (first, second) else { continue };
            for (at, (node, class)) in [&first, &second].into_iter().enumerate() {
                if class.is_empty() {
                    self.value(node, class, "a storage class's name is not empty");
                } else if pairs.iter().any(|pair| pair[at] == *class) {
                    self.value(node, class, "an earlier pair has this class, so there would be two ways for it");
                }
            }
            pairs.push([first.1.to_owned(), second.1.to_owned()]);
        }
        pairs
    }

    /// The fields of an object; notes those that are not in `known`.
    fn object<'a>(&mut self, node: &Node<'a>, known: &[&str]) -> Option<Vec<Field<'a>>> {
        let Some(fields) = node.fields() else {
            self.wrong_type(node, &format!("an object with the fields {}", known.join(", ")));
            return None;
        };
        for field in fields.iter().filter(|f| !known.contains(&f.key)) {
            let fault = Fault::UnknownField { known: known.join(", ") };
            self.note(field.key_position, &field.value.path, fault);
        }
        Some(fields)
    }

    fn required<'a>(
        &mut self,
        node: &Node<'a>,
        fields: &[Field<'a>],
        key: &str,
        what: &str,
    ) -> Option<(Node<'a>, &'a str)> {
        let Some(field) = named(fields, key) else {
            self.missing(node, key, what);
            return None;
        };
        let value = field.value.clone();
        self.text(&value).map(|text| (value, text))
    }

    fn constant(&mut self, root: &Node<'_>, fields: &[Field<'_>], key: &str, expected: &str) {
        if let Some((node, text)) = self.required(root, fields, key, &format!("must be {expected}"))
            && text != expected
        {
            self.value(&node, text, &format!("must be {expected}"));
        }
    }

    fn text<'a>(&mut self, node: &Node<'a>) -> Option<&'a str> {
        match node.content {
            Content::Text(text) => Some(text),
            Content::Other(kind, spelling) => {
                let fault =
                    Fault::Type { found: format!("{kind} ({spelling})"), expected: "text; put it in quotes".into() };
                self.note(node.position, &node.path, fault);
                None
            }
            _ => {
                self.wrong_type(node, "text");
                None
            }
        }
    }

    fn missing(&mut self, object: &Node<'_>, key: &str, what: &str) {
        self.note(object.position, &object.path_of(key), Fault::Missing { what: what.to_owned() });
    }

    fn wrong_type(&mut self, node: &Node<'_>, expected: &str) {
        let fault = Fault::Type { found: node.content.kind().to_owned(), expected: expected.to_owned() };
        self.note(node.position, &node.path, fault);
    }

    fn value(&mut self, node: &Node<'_>, value: &str, reason: &str) {
        let fault = Fault::Value { value: value.to_owned(), reason: reason.to_owned() };
        self.note(node.position, &node.path, fault);
    }

    fn note(&mut self, position: Position, field: &str, fault: Fault) {
        self.errors.push(MappingError { position, field: field.to_owned(), fault });
    }
}

fn named<'a, 'b>(fields: &'b [Field<'a>], key: &str) -> Option<&'b Field<'a>> {
    fields.iter().find(|f| f.key == key)
}
