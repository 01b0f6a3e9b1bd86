//! Takes a document apart and notes every fault with its place, instead of stopping at the first.

use super::{Fault, MappingError};
use crate::located::{Content, Field, Node, Position};

/// What was found wrong so far.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) errors: Vec<MappingError>,
}

impl Reader {
    /// The fields of an object; notes those that are not in `known`.
    pub(crate) fn object<'a>(&mut self, node: &Node<'a>, known: &[&str]) -> Option<Vec<Field<'a>>> {
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

    pub(crate) fn required<'a>(
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

    pub(crate) fn constant(&mut self, root: &Node<'_>, fields: &[Field<'_>], key: &str, expected: &str) {
        if let Some((node, text)) = self.required(root, fields, key, &format!("must be {expected}"))
            && text != expected
        {
            self.value(&node, text, &format!("must be {expected}"));
        }
    }

    pub(crate) fn text<'a>(&mut self, node: &Node<'a>) -> Option<&'a str> {
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

    /// The text of an optional field.
    pub(crate) fn optional<'a>(&mut self, fields: &[Field<'a>], key: &str) -> Option<&'a str> {
        let field = named(fields, key)?;
        self.text(&field.value)
    }

    /// A field that is true or false; false if it is not there.
    pub(crate) fn flag(&mut self, fields: &[Field<'_>], key: &str) -> bool {
        let Some(field) = named(fields, key) else { return false };
        match field.value.content {
            Content::Other("true or false", spelling) => spelling == "true",
            _ => {
                self.wrong_type(&field.value, "true or false");
                false
            }
        }
    }

    /// The items of an optional list.
    pub(crate) fn list<'a>(&mut self, fields: &[Field<'a>], key: &str, what: &str) -> Vec<Node<'a>> {
        let Some(field) = named(fields, key) else { return Vec::new() };
        if matches!(field.value.content, Content::Null) {
            return Vec::new();
        }
        field.value.items().unwrap_or_else(|| {
            self.wrong_type(&field.value, what);
            Vec::new()
        })
    }

    /// The fields of an object whose keys are free.
    pub(crate) fn entries<'a>(&mut self, node: &Node<'a>, what: &str) -> Vec<Field<'a>> {
        node.fields().unwrap_or_else(|| {
            self.wrong_type(node, what);
            Vec::new()
        })
    }

    /// One text, or a list of texts.
    pub(crate) fn texts<'a>(&mut self, node: &Node<'a>) -> Vec<&'a str> {
        match node.items() {
            Some(items) => items.iter().filter_map(|item| self.text(item)).collect(),
            None => self.text(node).into_iter().collect(),
        }
    }

    pub(crate) fn missing(&mut self, object: &Node<'_>, key: &str, what: &str) {
        self.note(object.position, &object.path_of(key), Fault::Missing { what: what.to_owned() });
    }

    pub(crate) fn wrong_type(&mut self, node: &Node<'_>, expected: &str) {
        let fault = Fault::Type { found: node.content.kind().to_owned(), expected: expected.to_owned() };
        self.note(node.position, &node.path, fault);
    }

    pub(crate) fn value(&mut self, node: &Node<'_>, value: &str, reason: &str) {
        let fault = Fault::Value { value: value.to_owned(), reason: reason.to_owned() };
        self.note(node.position, &node.path, fault);
    }

    pub(crate) fn note(&mut self, position: Position, field: &str, fault: Fault) {
        self.errors.push(MappingError { position, field: field.to_owned(), fault });
    }
}

pub(crate) fn named<'a, 'b>(fields: &'b [Field<'a>], key: &str) -> Option<&'b Field<'a>> {
    fields.iter().find(|f| f.key == key)
}
