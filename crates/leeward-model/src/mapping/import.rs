//! The published ConfigMap form `velero-plugin-regex-map` as a site mapping.
//!
//! `ruleN.path|find|replace`, applied in the order of the numbers, each to what the one before left; or, in its first
//! version, `regex.find` and `regex.replace` for the volume handle. Laws: what that plug-in makes of a volume, the imported
//! rule makes of it (a rule of which nothing matches covers no volume, and so is an error, where the plug-in restored the
//! volume unchanged); a way back is proposed where the patterns say one, and every volume that goes through it is checked.

use super::schema::{EditSpec, RuleSpec, SideSpec, SiteMapping};
use crate::goregex::{GoRegex, Template};
use crate::json;
use crate::name::SiteName;
use std::collections::BTreeMap;

/// The ConfigMap's name.
pub const CONFIG_MAP: &str = "velero-plugin-regex-map";

/// A ConfigMap that cannot be imported; nothing of it is left out silently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ConfigMap {CONFIG_MAP}, key {key:?}: {problem} [LW-0145]")]
pub struct ImportError {
    /// The key.
    pub key: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// A proposed mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The document, YAML.
    pub text: String,
    /// What a person should look at.
    pub notes: Vec<String>,
}

impl Proposal {
    pub(super) fn new(mapping: &SiteMapping, notes: Vec<String>) -> Self {
        let comments: String = notes.iter().map(|note| format!("# {}\n", note.replace('\n', "\n#   "))).collect();
        Self { text: format!("{comments}{}", mapping.yaml()), notes }
    }
}

#[derive(Default)]
struct Entry<'a> {
    key: &'a str,
    path: Option<&'a str>,
    find: Option<&'a str>,
    replace: Option<&'a str>,
}

/// Turns the ConfigMap's data into a mapping that takes volumes from `source` to `target` as that plug-in did.
///
/// # Errors
/// [`ImportError`]: a key that is not understood, a rule without path or pattern, a pattern without an equal here.
pub fn import(data: &BTreeMap<String, String>, source: &SiteName, target: &SiteName) -> Result<Proposal, ImportError> {
    let fail = |key: &str, problem: String| ImportError { key: key.to_owned(), problem };
    let mut entries: BTreeMap<u64, Entry<'_>> = BTreeMap::new();
    for (key, text) in data {
        let (rule, field) = key.split_once('.').unwrap_or((key, ""));
        let number = match (rule, rule.strip_prefix("rule").map(str::parse::<u64>)) {
            ("regex", _) if field != "path" => 0,
            (_, Some(Ok(number))) => number,
            _ => {
                return Err(fail(
                    key,
                    "is not understood; keys are ruleN.path, ruleN.find and ruleN.replace".to_owned(),
                ));
            }
        };
        let entry = entries.entry(number).or_insert(Entry { key: rule, ..Entry::default() });
        if entry.key != rule {
            return Err(fail(
                key,
                format!("{rule} and {} have one number, so their order is chance; renumber them", entry.key),
            ));
        }
        match field {
            "path" => entry.path = Some(text),
            "find" => entry.find = Some(text),
            "replace" => entry.replace = Some(text),
            _ => {
                return Err(fail(
                    key,
                    "is not understood; keys are ruleN.path, ruleN.find and ruleN.replace".to_owned(),
                ));
            }
        }
    }
    if entries.is_empty() {
        return Err(fail("rule1.path", "is missing: the ConfigMap has no rule".to_owned()));
    }
    let mut notes = Vec::new();
    let (mut there, mut back) = (Vec::new(), Vec::new());
    let mut one_way = false;
    for Entry { key, path, find, replace } in entries.into_values() {
        let path = if key == "regex" { Some("spec.csi.volumeHandle") } else { path.filter(|path| !path.is_empty()) };
        let path = path.ok_or_else(|| fail(&format!("{key}.path"), "is missing or empty".to_owned()))?;
        let find = find.filter(|find| !find.is_empty());
        let find = find.ok_or_else(|| fail(&format!("{key}.find"), "is missing or empty".to_owned()))?;
        let steps = path.strip_prefix("spec.").unwrap_or(path);
        if steps.split('.').any(str::is_empty) || steps == "spec" {
            return Err(fail(&format!("{key}.path"), format!("{path:?} is no path like spec.csi.volumeHandle")));
        }
        let at: String = steps.split('.').map(|step| format!("/{}", json::escape(step))).collect();
        let at = format!("/spec{at}");
        let regex = GoRegex::new(find).map_err(|why| fail(&format!("{key}.find"), format!("{find:?}: {why}")))?;
        if replace.is_none() {
            notes.push(format!("{key} has no replace, so what it finds is removed"));
        }
        let template = Template::new(replace.unwrap_or_default());
        let unknown = regex.unknown_groups(&template);
        if !unknown.is_empty() {
            notes.push(format!(
                "{key}.replace {:?} names {}, which {find:?} has not; in Go that is silently empty, and so it was left out: did you mean ${{1}}…?",
                template.to_string(),
                unknown.join(", ")
            ));
        }
        let replace = template.without(&unknown);
        match reverse(find, &Template::new(&replace)) {
            Some((find, replace)) => back.push(EditSpec { at: at.clone(), find, replace, optional: true }),
            None => {
                notes.push(format!("{key}: nothing can be said of the way back from {find:?} and {replace:?}; write its edit under {target} by hand, and take `oneWay` away"));
                one_way = true;
            }
        }
        there.push(EditSpec { at, find: find.to_owned(), replace, optional: true });
    }
    back.reverse();
    if one_way {
        back.clear();
    } else {
        notes.push(format!("the edits under {target} are the way back as the patterns say it; look at them, and try them with `leeward mapping test`"));
    }
    let mut mapping = SiteMapping::new([source.clone(), target.clone()]);
    let side = |raw| SideSpec { raw: Some(raw), ..SideSpec::default() };
    mapping.rules.push(RuleSpec {
        name: "imported".to_owned(),
        one_way,
        sides: [(source.clone(), side(there)), (target.clone(), side(back))].into(),
        ..RuleSpec::default()
    });
    Ok(Proposal::new(&mapping, notes))
}

