//! Reads one rule.

use super::parts::{PartsRule, PartsSide};
use super::raw::{self, RawRule};
use super::read::Context;
use super::reader::{Reader, named};
use super::{Fault, Rule, RuleKind, Side, tables};
use crate::directory::Directory;
use crate::located::{Field, Node, Position};
use crate::profile::{self, Kind, PartValue, Parts, Profile};
use crate::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A rule's own fields; no site may be called so.
pub(super) const FIELDS: [&str; 6] = ["name", "keep", "swap", "table", "addressReused", "oneWay"];
pub(super) const SIDE: [&str; 6] = ["nfs", "driver", "inTree", "profile", "parts", "raw"];
pub(super) const NFS: [&str; 2] = ["server", "path"];

/// A rule with its place in the text, for the checks between rules.
pub(super) struct ReadRule {
    pub(super) rule: Rule,
    pub(super) at: Position,
    /// By site: where its side stands.
    pub(super) sides: Vec<Option<(Position, String)>>,
}

/// One side, of any kind.
enum AnySide<'a> {
    Nfs(Side),
    Parts { side: PartsSide, node: Node<'a> },
    Raw(Vec<raw::Edit>),
}

impl AnySide<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Nfs(_) => "nfs",
            Self::Parts { .. } => "parts",
            Self::Raw(_) => "raw",
        }
    }
}

