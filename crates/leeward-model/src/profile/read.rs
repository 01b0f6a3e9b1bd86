//! Reads a profile from its document, with all its faults.

use super::{Affinity, Form, Maps, PartKind, Place, Profile, Source, When};
use crate::located::{self, Node};
use crate::mapping::reader::{Reader, named};
use crate::mapping::{Fault, MappingError, MappingErrors};
use std::collections::BTreeMap;

pub(crate) const PROFILE: [&str; 9] =
    ["name", "driver", "driverSuffix", "inTree", "when", "read", "parts", "places", "secrets"];
pub(crate) const PART: [&str; 2] = ["maps", "perVolume"];
pub(crate) const PLACE: [&str; 7] = ["at", "form", "forms", "mounts", "optional", "anyCase", "ifMatches"];

/// Reads a profile's own file.
///
/// # Errors
/// All its faults.
pub(crate) fn document(text: &str) -> Result<Profile, MappingErrors> {
    let document = located::read(text).map_err(|(position, message)| {
        MappingErrors(vec![MappingError { position, field: String::new(), fault: Fault::Syntax(message) }])
    })?;
    let mut reader = Reader::default();
    match profile(&mut reader, &Node::root(&document)) {
        Some(profile) if reader.errors.is_empty() => Ok(profile),
        _ => Err(MappingErrors(reader.errors)),
    }
}

/// Reads one profile; `None` only after a fault was noted.
pub(crate) fn profile(reader: &mut Reader, node: &Node<'_>) -> Option<Profile> {
    let known: Vec<&str> = PROFILE.into_iter().chain(["affinity", "notes"]).collect();
    let fields = reader.object(node, &known)?;
    let name = reader.required(node, &fields, "name", "the profile's name").map(|(_, name)| name.to_owned());
    let source = source(reader, node, &fields);
    let when = named(&fields, "when").and_then(|field| when(reader, &field.value));
    let read = named(&fields, "read").map(|field| reader.texts(&field.value)).unwrap_or_default();
    if read.is_empty() {
        reader.missing(
            node,
            "read",
            "where the shape was read: the driver's source file or documentation, with its version",
        );
    }
    let mut parts = BTreeMap::new();
    match named(&fields, "parts") {
        Some(field) => {
            for part in reader.entries(&field.value, "an object with the parts' names") {
                parts.insert(part.key.to_owned(), kind(reader, &part.value));
            }
        }
        None => reader.missing(node, "parts", "the names of the address's parts"),
    }
    let mut places = Vec::new();
    for item in reader.list(&fields, "places", "a list of places") {
        places.extend(place(reader, &item, &parts));
    }
    if places.is_empty() && named(&fields, "places").is_none() {
        reader.missing(node, "places", "every place of a PersistentVolume that says a part");
    }
    let mut affinity = Vec::new();
    for item in reader.list(&fields, "affinity", "a list of keys") {
        affinity.extend(affine(reader, &item, &parts));
    }
    lists(reader, node, &mut parts, &places, &affinity);
    let notes = named(&fields, "notes").map(|field| reader.texts(&field.value)).unwrap_or_default();
    let secrets = named(&fields, "secrets").is_none() || reader.flag(&fields, "secrets");
    Some(Profile {
        name: name?,
        source: source?,
        when,
        read: read.into_iter().map(str::to_owned).collect(),
        parts,
        places,
        secrets,
        affinity,
        notes: notes.into_iter().map(str::to_owned).collect(),
    })
}

fn source(reader: &mut Reader, node: &Node<'_>, fields: &[located::Field<'_>]) -> Option<Source> {
    let names = named(fields, "driver").map(|field| reader.texts(&field.value)).unwrap_or_default();
    let suffix = reader.optional(fields, "driverSuffix").map(str::to_owned);
    match reader.optional(fields, "inTree") {
        Some(kind) if names.is_empty() && suffix.is_none() => Some(Source::InTree(kind.to_owned())),
        None if !names.is_empty() || suffix.is_some() => {
            Some(Source::Csi { names: names.into_iter().map(str::to_owned).collect(), suffix })
        }
        _ => {
            reader.missing(node, "driver", "the CSI driver's name, or `driverSuffix`, or `inTree` alone");
            None
        }
    }
}

