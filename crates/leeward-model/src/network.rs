//! The networks of a VirtualMachine: NetworkAttachmentDefinitions, which may be called otherwise at another site.
//!
//! A machine names them in `spec.template.spec.networks`, and perhaps in the annotations that its pod gets, which Multus
//! reads: as `namespace/name@interface`, separated by commas, or as a JSON list. A name without namespace is in the machine's
//! own, except in the default network's annotation, where it is in Multus' namespace; that one is left alone.
//!
//! Laws (each has a property test):
//! - all places change at once, by the pairs of the mapping, and nothing else does;
//! - there and back again is the same machine, but for Leeward's own annotations and `kubectl apply`'s copy;
//! - twice is once: an annotation says at which site a machine's names are;
//! - it never panics, whatever JSON it is given.

use crate::json;
use crate::keys;
use crate::landing::LAST_APPLIED;
use crate::mapping::{Mapping, NetworkError};
use crate::name::SiteName;
use crate::rewrite::{Change, Trace};
use serde_json::{Map, Value};

/// Multus reads here which networks a pod gets besides the default one.
const MORE: &str = "k8s.v1.cni.cncf.io/networks";
/// And here, which one is the default.
const DEFAULT: &str = "v1.multus-cni.io/default-network";

/// A machine cannot be given its networks.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// One has no name at the target.
    #[error("VirtualMachine {vm} cannot be given its networks [LW-0181]")]
    Unmapped {
        /// `namespace/name`.
        vm: String,
        /// Why.
        #[source]
        source: NetworkError,
    },
    /// An annotation that Multus would not read either.
    #[error(
        "VirtualMachine {vm}: the annotation {key} of its template is no list of networks, {problem}; correct it, and back up again [LW-0181]"
    )]
    Unreadable {
        /// `namespace/name`.
        vm: String,
        /// The annotation.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// A machine with the networks of the site it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Landed {
    /// The machine.
    pub vm: Value,
    /// What was changed; also written into an annotation of the machine, if anything was.
    pub trace: Trace,
}

/// The networks that the machine names, `namespace/name`, each once.
///
/// # Errors
/// [`NetworksError::Unreadable`].
pub fn names(vm: &Value) -> Result<Vec<String>, NetworksError> {
    let mut all: Vec<String> = Vec::new();
    for place in places(vm) {
        place.each(vm, &mut |network| {
            if !all.iter().any(|known| known == network) {
                all.push(network.to_owned());
            }
            Ok(network.to_owned())
        })?;
    }
    Ok(all)
}

/// The machine as it is created at `target`. The site that its names are of is the one in its annotation [`keys::SITE`],
/// else `source`. `backup` is what it is restored from, for the trace.
///
/// # Errors
/// [`NetworksError`] if a network has no name at `target`, or an annotation cannot be read.
pub fn landed(
    vm: &Value,
    mapping: &Mapping,
    source: &SiteName,
    target: &SiteName,
    backup: Option<&str>,
) -> Result<Landed, NetworksError> {
    let annotated = json::annotation(vm, keys::SITE).and_then(|site| SiteName::parse(site).ok());
    let from = annotated.clone().unwrap_or_else(|| source.clone());
    let (to, backup) = (target.clone(), backup.map(str::to_owned));
    let mut trace = Trace { rule: None, from, to, backup, changes: Vec::new() };
    let mut new = vm.clone();
    if trace.from == *target {
        return Ok(Landed { vm: new, trace });
    }
    let earlier = json::annotation(vm, keys::REWRITE_TRACE).and_then(|text| serde_json::from_str::<Trace>(text).ok());
    let earlier = earlier.filter(|earlier| earlier.from == *target && earlier.to == trace.from);
    let earlier = earlier.map(|earlier| earlier.changes).unwrap_or_default();
    for place in places(vm) {
        let was = place.text(vm).to_owned();
        // Going back, a text is as it was: the way there may have written it in another form. Whoever changed it since
        // meant it.
        let returned = earlier.iter().find(|change| {
            change.pointer == place.pointer && change.after.as_ref().and_then(Value::as_str) == Some(&was)
        });
        let is = match returned.and_then(|change| change.before.as_ref()?.as_str()) {
            Some(before) => before.to_owned(),
            None => place.each(vm, &mut |network| mapping.network(network, &trace.from, target))?,
        };
        if is != was && json::put(&mut new, &place.pointer, Some(is.clone().into())) {
            let (before, after) = (Some(was.into()), Some(is.into()));
            trace.changes.push(Change { pointer: place.pointer, before, after });
        }
    }
    json::unannotate(&mut new, keys::REWRITE_TRACE);
    if !trace.changes.is_empty() {
        json::unannotate(&mut new, LAST_APPLIED);
        json::annotate(&mut new, keys::REWRITE_TRACE, serde_json::to_string(&trace).unwrap_or_default());
    }
    if annotated.is_some() || !trace.changes.is_empty() {
        json::annotate(&mut new, keys::SITE, target.as_str());
    }
    Ok(Landed { vm: new, trace })
}