/// `None` only after a fault was noted.
pub(super) fn rule(reader: &mut Reader, item: &Node<'_>, context: &Context<'_>) -> Option<ReadRule> {
    let Some(fields) = item.fields() else {
        reader.wrong_type(item, "an object with `name` and one field for each site");
        return None;
    };
    for field in &fields {
        if !FIELDS.contains(&field.key) && !context.sites.iter().any(|s| s.as_str() == field.key) {
            reader.unknown_site(field, context.sites);
        }
    }
    let name = match named(&fields, "name") {
        Some(field) => reader.text(&field.value).map(str::to_owned),
        None => {
            reader.missing(item, "name", "give the rule a name of your choice; reports and errors use it");
            None
        }
    };
    let mut whole = true;
    let mut sides: Vec<Option<(AnySide<'_>, Position, String)>> = Vec::new();
    for site in context.sites {
        let Some(field) = named(&fields, site.as_str()) else {
            if context.sites.len() == 2 {
                reader.missing(item, site.as_str(), "a rule has a side for each site, or it would have no way back");
                whole = false;
            }
            sides.push(None);
            continue;
        };
        let read = side(reader, &field.value, context);
        whole &= read.is_some();
        sides.push(read.map(|read| (read, field.key_position, field.value.path.clone())));
    }
    if !whole {
        return None;
    }
    if sides.iter().flatten().count() < 2 {
        reader.missing(item, context.sites[0].as_str(), "a rule has sides for two sites at least");
        return None;
    }
    let at: Vec<_> = sides.iter().map(|side| side.as_ref().map(|(_, at, path)| (*at, path.clone()))).collect();
    let first = sides.iter().flatten().next().map(|(side, ..)| side.kind())?;
    if let Some((other, position, path)) = sides.iter().flatten().find(|(side, ..)| side.kind() != first) {
        let fault = Fault::OneWay(format!(
            "this side is {}, the other {first}; both sides of a rule are of one kind",
            other.kind()
        ));
        reader.note(*position, path, fault);
        return None;
    }
    let kind = match first {
        "nfs" => {
            refuse(reader, &fields, &["keep", "swap", "table", "oneWay"], "an nfs rule maps whole directories");
            let sides = sides.into_iter().map(|side| match side {
                Some((AnySide::Nfs(side), ..)) => Some(side),
                _ => None,
            });
            RuleKind::Nfs { sides: sides.collect(), reused: reader.flag(&fields, "addressReused") }
        }
        "raw" => {
            refuse(reader, &fields, &["keep", "swap", "table", "addressReused"], "a raw rule only has edits");
            let sides: Vec<_> = sides
                .into_iter()
                .map(|side| match side {
                    Some((AnySide::Raw(edits), ..)) => Some(edits),
                    _ => None,
                })
                .collect();
            let one_way = reader.flag(&fields, "oneWay");
            RuleKind::Raw(raw_rule(reader, item, sides, &at, one_way)?)
        }
        _ => {
            refuse(reader, &fields, &["addressReused", "oneWay"], "its parts say what is the same");
            RuleKind::Parts(parts_rule(reader, &fields, item, sides, context)?)
        }
    };
    Some(ReadRule { rule: Rule { name: name?, kind }, at: item.position, sides: at })
}

/// Notes fields that a kind of rule does not have.
fn refuse(reader: &mut Reader, fields: &[Field<'_>], keys: &[&str], why: &str) {
    for field in fields.iter().filter(|field| keys.contains(&field.key)) {
        reader.note(
            field.key_position,
            &field.value.path,
            Fault::UnknownField { known: format!("its sides only; {why}") },
        );
    }
}

fn side<'a>(reader: &mut Reader, node: &Node<'a>, context: &Context<'_>) -> Option<AnySide<'a>> {
    let fields = reader.object(node, &SIDE)?;
    let has = |key: &str| named(&fields, key).is_some();
    match (has("nfs"), has("driver") || has("inTree"), has("raw")) {
        (true, false, false) => nfs(reader, &fields).map(AnySide::Nfs),
        (false, false, true) => {
            let items = reader.list(&fields, "raw", "a list of edits");
            let edits: Vec<_> = items.iter().filter_map(|item| raw::edit(reader, item)).collect();
            (edits.len() == items.len()).then_some(AnySide::Raw(edits))
        }
        (false, true, false) => parts_side(reader, node, &fields, context),
        (false, false, false) => {
            reader.missing(
                node,
                "nfs",
                "an object with `server` and `path`; or `driver` or `inTree` with `parts`; or `raw`",
            );
            None
        }
        _ => {
            let fault = Fault::OneWay("a side is one of nfs, driver or inTree, raw".to_owned());
            reader.note(node.position, &node.path, fault);
            None
        }
    }
}

fn nfs(reader: &mut Reader, fields: &[Field<'_>]) -> Option<Side> {
    let nfs = named(fields, "nfs")?;
    let fields = reader.object(&nfs.value, &NFS)?;
    let server =
        reader.required(&nfs.value, &fields, "server", "the file server's address").and_then(|(node, text)| {
            let parsed = Server::parse(text);
            if parsed.is_err() {
                reader.value(&node, text, "that is neither an IP address nor a host name");
            }
            parsed.ok()
        });
    let path = reader.required(&nfs.value, &fields, "path", "the exported directory").and_then(|(node, text)| {
        let parsed = Directory::parse(text);
        if let Err(why) = &parsed {
            reader.value(&node, text, &why.to_string());
        }
        parsed.ok()
    });
    Some(Side { server: server?, path: path? })
}

/// The profile that reads volumes of `kind`, by its name if the rule says it.
fn profile_of(
    reader: &mut Reader,
    node: &Node<'_>,
    kind: &Kind,
    named: Option<&str>,
    context: &Context<'_>,
) -> Option<Arc<Profile>> {
    let knowing: Vec<_> = profile::all(context.profiles).filter(|p| p.knows(kind)).collect();
    let chosen = match named {
        Some(name) => knowing.iter().find(|p| p.name == name),
        None => knowing.first().filter(|_| knowing.len() == 1),
    };
    if let Some(profile) = chosen {
        return Some(Arc::clone(profile));
    }
    let names: Vec<_> = knowing.iter().map(|p| p.name.as_str()).collect();
    let fault = match (named, names.is_empty()) {
        (_, true) => format!("no driver profile reads volumes of {kind}; add one under `profiles`, or use a raw rule"),
        (Some(name), _) => {
            format!("profile {name:?} does not read volumes of {kind}; those that do: {}", names.join(", "))
        }
        (None, _) => format!("several profiles read volumes of {kind}; say which with `profile`: {}", names.join(", ")),
    };
    reader.note(node.position, &node.path, Fault::Profile(fault));
    None
}

fn parts_side<'a>(
    reader: &mut Reader,
    node: &Node<'a>,
    fields: &[Field<'a>],
    context: &Context<'_>,
) -> Option<AnySide<'a>> {
    let kind = match (reader.optional(fields, "driver"), reader.optional(fields, "inTree")) {
        (Some(driver), None) => Kind::Csi(driver.to_owned()),
        (None, Some(kind)) => Kind::InTree(kind.to_owned()),
        _ => {
            reader.missing(node, "driver", "either the CSI driver's name or `inTree`");
            return None;
        }
    };
    let profile = profile_of(reader, node, &kind, reader_profile(fields), context)?;
    let mut parts = Parts::new();
    if let Some(field) = named(fields, "parts") {
        for part in reader.entries(&field.value, "an object with the parts' names") {
            let Some(kind) = profile.parts.get(part.key).copied() else {
                let known: Vec<_> = profile.parts.keys().map(String::as_str).collect();
                reader.note(part.key_position, &part.value.path, Fault::UnknownField { known: known.join(", ") });
                continue;
            };
            let texts = reader.texts(&part.value);
            for text in &texts {
                if let Some(reason) = kind.maps.fault(text) {
                    reader.value(&part.value, text, &reason);
                }
            }
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            let value = match (part.value.items().is_some(), kind.list) {
                (false, false) => texts.into_iter().next().map(PartValue::One),
                (true, false) => {
                    reader.wrong_type(&part.value, "one text: the part is no list");
                    None
                }
                (_, true) => Some(PartValue::Many(texts)),
            };
            parts.extend(value.map(|value| (part.key.to_owned(), value)));
        }
    }
    Some(AnySide::Parts { side: PartsSide { driver: kind.driver(), profile, parts }, node: node.clone() })
}

fn reader_profile<'a>(fields: &[Field<'a>]) -> Option<&'a str> {
    match named(fields, "profile")?.value.content {
        crate::located::Content::Text(text) => Some(text),
        _ => None,
    }
}

