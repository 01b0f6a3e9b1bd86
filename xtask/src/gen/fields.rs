//! Tables of the site mapping's fields, from its JSON Schema, which comes from the types and their doc comments.
//!
//! Law: what can be written in a document is in a table, and says what it means; a type or a field without a doc comment
//! is an error, and so is a type that no table shows.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What a marker names to have the tables of all types that no other marker names.
const OTHERS: &str = "others";

/// One type with fields.
struct Type {
    /// Its name in the schema, e.g. `RuleSpec`.
    name: String,
    /// Where it first stands in a document, e.g. `rules[]`; nothing for the document itself.
    at: String,
    schema: Value,
}

/// The types of a document, in the order in which a reader meets them.
pub(super) struct Fields {
    definitions: Map<String, Value>,
    types: Vec<Type>,
    /// Types that the page names.
    named: BTreeSet<String>,
    shown: BTreeSet<String>,
}

impl Fields {
    /// The types of `schema`, for a page that shows those of `named` where it names them.
    ///
    /// # Errors
    /// A reference leads nowhere.
    pub(super) fn of(schema: &Value, named: &[&str]) -> Result<Self> {
        let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
        let named = named.iter().map(|&name| name.to_owned()).collect();
        let mut fields = Self { definitions, types: Vec::new(), named, shown: BTreeSet::new() };
        let name = schema["title"].as_str().context("the schema has no title")?;
        fields.types.push(Type { name: name.to_owned(), at: String::new(), schema: schema.clone() });
        fields.follow_fields(schema, "")?;
        Ok(fields)
    }

    /// The tables of the types that a marker lists.
    ///
    /// # Errors
    /// There is no such type, it is shown already, or something of it has no description.
    pub(super) fn section(&mut self, list: &str) -> Result<String> {
        let mut tables = String::new();
        for name in list.split(", ") {
            let known = self.types.iter().map(|t| t.name.clone());
            let names: Vec<_> = if name == OTHERS {
                known.filter(|known| !self.named.contains(known)).collect()
            } else {
                known.filter(|known| known == name).collect()
            };
            if names.is_empty() && name != OTHERS {
                let known: Vec<_> = self.types.iter().map(|t| t.name.as_str()).collect();
                bail!("there is no type {name:?} with fields; there are {}", known.join(", "));
            }
            for name in names {
                tables.push_str(&self.table(&name)?);
                if !self.shown.insert(name.clone()) {
                    bail!("{name} is on the page twice");
                }
            }
        }
        Ok(tables)
    }

    /// # Errors
    /// Names the types that the page does not show.
    pub(super) fn all_shown(&self) -> Result<()> {
        let missing: Vec<_> =
            self.types.iter().map(|t| t.name.as_str()).filter(|name| !self.shown.contains(*name)).collect();
        if !missing.is_empty() {
            bail!("no table of the fields of {}; add `<!-- gen fields: {OTHERS} -->`", missing.join(", "));
        }
        Ok(())
    }

