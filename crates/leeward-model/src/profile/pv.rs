//! Reads the parts of a PersistentVolume, and writes them.

use super::place::{like, text_of};
use super::{PartValue, Parts, Place, Profile};
use crate::address::AddressError;
use crate::json;
use serde_json::Value;

impl Profile {
    /// The parts of `pv`, in canonical spelling.
    ///
    /// # Errors
    /// [`AddressError`]: a place is missing, does not have its form, or disagrees with another.
    pub(crate) fn read(&self, pv: &Value) -> Result<Parts, AddressError> {
        let name = || json::name(pv);
        let mut parts = Parts::new();
        // Who said a part first, for the message; places that the driver mounts from are asked first.
        let mut said: Vec<(&str, String)> = Vec::new();
        for place in self.places.iter().filter(|p| p.mounts).chain(self.places.iter().filter(|p| !p.mounts)) {
            let pointers = place.pointers(pv);
            if pointers.is_empty() && !place.optional && !place.if_matches {
                return Err(AddressError::Missing { pv: name(), field: place.title() });
            }
            let mut found: Vec<(&str, PartValue)> = Vec::new();
            for pointer in &pointers {
                let Some(texts) = self.texts(pv, place, pointer)? else { continue };
                for (part, text) in texts {
                    let maps = self.kind(part).maps;
                    if let Some(reason) = maps.fault(&text) {
                        return Err(AddressError::Invalid {
                            pv: name(),
                            field: json::title(pointer),
                            value: text,
                            reason,
                        });
                    }
                    let text = maps.canonical(&text).into_owned();
                    match found.iter_mut().find(|(known, _)| *known == part) {
                        Some((_, PartValue::Many(texts))) => texts.push(text),
                        _ if place.is_list() => found.push((part, PartValue::Many(vec![text]))),
                        _ => found.push((part, PartValue::One(text))),
                    }
                }
            }
            for (part, value) in found {
                match parts.get(part) {
                    Some(known) if *known != value => {
                        let first = said.iter().find(|(p, _)| *p == part).map(|(_, place)| place.clone());
                        return Err(AddressError::Disagree {
                            pv: name(),
                            first: first.unwrap_or_default(),
                            first_place: format!("{part} {known}"),
                            second: place.title(),
                            second_place: format!("{part} {value}"),
                        });
                    }
                    Some(_) => {}
                    None => {
                        said.push((part, place.title()));
                        parts.insert(part.to_owned(), value);
                    }
                }
            }
        }
        for (part, kind) in &self.parts {
            if parts.contains_key(part) || self.places.iter().any(|place| says(place, part)) {
                continue;
            }
            let mut values = self.affine(pv, part);
            values.iter_mut().for_each(|value| *value = kind.maps.canonical(value).into_owned());
            match values.len() {
                0 => {}
                1 => drop(parts.insert(part.clone(), PartValue::One(values.swap_remove(0)))),
                _ => drop(parts.insert(part.clone(), PartValue::Many(values))),
            }
        }
        if parts.is_empty() {
            let field = self.places.first().map_or_else(|| "spec".to_owned(), Place::title);
            return Err(AddressError::Missing { pv: name(), field });
        }
        Ok(parts)
    }

