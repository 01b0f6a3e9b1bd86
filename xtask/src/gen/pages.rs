//! Documentation pages of which parts are generated: what stands between `<!-- gen WHAT: ARGUMENT -->` and
//! `<!-- end gen -->`. All else of such a page is written by hand, and stays as it is.

use super::{examples, fields, profiles, rights};
use crate::binaries::repository;
use anyhow::{Context, Result, bail};

/// The pages, in the repository.
pub(super) const PAGES: [&str; 2] = ["docs/reference/mapping.md", "docs/reference/plug-ins.md"];

const BEGIN: &str = "<!-- gen ";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- end gen -->";

/// Writes the generated parts of all pages anew.
///
/// # Errors
/// A page has a marker that nothing answers, or what a marker names is not there.
pub(super) fn generate() -> Result<()> {
    for page in PAGES {
        let path = repository().join(page);
        let text = fs_err::read_to_string(&path)?;
        fs_err::write(&path, rendered(page, &text)?)?;
    }
    Ok(())
}

/// The page with its generated parts anew.
fn rendered(page: &str, text: &str) -> Result<String> {
    let mut fields = fields::Fields::of(&leeward_model::mapping::schema(), &named(text))?;
    let mut shown = Vec::new();
    let text = replace(text, |what, argument| match what {
        "fields" => fields.section(argument),
        "example" => {
            shown.push(argument.to_owned());
            examples::example(argument)
        }
        "profiles" => profiles::table(),
        "rights" => rights::table(argument),
        _ => bail!("nothing generates {what:?}; there are fields, example, profiles and rights"),
    })
    .with_context(|| page.to_owned())?;
    if shown.is_empty() {
        return Ok(text);
    }
    examples::all_families(&shown).with_context(|| page.to_owned())?;
    fields.all_shown().with_context(|| page.to_owned())?;
    Ok(text)
}

/// The types whose fields the page shows by name.
fn named(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(BEGIN)?.strip_suffix(BEGIN_END)?.strip_prefix("fields: "))
        .flat_map(|types| types.split(", "))
        .collect()
}

/// `text` with the lines between each pair of markers as `part` says, given the first marker's two words.
fn replace(text: &str, mut part: impl FnMut(&str, &str) -> Result<String>) -> Result<String> {
    let mut written = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let place = || format!("line {}", number + 1);
        if line == END {
            bail!("{}: {END} without a beginning", place());
        }
        written.push_str(line);
        written.push('\n');
        let Some(marker) = line.strip_prefix(BEGIN) else { continue };
        let marker =
            marker.strip_suffix(BEGIN_END).with_context(|| format!("{}: does not end in{BEGIN_END}", place()))?;
        let (what, argument) = marker.split_once(": ").unwrap_or((marker, ""));
        let ends = lines.by_ref().map(|(_, line)| line).find(|line| *line == END || line.starts_with(BEGIN));
        if ends != Some(END) {
            bail!("{}: {line} has no {END}", place());
        }
        let generated = part(what, argument).with_context(place)?;
        written.push_str(&format!("\n{}\n\n{END}\n", generated.trim_matches('\n')));
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `cargo xtask gen --check` says too; here it is among the tests.
    #[test]
    fn every_page_is_as_it_would_be_generated() {
        for page in PAGES {
            let text = fs_err::read_to_string(repository().join(page)).unwrap();
            let wanted = rendered(page, &text).unwrap_or_else(|error| panic!("{error:#}"));
            let same = text.lines().zip(wanted.lines()).take_while(|(has, wanted)| has == wanted).count();
            assert!(text == wanted, "{page} is out of date from line {}; run `cargo xtask gen`", same + 1);
        }
    }

    #[test]
    fn only_what_is_between_markers_changes() {
        let page = "a\n<!-- gen x: y z -->\nold\n<!-- end gen -->\nb\n<!-- gen w -->\n<!-- end gen -->\n";
        let new = replace(page, |what, argument| Ok(format!("{what}/{argument}\n"))).unwrap();
        let wanted =
            "a\n<!-- gen x: y z -->\n\nx/y z\n\n<!-- end gen -->\nb\n<!-- gen w -->\n\nw/\n\n<!-- end gen -->\n";
        assert_eq!(new, wanted);
        assert_eq!(replace(&new, |what, argument| Ok(format!("{what}/{argument}\n"))).unwrap(), wanted);
    }

    #[test]
    fn markers_come_in_pairs() {
        for page in [
            "<!-- gen x: y -->\n",
            "<!-- end gen -->\n",
            "<!-- gen x -->\n<!-- gen y -->\n<!-- end gen -->\n",
            "<!-- gen x\n<!-- end gen -->\n",
        ] {
            assert!(replace(page, |_, _| Ok(String::new())).is_err(), "{page}");
        }
        assert!(rendered("p", "<!-- gen nonsense -->\n<!-- end gen -->\n").is_err());
    }
}