/// Every way in which the rule would not lead back is a fault.
fn parts_rule(
    reader: &mut Reader,
    fields: &[Field<'_>],
    item: &Node<'_>,
    sides: Vec<Option<(AnySide<'_>, Position, String)>>,
    context: &Context<'_>,
) -> Option<PartsRule> {
    let before = reader.errors.len();
    let mut own: Vec<Option<PartsSide>> = Vec::new();
    let mut nodes = Vec::new();
    for read in sides {
        own.push(match read {
            Some((AnySide::Parts { side, node }, ..)) => {
                nodes.push(node);
                Some(side)
            }
            _ => None,
        });
    }
    let present: Vec<&PartsSide> = own.iter().flatten().collect();
    let first = *present.first()?;
    for (other, node) in present.iter().zip(&nodes).skip(1) {
        let mut fault = |text: String| reader.note(node.position, &node.path, Fault::OneWay(text));
        if first.profile.name != other.profile.name {
            let same = first.profile.parts.keys().eq(other.profile.parts.keys());
            let csi = |side: &PartsSide| !side.driver.starts_with(Kind::IN_TREE);
            if !same || !csi(first) || !csi(other) {
                fault(format!(
                    "profile {} has other parts than profile {} of the other side; volumes of one cannot become the other's",
                    other.profile.name, first.profile.name
                ));
            }
        }
        for name in first.parts.keys().chain(other.parts.keys()).collect::<BTreeSet<_>>() {
            match (first.parts.get(name), other.parts.get(name)) {
                (Some(a), Some(b)) if a.texts().len() == b.texts().len() => {
                    let maps = first.profile.kind(name).maps;
                    let twice = |value: &PartValue| {
                        let texts: BTreeSet<_> = value.texts().iter().map(|t| maps.canonical(t)).collect();
                        texts.len() != value.texts().len()
                    };
                    if twice(a) || twice(b) {
                        fault(format!("{name} has a value twice, so there would be two ways for it"));
                    }
                }
                (Some(_), Some(_)) => {}
                _ => fault(format!("only one side says {name}; say it at both sides, or in keep, swap or a table")),
            }
        }
    }
    let mut said: BTreeMap<String, &str> = first.parts.keys().map(|name| (name.clone(), "parts")).collect();
    let mut claim = |reader: &mut Reader, node: &Node<'_>, name: &str, by: &'static str| {
        if !first.profile.parts.contains_key(name) {
            let known: Vec<_> = first.profile.parts.keys().map(String::as_str).collect();
            reader.value(
                node,
                name,
                &format!("it is no part of profile {}; those are {}", first.profile.name, known.join(", ")),
            );
        } else if let Some(already) = said.insert(name.to_owned(), by) {
            reader.value(node, name, &format!("{already} says it already"));
        }
    };
    let mut keep = BTreeSet::new();
    for node in reader.list(fields, "keep", "a list of parts") {
        if let Some(name) = reader.text(&node) {
            claim(reader, &node, name, "keep");
            keep.insert(name.to_owned());
        }
    }
    let mut swap = BTreeMap::new();
    for node in reader.list(fields, "swap", "a list of pairs of parts") {
        match reader.texts(&node).as_slice() {
            [one, other] if one != other => {
                claim(reader, &node, one, "swap");
                claim(reader, &node, other, "swap");
                swap.insert((*one).to_owned(), (*other).to_owned());
                swap.insert((*other).to_owned(), (*one).to_owned());
            }
            _ => reader.wrong_type(&node, "a list of two parts that change places"),
        }
    }
    let sites: Vec<usize> = own.iter().enumerate().filter(|(_, side)| side.is_some()).map(|(at, _)| at).collect();
    let mut tables = Vec::new();
    if let Some(field) = named(fields, "table") {
        for node in field.value.items().unwrap_or_else(|| vec![field.value.clone()]) {
            let Some(table) = tables::table(reader, &node, &first.profile, &sites, context) else { continue };
            for part in &table.parts {
                claim(reader, &node, part, "a table");
            }
            tables.push(table);
        }
    }
    if said.is_empty() {
        let what = "a rule says something of every part: in both sides' `parts`, in `keep`, `swap` or a `table`";
        reader.missing(item, "keep", what);
    }
    (reader.errors.len() == before).then_some(PartsRule { sides: own, keep, swap, tables })
}

fn raw_rule(
    reader: &mut Reader,
    item: &Node<'_>,
    sides: Vec<Option<Vec<raw::Edit>>>,
    at: &[Option<(Position, String)>],
    one_way: bool,
) -> Option<RawRule> {
    if sides.iter().flatten().count() != 2 {
        let fault = Fault::OneWay("a raw rule is between two sites; write one for each pair".to_owned());
        reader.note(item.position, &item.path, fault);
        return None;
    }
    let empty = sides.iter().position(|side| side.as_ref().is_some_and(Vec::is_empty));
    if let Some(empty) = empty
        && !one_way
    {
        let what =
            "it has no edits, so the rule would have no way back; write them, or say `oneWay: true` for the rule";
        let (position, path) = at[empty].clone().unwrap_or((item.position, item.path.clone()));
        reader.note(position, &path, Fault::OneWay(what.to_owned()));
        return None;
    }
    Some(RawRule { sides })
}
