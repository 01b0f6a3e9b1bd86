//! A table per volume: which id at one site is which at the other, where no pattern can say it.
//!
//! Laws: at every site each row's key is unique ([`Table::new`] refuses the others), so the table works in both
//! directions; a look-up is one hash, whatever the number of rows.

use crate::profile::{Maps, PartValue, Parts, Profile};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// The parts that a row's side says, in the order of its values.
    pub(crate) parts: Vec<String>,
    maps: Vec<Maps>,
    /// Row, site, part.
    rows: Vec<Vec<Vec<String>>>,
    /// By site index: key to row.
    index: Vec<HashMap<String, usize>>,
    /// The sites that the table has sides for, as indexes of the mapping's sites.
    sites: Vec<usize>,
}

/// Where a row was read, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowAt {
    /// `None`: the mapping itself.
    pub(crate) document: Option<Arc<str>>,
    pub(crate) line: u64,
}

impl fmt::Display for RowAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.document {
            Some(document) => write!(f, "{document}, line {}", self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// A row as it was read.
pub(crate) struct Row {
    pub(crate) at: RowAt,
    /// In the order of the table's sites; each in the order of its parts.
    pub(crate) sides: Vec<Vec<String>>,
}

impl Table {
    /// Builds the table; the faults of its rows, with their places.
    pub(crate) fn new(
        parts: Vec<String>,
        sites: Vec<usize>,
        profile: &Profile,
        rows: Vec<Row>,
    ) -> Result<Self, Vec<(RowAt, String)>> {
        let maps: Vec<Maps> = parts.iter().map(|part| profile.kind(part).maps).collect();
        let mut index: Vec<HashMap<String, usize>> = vec![HashMap::with_capacity(rows.len()); sites.len()];
        let mut faults = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            for (site, values) in row.sides.iter().enumerate() {
                if let Some(first) = index[site].insert(key(&maps, values), at) {
                    let same = values.join(", ");
                    let mut first = rows[first].at.clone();
                    first.document = first.document.filter(|document| Some(document) != row.at.document.as_ref());
                    faults.push((
                        row.at.clone(),
                        format!("{same:?} is in {first} already, so there would be two ways for it"),
                    ));
                }
                for (value, maps) in values.iter().zip(&maps) {
                    faults.extend(maps.fault(value).map(|why| (row.at.clone(), format!("{value:?}: {why}"))));
                    if value.is_empty() {
                        faults.push((row.at.clone(), "a value is empty".to_owned()));
                    }
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { parts, maps, rows: rows.into_iter().map(|row| row.sides).collect(), index, sites })
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows whose sides are the same, for a hint.
    pub(crate) fn unchanged(&self) -> usize {
        self.rows.iter().filter(|row| row.windows(2).all(|pair| pair[0] == pair[1])).count()
    }

    /// The parts across; an error says which row is missing.
    pub(crate) fn across(&self, from: usize, to: usize, parts: &Parts) -> Result<Vec<(String, PartValue)>, String> {
        let side = |site: usize| self.sites.iter().position(|s| *s == site);
        let (Some(from), Some(to)) = (side(from), side(to)) else {
            return Err("its table has no side for the site".to_owned());
        };
        let row = |values: &[String]| {
            let found = self.index[from].get(&key(&self.maps, values)).map(|row| &self.rows[*row][to]);
            found.ok_or_else(|| {
                let said: Vec<_> =
                    self.parts.iter().zip(values).map(|(part, value)| format!("{part} {value}")).collect();
                format!("its table of {} rows has none for {}", self.rows.len(), said.join(", "))
            })
        };
        let present: Vec<&PartValue> = self.parts.iter().filter_map(|part| parts.get(part)).collect();
        if present.is_empty() {
            return Ok(Vec::new());
        }
        if let ([part], [PartValue::Many(texts)]) = (self.parts.as_slice(), present.as_slice()) {
            let texts: Result<Vec<String>, String> =
                texts.iter().map(|text| Ok(row(std::slice::from_ref(text))?[0].clone())).collect();
            return Ok(vec![(part.clone(), PartValue::Many(texts?))]);
        }
        let values: Vec<String> = present.iter().filter_map(|value| value.texts().first().cloned()).collect();
        if values.len() != self.parts.len() {
            return Err(format!("its table needs {}, of which the volume lacks some", self.parts.join(" and ")));
        }
        Ok(self.parts.iter().cloned().zip(row(&values)?.iter().cloned().map(PartValue::One)).collect())
    }
}

/// One text for all values of a row's side. They come from YAML, CSV and JSON text; the separator occurs in no address.
fn key(maps: &[Maps], values: &[String]) -> String {
    let mut key = String::new();
    for (value, maps) in values.iter().zip(maps) {
        key.push_str(&maps.canonical(value));
        key.push('\u{0}');
    }
    key
}
