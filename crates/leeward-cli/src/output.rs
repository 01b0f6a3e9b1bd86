//! Prints data on stdout in the form that was asked for.

use crate::args::Output;
use serde::Serialize;

/// Something that can be shown to people.
pub(crate) trait Shown: Serialize {
    /// As text for people, without a line break at the end.
    fn table(&self) -> String;
    /// Its name.
    fn name(&self) -> String;
}

/// Prints `value` on stdout.
///
/// # Errors
/// It cannot be serialized.
pub(crate) fn print(value: &impl Shown, output: Output) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => value.table(),
        Output::Json => serde_json::to_string_pretty(value)?,
        Output::Yaml => serde_saphyr::to_string(value)?.trim_end().to_owned(),
        Output::Name => value.name(),
    };
    println!("{text}");
    Ok(())
}

/// Lines of columns, aligned, without borders: easy to read and to cut.
pub(crate) fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(header.iter().map(|cell| cell.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
