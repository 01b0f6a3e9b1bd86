//! A YAML or JSON document whose every value knows its line and column, for checks that go beyond syntax.
//!
//! A struct derived with serde stops at the first fault and cannot name the field's path; this tree lets a reader collect
//! all faults of a document and say of each where it is.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// A position in a text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One value of a document.
#[derive(Debug)]
pub(crate) enum Content {
    Null,
    /// A scalar that is not text, with what it is and its spelling.
    Other(&'static str, String),
    Text(String),
    List(Vec<Spanned<Content>>),
    Fields(Vec<(Spanned<String>, Spanned<Content>)>),
}

impl Content {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Other(kind, _) => kind,
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Fields(_) => "an object",
        }
    }
}

/// A value of a document and the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub(crate) content: &'a Content,
    pub(crate) position: Position,
    /// E.g. `rules[0].east`; empty for the document itself.
    pub(crate) path: String,
}

/// A field's name with its place, and its value.
pub(crate) struct Field<'a> {
    pub(crate) key: &'a str,
    pub(crate) key_position: Position,
    pub(crate) value: Node<'a>,
}

fn position<T>(of: &Spanned<T>) -> Position {
    Position { line: of.referenced.line(), column: of.referenced.column() }
}

impl<'a> Node<'a> {
    pub(crate) fn root(document: &'a Spanned<Content>) -> Self {
        Self { content: &document.value, position: position(document), path: String::new() }
    }

    /// The path of a field of this object.
    pub(crate) fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The fields of an object; `None` if it is no object.
    pub(crate) fn fields(&self) -> Option<Vec<Field<'a>>> {
        let Content::Fields(fields) = self.content else { return None };
        let field = |(key, value): &'a (Spanned<String>, Spanned<Content>)| Field {
            key: &key.value,
            key_position: position(key),
            value: Node { content: &value.value, position: position(value), path: self.path_of(&key.value) },
        };
        Some(fields.iter().map(field).collect())
    }

    /// The items of a list; `None` if it is no list.
    pub(crate) fn items(&self) -> Option<Vec<Node<'a>>> {
        let Content::List(items) = self.content else { return None };
        let item = |(at, item): (usize, &'a Spanned<Content>)| Node {
            content: &item.value,
            position: position(item),
            path: format!("{}[{at}]", self.path),
        };
        Some(items.iter().enumerate().map(item).collect())
    }
}

/// Where the field of that path stands, e.g. `sites.east.kubeconfig`; the nearest field above it that exists otherwise.
#[must_use]
pub fn find(text: &str, path: &str) -> Option<Position> {
    let document = read(text).ok()?;
    let mut node = Node::root(&document);
    let mut found = None;
    for part in path.split('.') {
        let Some(field) = node.fields().into_iter().flatten().find(|field| field.key == part) else { break };
        found = Some(field.key_position);
        node = field.value;
    }
    found
}

/// Reads a document.
///
/// # Errors
/// The parser's message and position, if `text` is not one YAML or JSON document.
pub(crate) fn read(text: &str) -> Result<Spanned<Content>, (Position, String)> {
    serde_saphyr::from_str(text).map_err(|error| {
        let at = error
            .location()
            .map_or(Position { line: 1, column: 1 }, |l| Position { line: l.line(), column: l.column() });
        let message = error.without_snippet().to_string();
        // The parser ends its messages with the position, which we put in front.
        let end = format!(" at line {}, column {}", at.line, at.column);
        (at, message.strip_suffix(&end).unwrap_or(&message).to_owned())
    })
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Null)
            }
            fn visit_bool<E>(self, v: bool) -> Result<Content, E> {
                Ok(Content::Other("true or false", v.to_string()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Content, E> {
                Ok(Content::Other("a number", v.to_string()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Content, E> {
                Ok(Content::Other("a number", v.to_string()))
            }
            fn visit_i128<E>(self, v: i128) -> Result<Content, E> {
                Ok(Content::Other("a number", v.to_string()))
            }
            fn visit_u128<E>(self, v: u128) -> Result<Content, E> {
                Ok(Content::Other("a number", v.to_string()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Content, E> {
                Ok(Content::Other("a number", v.to_string()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Content, E> {
                Ok(Content::Text(v.to_owned()))
            }
            fn visit_bytes<E>(self, _: &[u8]) -> Result<Content, E> {
                Ok(Content::Other("binary data", String::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Content::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    fields.push(entry);
                }
                Ok(Content::Fields(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
