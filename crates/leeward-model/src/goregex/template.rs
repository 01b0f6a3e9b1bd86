//! Go's replacement templates (`regexp.Expand`, Go 1.25).
//!
//! Law: every text is a template and means what it means in Go.

use std::fmt;

/// A replacement with `$1`, `${name}` and `$$`, as `Regexp.Expand` reads it: `$1x` is `${1x}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    Group(String),
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Template {
    /// Every text is a template: a `$` that begins no reference stands for itself.
    #[must_use]
    pub fn new(source: &str) -> Self {
        let mut tokens = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
                continue;
            }
            let (braced, name) = after.strip_prefix('{').map_or((false, after), |inner| (true, inner));
            let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(name.len());
            let closed = !braced || name[end..].starts_with('}');
            if end == 0 || !closed {
                text.push('$');
                rest = after;
                continue;
            }
            if !text.is_empty() {
                tokens.push(Token::Text(std::mem::take(&mut text)));
            }
            tokens.push(Token::Group(name[..end].to_owned()));
            rest = &name[end + usize::from(braced)..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            tokens.push(Token::Text(text));
        }
        Self { source: source.to_owned(), tokens }
    }

    /// The groups that it names.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Group(name) => Some(name.as_str()),
            Token::Text(_) => None,
        })
    }

    /// The text, if it names no group.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        self.tokens.iter().map(|t| if let Token::Text(text) = t { Some(text.as_str()) } else { None }).collect()
    }

    /// The template without its references to these groups.
    #[must_use]
    pub fn without(&self, groups: &[&str]) -> String {
        let spell = |token: &Token| match token {
            Token::Text(text) => text.replace('$', "$$"),
            Token::Group(name) if groups.contains(&name.as_str()) => String::new(),
            Token::Group(name) => format!("${{{name}}}"),
        };
        if groups.is_empty() { self.source.clone() } else { self.tokens.iter().map(spell).collect() }
    }

    /// Texts and groups, in order: a text and the group that follows it.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.tokens.iter().map(|token| match token {
            Token::Text(text) => (text.as_str(), None),
            Token::Group(name) => ("", Some(name.as_str())),
        })
    }

    pub(super) fn expand(&self, found: &regex::Captures<'_>) -> String {
        let group = |name: &str| match name.parse::<usize>() {
            Ok(number) => found.get(number),
            Err(_) => found.name(name),
        };
        let text = |token: &Token| match token {
            Token::Text(text) => text.clone(),
            Token::Group(name) => group(name).map_or_else(String::new, |m| m.as_str().to_owned()),
        };
        self.tokens.iter().map(text).collect()
    }
}