    /// The heading, meaning and fields of a type.
    fn table(&self, name: &str) -> Result<String> {
        let of = self.types.iter().find(|t| t.name == name).context("the type is there")?;
        let mut text = format!("#### {}\n\n", title(name, &of.schema));
        if !of.at.is_empty() {
            write!(text, "`{}`: ", of.at)?;
        }
        writeln!(text, "{}\n", meaning(&of.schema, name)?)?;
        text.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        let required: Vec<_> =
            of.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, schema) in of.schema["properties"].as_object().into_iter().flatten() {
            let mut says = meaning(schema, &format!("{name}.{field}"))?.to_owned();
            for (value, what) in self.choices(schema, name)? {
                write!(says, " `{value}`: {}", uncapitalised(&what))?;
            }
            let default = match &schema["default"] {
                _ if required.contains(&field.as_str()) => "required".to_owned(),
                Value::Null if self.plain(schema)?["type"] == "boolean" => "`false`".to_owned(),
                Value::Null => "–".to_owned(),
                Value::Array(list) if list.is_empty() => "–".to_owned(),
                Value::String(text) => format!("`{text}`"),
                value => format!("`{value}`"),
            };
            writeln!(text, "| `{field}` | {} | {default} | {} |", self.kind(schema)?, cell(&says))?;
        }
        if let Some(side) = by_site(&of.schema) {
            let says = meaning(side, &format!("a site's name in {name}"))?;
            let least = of.schema["minProperties"].as_u64().unwrap_or_default();
            let default = if least > 0 { "required" } else { "–" };
            writeln!(text, "| a site's name | {} | {default} | {} |", self.kind(side)?, cell(says))?;
        }
        text.push('\n');
        Ok(text)
    }

    /// Meets the types of all fields, and what is in them.
    fn follow_fields(&mut self, schema: &Value, at: &str) -> Result<()> {
        for (field, schema) in schema["properties"].as_object().cloned().unwrap_or_default() {
            let dot = if at.is_empty() { "" } else { "." };
            self.follow(&schema, &format!("{at}{dot}{field}"))?;
        }
        match by_site(schema) {
            Some(side) if schema.get("properties").is_some() => self.follow(&side.clone(), &format!("{at}.SITE")),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, schema: &Value, at: &str) -> Result<()> {
        if let Some(name) = reference(schema) {
            let schema = self.definition(name)?.clone();
            if schema.get("properties").is_none() {
                return self.follow(&schema, at);
            }
            if self.types.iter().all(|t| t.name != name) {
                self.types.push(Type { name: name.to_owned(), at: at.to_owned(), schema: schema.clone() });
                self.follow_fields(&schema, at)?;
            }
            return Ok(());
        }
        for schema in schema["anyOf"].as_array().into_iter().flatten() {
            self.follow(schema, at)?;
        }
        if let Some(items) = schema.get("items") {
            self.follow(items, &format!("{at}[]"))?;
        }
        if let Some((key, values)) = entries(schema) {
            self.follow(values, &format!("{at}.{}", key.to_uppercase()))?;
        }
        Ok(())
    }

    fn definition(&self, name: &str) -> Result<&Value> {
        self.definitions.get(name).with_context(|| format!("the schema does not define {name}"))
    }

    /// What a schema comes to without references and `null`.
    fn plain<'a>(&'a self, schema: &'a Value) -> Result<&'a Value> {
        let schema = match reference(schema) {
            Some(name) => self.definition(name)?,
            None => schema,
        };
        match alternatives(schema).as_slice() {
            [one] => self.plain(one),
            _ => Ok(schema),
        }
    }

    /// The values of an enumeration, each with its meaning.
    fn choices(&self, schema: &Value, of: &str) -> Result<Vec<(String, String)>> {
        let schema = self.plain(schema)?;
        if let [one, ..] = alternatives(schema).as_slice() {
            return self.choices(one, of);
        }
        let values = schema["oneOf"].as_array().into_iter().flatten();
        let choice = |value: &Value| {
            let name = value["const"].as_str().with_context(|| format!("{of}: not an enumeration: {schema}"))?;
            Ok((name.to_owned(), meaning(value, &format!("{of}, {name}"))?.to_owned()))
        };
        values.map(choice).collect()
    }

    /// What may stand there, in words.
    fn kind(&self, schema: &Value) -> Result<String> {
        if let Some(name) = reference(schema) {
            let definition = self.definition(name)?;
            return match definition.get("properties") {
                Some(_) => {
                    let title = title(name, definition);
                    Ok(format!("[{title}](#{})", title.to_lowercase().replace(' ', "-")))
                }
                None => self.kind(definition),
            };
        }
        let any = alternatives(schema);
        let kinds = any.iter().map(|one| self.kind(one)).collect::<Result<Vec<_>>>()?;
        match kinds.as_slice() {
            [] => {}
            [one, list] if *list == format!("list of {one}") => return Ok(format!("{one}, or a list")),
            several => return Ok(several.join(", or ")),
        }
        let listed = |values: &Vec<Value>, of: fn(&Value) -> &Value| {
            let quoted = values.iter().map(|value| format!("`{}`", of(value).as_str().unwrap_or_default()));
            quoted.collect::<Vec<_>>().join(", ")
        };
        if let Some(values) = schema["oneOf"].as_array() {
            return Ok(listed(values, |value| &value["const"]));
        }
        if let Some(values) = schema["enum"].as_array() {
            let texts: Vec<_> = values.iter().filter(|value| value.is_string()).cloned().collect();
            return Ok(listed(&texts, |value| value));
        }
        if let Some(value) = schema["const"].as_str() {
            return Ok(format!("`{value}`"));
        }
        let named = match &schema["type"] {
            Value::String(name) => Some(name.as_str()),
            Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
            _ => None,
        };
        match named {
            Some("string") => Ok("text".to_owned()),
            Some("boolean") => Ok("true or false".to_owned()),
            Some("integer" | "number") => Ok("number".to_owned()),
            Some("array") if schema["maxItems"] == 2 => Ok(format!("pair of {}", self.kind(&schema["items"])?)),
            Some("array") => Ok(format!("list of {}", self.kind(&schema["items"])?)),
            Some("object") => match entries(schema) {
                Some((key, values)) => Ok(format!("{{{key}: {}}}", self.kind(values)?)),
                None => bail!("an object of nothing: {schema}"),
            },
            _ => bail!("no words for {schema}"),
        }
    }
}