/// A piece of a pattern that can be turned round.
enum Piece {
    Text(String),
    Group(String),
}

/// The edit that takes back what `find` and `replace` do, if both are texts and groups one after another.
fn reverse(find: &str, replace: &Template) -> Option<(String, String)> {
    let (start, body) = find.strip_prefix('^').map_or(("", find), |rest| ("^", rest));
    let (end, body) = match body.strip_suffix('$') {
        Some(rest) if !rest.ends_with('\\') => ("$", rest),
        _ => ("", body),
    };
    let pieces = pieces(body)?;
    let groups = pieces.iter().filter(|piece| matches!(piece, Piece::Group(_))).count();
    // Where each group of the pattern stands in the replacement; the way back numbers them in that order.
    let mut order = Vec::new();
    let mut pattern = String::new();
    for (text, group) in replace.pieces() {
        pattern.push_str(&regex::escape(text));
        let Some(group) = group else { continue };
        let number: usize = group.parse().ok().filter(|n| (1..=groups).contains(n) && !order.contains(n))?;
        let source = pieces.iter().filter_map(|p| if let Piece::Group(source) = p { Some(source) } else { None });
        pattern.push_str(&format!("({})", source.collect::<Vec<_>>().get(number - 1)?));
        order.push(number);
    }
    if order.len() != groups || pattern.is_empty() {
        return None;
    }
    let mut template = String::new();
    let mut number = 0;
    for piece in &pieces {
        match piece {
            Piece::Text(text) => template.push_str(&text.replace('$', "$$")),
            Piece::Group(_) => {
                number += 1;
                let at = order.iter().position(|n| *n == number)? + 1;
                template.push_str(&format!("${{{at}}}"));
            }
        }
    }
    let pattern = format!("{start}{pattern}{end}");
    GoRegex::new(&pattern).ok()?;
    Some((pattern, template))
}

fn pieces(pattern: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let escaped = after.chars().next().filter(|c| c.is_ascii_punctuation())?;
                text.push(escaped);
                rest = &after[1..];
                continue;
            }
            '(' => {
                let end = after.find(')')?;
                let inner = &after[..end];
                if inner.contains(['(', '\\', '[']) && !inner.starts_with("[^") || inner.starts_with('?') {
                    return None;
                }
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Group(inner.to_owned()));
                rest = &after[end + 1..];
                if rest.starts_with(['*', '+', '?', '{']) {
                    return None;
                }
                continue;
            }
            // People write addresses without escaping their dots.
            '.' if !after.starts_with(['*', '+', '?', '{']) => text.push('.'),
            c if "[]{}*+?|.^$)".contains(c) => return None,
            c => text.push(c),
        }
        rest = after;
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
    pieces.push(Piece::Text(text));
    Some(pieces)
}

#[cfg(test)]
mod tests;