/// One text of a machine that names networks.
struct Place {
    pointer: String,
    form: Form,
}

enum Form {
    /// `namespace/name`.
    One,
    /// A list, in the annotation of this key.
    List(&'static str),
}

fn places(vm: &Value) -> Vec<Place> {
    let networks = vm.pointer("/spec/template/spec/networks").and_then(Value::as_array);
    let pointers =
        (0..networks.map_or(0, Vec::len)).map(|at| format!("/spec/template/spec/networks/{at}/multus/networkName"));
    let mut places: Vec<Place> = pointers.map(|pointer| Place { pointer, form: Form::One }).collect();
    for key in [MORE, DEFAULT] {
        let pointer = format!("/spec/template/metadata/annotations/{}", json::escape(key));
        places.push(Place { pointer, form: Form::List(key) });
    }
    places.retain(|place| !place.text(vm).trim().is_empty());
    places
}

impl Place {
    fn text<'a>(&self, vm: &'a Value) -> &'a str {
        json::text(vm, &self.pointer).unwrap_or_default()
    }

    /// The text with what `map` makes of each network, `namespace/name`.
    fn each(&self, vm: &Value, map: Renaming<'_>) -> Result<String, NetworksError> {
        let own = json::text(vm, "/metadata/namespace").unwrap_or_default();
        let title = || format!("{own}/{}", json::name(vm));
        let text = self.text(vm);
        let done = match self.form {
            Form::One => one(text, own, map),
            Form::List(key) => {
                let own = if key == DEFAULT { "" } else { own };
                if text.contains(['[', '{', '"']) {
                    let unreadable = |problem| NetworksError::Unreadable { vm: title(), key, problem };
                    let list = serde_json::from_str::<Vec<Map<String, Value>>>(text);
                    elements(list.map_err(|error| unreadable(error.to_string()))?, text, own, map)
                } else {
                    text.split(',')
                        .map(|item| listed(item, own, map))
                        .collect::<Result<Vec<_>, _>>()
                        .map(|l| l.join(","))
                }
            }
        };
        done.map_err(|source| NetworksError::Unmapped { vm: title(), source })
    }
}

type Renaming<'a> = &'a mut dyn FnMut(&str) -> Result<String, NetworkError>;

/// `name` or `namespace/name`; it keeps its form where that is right.
fn one(text: &str, own: &str, map: Renaming<'_>) -> Result<String, NetworkError> {
    let (namespace, name) = text.split_once('/').unwrap_or((own, text));
    if namespace.is_empty() {
        return Ok(text.to_owned());
    }
    let was = format!("{namespace}/{name}");
    let is = map(&was)?;
    Ok(match is.split_once('/') {
        _ if is == was => text.to_owned(),
        Some((there, name)) if there == own && !text.contains('/') => name.to_owned(),
        _ => is,
    })
}

/// ` namespace/name@interface `; the interface and spaces stay.
fn listed(item: &str, own: &str, map: Renaming<'_>) -> Result<String, NetworkError> {
    let network = item.split('@').next().unwrap_or_default().trim();
    if network.is_empty() {
        return Ok(item.to_owned());
    }
    let is = one(network, own, map)?;
    // Its first occurrence is itself: only spaces stand before it.
    Ok(item.replacen(network, &is, 1))
}

/// A JSON list, written anew only if something changed.
fn elements(
    mut list: Vec<Map<String, Value>>,
    text: &str,
    own: &str,
    map: Renaming<'_>,
) -> Result<String, NetworkError> {
    let mut changed = false;
    for element in &mut list {
        let said = |key: &str| element.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(name) = said("name") else { continue };
        let named = said("namespace");
        let was = named.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
        let is = one(&was, own, map)?;
        if is == was {
            continue;
        }
        changed = true;
        let (namespace, name) = is.split_once('/').map_or((None, is.as_str()), |(ns, name)| (Some(ns), name));
        element.insert("name".to_owned(), name.into());
        if let Some(namespace) = namespace {
            element.insert("namespace".to_owned(), namespace.into());
        }
    }
    Ok(if changed { Value::from(list).to_string() } else { text.to_owned() })
}

#[cfg(test)]
mod tests;