/// The name of the definition that a schema is.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

/// What `anyOf` lists, but for `null`.
fn alternatives(schema: &Value) -> Vec<&Value> {
    schema["anyOf"].as_array().into_iter().flatten().filter(|one| one["type"] != "null").collect()
}

/// What stands under each site's name, in a type that has such entries.
fn by_site(schema: &Value) -> Option<&Value> {
    let patterns = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    patterns.or_else(|| schema.get("additionalProperties")).filter(|values| values.is_object())
}

/// What the keys of a map are called, and its values.
fn entries(schema: &Value) -> Option<(&'static str, &Value)> {
    let key = if schema.get("patternProperties").is_some() { "site" } else { "name" };
    Some((key, by_site(schema)?))
}

/// The type's title, else its name as words: `NodeAffinitySpec` is `Node affinity`.
fn title(name: &str, schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str().filter(|title| *title != name) {
        return title.to_owned();
    }
    let name = name.strip_suffix("Spec").unwrap_or(name);
    let mut title = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_uppercase() {
            title.push(' ');
            title.extend(letter.to_lowercase());
        } else {
            title.push(letter);
        }
    }
    title
}

/// The doc comment.
fn meaning<'a>(schema: &'a Value, of: &str) -> Result<&'a str> {
    let said = schema["description"].as_str().filter(|text| !text.trim().is_empty());
    said.with_context(|| format!("{of} has no doc comment"))
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// One line, in a table, with links to the pages of errors.
fn cell(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let code = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        match code.strip_prefix("LW-") {
            Some(_) => word.replace(code, &format!("[{code}](../errors/{code}.md)")),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "title": "Thing",
            "description": "A thing.",
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "description": "Its | name (LW-0101)."},
                "parts": {"anyOf": [{"$ref": "#/$defs/Parts"}, {"type": "null"}], "description": "Its parts."},
                "color": {"$ref": "#/$defs/Color", "description": "Its color.", "default": "red"},
            },
            "$defs": {
                "Parts": {"anyOf": [{"$ref": "#/$defs/PartSpec"}, {"type": "array", "items": {"$ref": "#/$defs/PartSpec"}}]},
                "PartSpec": {
                    "type": "object",
                    "description": "A part.",
                    "properties": {"loose": {"type": "boolean", "description": "Whether it is loose."}},
                    "additionalProperties": {"type": "integer", "description": "How many are there."},
                },
                "Color": {"oneOf": [{"const": "red", "description": "Red."}, {"const": "blue", "description": "Not red."}]},
            },
        })
    }

    #[test]
    fn tables_say_what_the_types_say() {
        let mut fields = Fields::of(&schema(), &["Thing"]).unwrap();
        let thing = fields.section("Thing").unwrap();
        for row in [
            "| `name` | text | required | Its \\| name ([LW-0101](../errors/LW-0101.md)). |",
            "| `parts` | [Part](#part), or a list | – | Its parts. |",
            "| `color` | `red`, `blue` | `red` | Its color. `red`: red. `blue`: not red. |",
        ] {
            assert!(thing.contains(row), "{row}\n{thing}");
        }
        assert!(fields.all_shown().unwrap_err().to_string().contains("PartSpec"));
        let others = fields.section(OTHERS).unwrap();
        assert!(others.starts_with("#### Part\n\n`parts`: A part.\n"), "{others}");
        assert!(others.contains("| `loose` | true or false | `false` | Whether it is loose. |"), "{others}");
        assert!(others.contains("| a site's name | number | – | How many are there. |"), "{others}");
        fields.all_shown().unwrap();
        assert!(fields.section("Thing").is_err(), "twice");
        assert!(fields.section("Nothing").is_err());
    }

    #[test]
    fn whatever_has_no_doc_comment_is_an_error() {
        let pointers = [
            "/description",
            "/properties/name/description",
            "/properties/parts/description",
            "/$defs/PartSpec/description",
            "/$defs/PartSpec/properties/loose/description",
            "/$defs/PartSpec/additionalProperties/description",
            "/$defs/Color/oneOf/1/description",
        ];
        for pointer in pointers {
            let mut schema = schema();
            *schema.pointer_mut(pointer).unwrap() = " ".into();
            let error = Fields::of(&schema, &[]).unwrap().section(OTHERS).unwrap_err();
            assert!(error.to_string().contains("has no doc comment"), "{pointer}: {error}");
        }
    }
}