    /// The parts that the text at `pointer` says; `None` if the place does not apply to it.
    fn texts<'a>(
        &'a self,
        pv: &Value,
        place: &'a Place,
        pointer: &str,
    ) -> Result<Option<Vec<(&'a str, String)>>, AddressError> {
        let value = pv.pointer(pointer).unwrap_or(&Value::Null);
        let invalid = |value: String, reason: String| AddressError::Invalid {
            pv: json::name(pv),
            field: json::title(pointer),
            value,
            reason,
        };
        let Some(text) = text_of(value) else {
            if place.if_matches {
                return Ok(None);
            }
            return Err(invalid(value.to_string(), "it must be text".to_owned()));
        };
        match place.read(&text) {
            Some((_, texts)) => Ok(Some(texts)),
            None if place.if_matches || (text.is_empty() && place.optional) => Ok(None),
            None => {
                let forms: Vec<_> = place.forms.iter().map(ToString::to_string).collect();
                Err(invalid(text, format!("it does not have the form {} (profile {})", forms.join(" or "), self.name)))
            }
        }
    }

    /// Writes `new` in place of `old`, wherever the profile says that parts stand. What does not change keeps its bytes.
    ///
    /// # Errors
    /// A value that cannot be written in its form: the field, the value, and why.
    pub(crate) fn write(&self, pv: &mut Value, old: &Parts, new: &Parts) -> Result<(), AddressError> {
        for place in &self.places {
            for (at, pointer) in place.pointers(pv).iter().enumerate() {
                let Some(text) = pv.pointer(pointer).and_then(text_of) else { continue };
                let Some((form, read)) = place.read(&text) else { continue };
                // What is beyond the new list's end goes in `resize`.
                let beyond = |part: &str| new.get(part).is_some_and(|value| at >= value.texts().len());
                if place.is_list() && read.iter().any(|(part, _)| beyond(part)) {
                    continue;
                }
                // An index into a list part, unless this place repeats one value.
                let nth = |parts: &Parts, name: &str| {
                    let texts = parts.get(name)?.texts();
                    texts.get(if place.is_list() { at } else { 0 }).cloned()
                };
                let mut values: Vec<(&str, String)> = Vec::new();
                for (part, spelled) in read {
                    let maps = self.kind(part).maps;
                    let to = nth(new, part).unwrap_or_default();
                    let stays = maps.same(&spelled, &to) && nth(old, part).is_some_and(|old| maps.same(&old, &to));
                    values.push((part, if stays { spelled } else { to }));
                }
                let failed = |reason: String| AddressError::Invalid {
                    pv: json::name(pv),
                    field: json::title(pointer),
                    value: values.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", "),
                    reason,
                };
                let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, v)| v.as_str());
                // The form that the text has, else the first of the place that takes the values.
                let forms = std::iter::once(form).chain(&place.forms);
                let mut written = forms.map(|form| form.write(value));
                let written = match written.find(Result::is_ok) {
                    Some(Ok(text)) => text,
                    _ => return Err(failed(form.write(value).err().unwrap_or_default())),
                };
                if let Some(field) = pv.pointer(pointer)
                    && let Some(value) = like(field, written)
                {
                    if let Some(field) = pv.pointer_mut(pointer) {
                        *field = value;
                    }
                } else {
                    return Err(failed("a number belongs there".to_owned()));
                }
            }
        }
        self.resize(pv, old, new);
        self.write_affinity(pv, old, new);
        Ok(())
    }

    /// Gives lists the number of elements that their parts have now.
    fn resize(&self, pv: &mut Value, old: &Parts, new: &Parts) {
        for place in self.places.iter().filter(|place| place.is_list()) {
            let Some(part) = place.forms.first().and_then(|form| form.parts().next()) else { continue };
            let (Some(PartValue::Many(was)), Some(PartValue::Many(is))) = (old.get(part), new.get(part)) else {
                continue;
            };
            let pointers = place.pointers(pv);
            let parent = pointers.first().and_then(|first| Some(first.rsplit_once('/')?.0.to_owned()));
            if was.len() == is.len() || pointers.len() != was.len() {
                continue;
            }
            let Some(list) = parent.and_then(|parent| pv.pointer_mut(&parent)).and_then(Value::as_array_mut) else {
                continue;
            };
            list.truncate(is.len());
            for text in is.iter().skip(list.len()) {
                let written = place.forms.iter().find_map(|form| form.write(|_| Some(text.as_str())).ok());
                list.extend(written.map(Value::String));
            }
        }
    }
}

impl Profile {
    /// Every pointer of `pv` that is a place of this profile.
    pub(crate) fn pointers(&self, pv: &Value) -> Vec<String> {
        let says = |place: &Place, pointer: &str| {
            !place.if_matches || pv.pointer(pointer).and_then(text_of).is_some_and(|text| place.read(&text).is_some())
        };
        self.places.iter().flat_map(|place| place.pointers(pv).into_iter().filter(|at| says(place, at))).collect()
    }

    /// Makes a volume of this profile one of `other`: its places go, the other's are written.
    ///
    /// # Errors
    /// A value that cannot be written in its form.
    pub(crate) fn replace(&self, pv: &mut Value, other: &Self, new: &Parts) -> Result<(), AddressError> {
        let theirs: Vec<String> = other.places.iter().map(Place::pointer).collect();
        for pointer in self.pointers(pv).iter().filter(|pointer| !theirs.contains(pointer)) {
            json::put(pv, pointer, None);
        }
        for place in &other.places {
            if place.optional && place.pointers(pv).is_empty() {
                continue;
            }
            let value = |name: &str| new.get(name)?.texts().first().map(String::as_str);
            let mut written = place.forms.iter().map(|form| form.write(value));
            let text = match written.find(Result::is_ok) {
                Some(Ok(text)) => text,
                _ => {
                    let reason = place.forms.first().and_then(|form| form.write(value).err()).unwrap_or_default();
                    let field = place.title();
                    return Err(AddressError::Invalid { pv: json::name(pv), field, value: String::new(), reason });
                }
            };
            json::put(pv, &place.pointer(), Some(Value::String(text)));
        }
        Ok(())
    }
}

fn says(place: &Place, part: &str) -> bool {
    place.forms.iter().any(|form| form.parts().any(|name| name == part))
}
