//! Reads a rule's table: rows in the mapping, CSV in the mapping, or a document of its own.

use super::read::Context;
use super::reader::{Reader, named};
use super::table::{Row, RowAt, Table};
use super::{Fault, csv};
use crate::located::{self, Content, Node};
use crate::profile::Profile;
use std::sync::Arc;

pub(super) const TABLE: [&str; 4] = ["parts", "rows", "csv", "from"];

/// `None` only after a fault was noted.
pub(super) fn table(
    reader: &mut Reader,
    node: &Node<'_>,
    profile: &Profile,
    sites: &[usize],
    context: &Context<'_>,
) -> Option<Table> {
    let fields = reader.object(node, &TABLE)?;
    let parts: Vec<String> = match named(&fields, "parts") {
        Some(field) => reader.texts(&field.value).into_iter().map(str::to_owned).collect(),
        None => {
            reader.missing(node, "parts", "the parts that the table's rows say");
            return None;
        }
    };
    let names: Vec<&str> = sites.iter().map(|site| context.sites[*site].as_str()).collect();
    let shape = Shape { parts: &parts, sites: &names };
    let note = |reader: &mut Reader, node: &Node<'_>, text: String| {
        reader.note(node.position, &node.path, Fault::Table(text));
    };
    let rows = match (named(&fields, "rows"), named(&fields, "csv"), named(&fields, "from")) {
        (Some(rows), None, None) => {
            let items = reader.list(&fields, "rows", "a list of rows");
            let read: Vec<_> = items.iter().filter_map(|item| shape.row(reader, item, None)).collect();
            Some((read, rows))
        }
        (None, Some(field), None) => {
            let text = reader.text(&field.value)?;
            match shape.csv(text, "csv") {
                Ok(rows) => Some((rows, field)),
                Err(what) => {
                    note(reader, &field.value, what);
                    None
                }
            }
        }
        (None, None, Some(field)) => {
            let nodes = field.value.items().unwrap_or_else(|| vec![field.value.clone()]);
            if nodes.is_empty() {
                reader.missing(&field.value, "from", "the name of a document, or several");
                return None;
            }
            let before = reader.errors.len();
            let rows: Vec<Row> =
                nodes.iter().filter_map(|node| document(reader, node, &shape, context)).flatten().collect();
            (reader.errors.len() == before).then_some((rows, field))
        }
        _ => {
            reader.missing(node, "rows", "the rows; or `csv` with them as text; or `from` with the name of a document");
            None
        }
    };
    let (rows, field) = rows?;
    match Table::new(parts, sites.to_vec(), profile, rows) {
        Ok(table) => Some(table),
        Err(faults) => {
            // A table pasted twice has thousands of faults; the first ones say it.
            let more = faults.len().saturating_sub(5);
            for (at, what) in faults.into_iter().take(5) {
                note(reader, &field.value, format!("{at}: {what}"));
            }
            if more > 0 {
                note(reader, &field.value, format!("and {more} more faults"));
            }
            None
        }
    }
}

/// The rows of a second document, CSV or a YAML list.
fn document(reader: &mut Reader, node: &Node<'_>, shape: &Shape<'_>, context: &Context<'_>) -> Option<Vec<Row>> {
    let name = reader.text(node)?;
    let fault = |reader: &mut Reader, text: String| {
        reader.note(node.position, &node.path, Fault::Table(text));
        None
    };
    let Some(text) = context.documents.get(name) else {
        return fault(
            reader,
            format!("there is no document {name:?}; put the table where this name says, or write its `rows` here"),
        );
    };
    let yaml = name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json") || looks_like_yaml(text);
    if !yaml {
        return match shape.csv(text, name) {
            Ok(rows) => Some(rows),
            Err(what) => fault(reader, what),
        };
    }
    let read = match located::read(text) {
        Ok(read) => read,
        Err((at, message)) => return fault(reader, format!("{name}, {at}: {message}")),
    };
    let mut inner = Reader::default();
    let root = Node::root(&read);
    let items = root.items().unwrap_or_else(|| {
        inner.wrong_type(&root, "a list of rows");
        Vec::new()
    });
    let document: Arc<str> = name.into();
    let rows: Vec<_> = items.iter().filter_map(|item| shape.row(&mut inner, item, Some(&document))).collect();
    if let Some(first) = inner.errors.first() {
        return fault(reader, format!("{name}, {first}"));
    }
    Some(rows)
}

fn looks_like_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    first.starts_with("- ") || first.starts_with('[') || first == "---"
}

/// What a row must look like.
struct Shape<'a> {
    parts: &'a [String],
    sites: &'a [&'a str],
}

impl Shape<'_> {
    fn row(&self, reader: &mut Reader, node: &Node<'_>, document: Option<&Arc<str>>) -> Option<Row> {
        let fields = reader.object(node, self.sites)?;
        let mut sides = Vec::new();
        for site in self.sites {
            let Some(field) = named(&fields, site) else {
                reader.missing(node, site, "a row has a side for each site of its rule");
                return None;
            };
            sides.push(match (self.parts, field.value.content) {
                ([_], Content::Text(text)) => vec![text.clone()],
                (_, Content::Fields(_)) => {
                    let names: Vec<&str> = self.parts.iter().map(String::as_str).collect();
                    let fields = reader.object(&field.value, &names)?;
                    let mut values = Vec::new();
                    for name in names {
                        values
                            .push(reader.required(&field.value, &fields, name, "a row says every part")?.1.to_owned());
                    }
                    values
                }
                ([_], _) => vec![reader.text(&field.value)?.to_owned()],
                _ => {
                    reader.wrong_type(&field.value, &format!("an object with {}", self.parts.join(", ")));
                    return None;
                }
            });
        }
        Some(Row { at: RowAt { document: document.cloned(), line: node.position.line }, sides })
    }

    /// The error begins with the place in the `document`.
    fn csv(&self, text: &str, document: &str) -> Result<Vec<Row>, String> {
        let document: Arc<str> = document.into();
        let at = |line: u64| RowAt { document: Some(Arc::clone(&document)), line };
        let fault = |(line, what): (u64, String)| format!("{}: {what}", at(line));
        let mut records = csv::read(text).map_err(fault)?.into_iter();
        let (line, header) = records.next().ok_or_else(|| fault((1, "it is empty".to_owned())))?;
        let mut columns = Vec::new();
        for site in self.sites {
            for part in self.parts {
                let long = format!("{site}.{part}");
                let column = header.iter().position(|h| *h == long || (self.parts.len() == 1 && h == site));
                columns.push(column.ok_or_else(|| {
                    let wanted = if self.parts.len() == 1 { (*site).to_owned() } else { long };
                    fault((line, format!("the header has no column {wanted:?}; it has {}", header.join(", "))))
                })?);
            }
        }
        let rows = records.map(|(line, values)| {
            let values: Vec<String> = columns.iter().map(|column| values[*column].clone()).collect();
            Row { at: at(line), sides: values.chunks(self.parts.len().max(1)).map(<[String]>::to_vec).collect() }
        });
        Ok(rows.collect())
    }
}