fn when(reader: &mut Reader, node: &Node<'_>) -> Option<When> {
    let fields = reader.object(node, &["at", "is", "absent"])?;
    let (_, at) = reader.required(node, &fields, "at", "a JSON pointer")?;
    let is = named(&fields, "is").map(|field| reader.texts(&field.value)).unwrap_or_default();
    let absent = reader.flag(&fields, "absent");
    if is.is_empty() && !absent {
        reader.missing(node, "is", "the texts for which the profile is, or `absent: true`");
    }
    Some(When { at: at.to_owned(), is: is.into_iter().map(str::to_owned).collect(), absent })
}

fn kind(reader: &mut Reader, node: &Node<'_>) -> PartKind {
    let mut kind = PartKind::default();
    if matches!(node.content, located::Content::Null) {
        return kind;
    }
    let Some(fields) = reader.object(node, &PART) else { return kind };
    kind.per_volume = reader.flag(&fields, "perVolume");
    if let Some(field) = named(&fields, "maps")
        && let Some(text) = reader.text(&field.value)
    {
        kind.maps = match text {
            "equal" => Maps::Equal,
            "caseless" => Maps::Caseless,
            "host" => Maps::Host,
            "path" => Maps::Path,
            "keep" => Maps::Keep,
            _ => {
                reader.value(&field.value, text, "must be equal, caseless, host, path or keep");
                Maps::Equal
            }
        };
    }
    kind
}

fn form(reader: &mut Reader, node: &Node<'_>, parts: &BTreeMap<String, PartKind>) -> Option<Form> {
    let text = reader.text(node)?;
    match Form::parse(text) {
        Ok(form) => {
            if let Some(unknown) = form.parts().find(|name| !parts.contains_key(*name)) {
                reader.value(node, text, &format!("{{{unknown}}} is not one of `parts`"));
            }
            Some(form)
        }
        Err(reason) => {
            reader.value(node, text, &reason);
            None
        }
    }
}

fn place(reader: &mut Reader, node: &Node<'_>, parts: &BTreeMap<String, PartKind>) -> Option<Place> {
    let fields = reader.object(node, &PLACE)?;
    let (at_node, at) = reader.required(node, &fields, "at", "a JSON pointer")?;
    let forms: Vec<Form> = match (named(&fields, "form"), named(&fields, "forms")) {
        (Some(one), None) => form(reader, &one.value, parts).into_iter().collect(),
        (None, Some(_)) => {
            let items = reader.list(&fields, "forms", "a list of forms");
            items.iter().filter_map(|item| form(reader, item, parts)).collect()
        }
        _ => {
            reader.missing(node, "form", "how the parts stand in the text; or a list of `forms`");
            return None;
        }
    };
    let mut place = match Place::new(at, forms) {
        Ok(place) => place,
        Err(reason) => {
            reader.value(&at_node, at, reason);
            return None;
        }
    };
    place.mounts = reader.flag(&fields, "mounts");
    place.if_matches = reader.flag(&fields, "ifMatches");
    place.optional = reader.flag(&fields, "optional") || place.if_matches;
    place.any_case = reader.flag(&fields, "anyCase");
    Some(place)
}

fn affine(reader: &mut Reader, node: &Node<'_>, parts: &BTreeMap<String, PartKind>) -> Option<Affinity> {
    let fields = reader.object(node, &["key", "value"])?;
    let Some(key) = named(&fields, "key") else {
        reader.missing(node, "key", "the form of the expression's key");
        return None;
    };
    let key = form(reader, &key.value, parts)?;
    let value = named(&fields, "value").and_then(|field| form(reader, &field.value, parts));
    Some(Affinity { key, value })
}

/// Marks the parts that are lists; each must be one everywhere, and must be said somewhere.
fn lists(
    reader: &mut Reader,
    node: &Node<'_>,
    parts: &mut BTreeMap<String, PartKind>,
    places: &[Place],
    affinity: &[Affinity],
) {
    for (name, kind) in parts.iter_mut() {
        let says = |form: &Form| form.parts().any(|part| part == name);
        let saying: Vec<&Place> = places.iter().filter(|place| place.forms.iter().any(says)).collect();
        kind.list = saying.iter().any(|place| place.is_list());
        let mixed = kind.list && saying.iter().any(|place| !place.is_list());
        let several = kind.list && saying.iter().any(|place| place.forms.iter().any(|form| form.parts().count() > 1));
        let unsaid = saying.is_empty() && !affinity.iter().any(|a| says(&a.key) || a.value.as_ref().is_some_and(says));
        let reason = match (mixed, several, unsaid) {
            (true, ..) => "it is a list in one place and one text in another; make it two parts",
            (_, true, _) => "a part that is a list stands alone in its form",
            (_, _, true) => "no place says it",
            _ => continue,
        };
        reader.value(node, name, reason);
    }
}
