//! nfs-ganesha's configuration file, edited in place.
//!
//! Laws: only the one `EXPORT` block with the given `Export_Id` changes, and in it only `Access_Type` (its own and those of
//! its `CLIENT` blocks, which would otherwise let single clients write on). [`read_write`] undoes [`read_only`] to the
//! byte. Making read-only twice is making it once.
//!
//! What was there before stands in a comment behind each changed value, so that the file alone tells how to undo the edit.
//! The comment ends its line: ganesha's statements may share one.

use std::ops::Range;

/// The configuration is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum GaneshaError {
    #[error(
        "it has no EXPORT block with Export_Id = {0}; correct nfs.ganesha.exportId or write the block into this very file"
    )]
    NoExport(u16),
    #[error("it has more than one EXPORT block with Export_Id = {0}; remove all but one")]
    Doubled(u16),
    #[error("its braces do not match; correct the file")]
    Unbalanced,
    #[error("line {0} has a string that does not end, or a backslash before its double quote; correct it")]
    Quote(usize),
    #[error("the Access_Type of EXPORT {0} is not written as `Access_Type = …;` in one line; do so")]
    Spread(u16),
}

const WAS: &str = "# leeward-was ";
const ABSENT: &str = "-";
/// Who has one of these cannot write.
const HARMLESS: [&str; 3] = ["RO", "NONE", "MDONLY_RO"];

/// A word, a sign, or a comment, and where it stands.
#[derive(Debug, Clone)]
struct Token<'a> {
    text: &'a str,
    at: Range<usize>,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// Whether who has it for his access cannot write.
    fn is_harmless(&self) -> bool {
        HARMLESS.iter().any(|harmless| self.is(harmless))
    }
}

/// `text` in tokens; white space and comments are left out, strings are one token. Where a double quote has a backslash before it,
/// ganesha goes on to the last one there is: that is not edited.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, GaneshaError> {
    let mut found = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let mut end = start + c.len_utf8();
        let mut extend = |while_true: &dyn Fn(char) -> bool| {
            while let Some((at, c)) = chars.next_if(|(_, c)| while_true(*c)) {
                end = at + c.len_utf8();
            }
            end
        };
        match c {
            '#' => {
                extend(&|c| c != '\n');
                continue;
            }
            _ if c.is_whitespace() => continue,
            '"' | '\'' => {
                let inner = extend(&|d| d != c);
                let quote = chars.next().filter(|_| c == '\'' || !text[..inner].ends_with('\\'));
                let line = text[..start].matches('\n').count() + 1;
                end = inner + quote.ok_or(GaneshaError::Quote(line))?.1.len_utf8();
            }
            '{' | '}' | '=' | ';' | ',' => {}
            _ => end = extend(&|c| !c.is_whitespace() && !"{}=;,#\"'".contains(c)),
        }
        found.push(Token { text: &text[start..end], at: start..end });
    }
    Ok(found)
}

/// The tokens between the braces of the `EXPORT` block with that id.
fn export<'a, 't>(all: &'t [Token<'a>], id: u16) -> Result<&'t [Token<'a>], GaneshaError> {
    let (mut depth, mut start, mut found) = (0_usize, None, None);
    for (at, token) in all.iter().enumerate() {
        match token.text {
            "{" => {
                if depth == 0 && at.checked_sub(1).is_some_and(|before| all[before].is("EXPORT")) {
                    start = Some(at + 1);
                }
                depth += 1;
            }
            "}" => {
                depth = depth.checked_sub(1).ok_or(GaneshaError::Unbalanced)?;
                if depth == 0
                    && let Some(start) = start.take()
                {
                    let inside = &all[start..at];
                    if export_id(inside) == Some(id) && found.replace(inside).is_some() {
                        return Err(GaneshaError::Doubled(id));
                    }
                }
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(GaneshaError::Unbalanced);
    }
    found.ok_or(GaneshaError::NoExport(id))
}

/// The values that `word` is given in a block, and whether it is the block's own (not of a block in it). None where the block ends
/// before the value.
fn assigned<'a, 't>(inside: &'t [Token<'a>], word: &str) -> Vec<(Option<&'t Token<'a>>, bool)> {
    let (mut depth, mut found) = (0_usize, Vec::new());
    for (at, token) in inside.iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ if token.is(word) && inside.get(at + 1).is_some_and(|next| next.text == "=") => {
                found.push((inside.get(at + 2), depth == 0));
            }
            _ => {}
        }
    }
    found
}

/// Of the block itself; in octal or hexadecimal where ganesha takes it for that.
fn export_id(inside: &[Token<'_>]) -> Option<u16> {
    let number = assigned(inside, "Export_Id").into_iter().find(|(_, own)| *own)?.0?.text;
    let (digits, base) = match (number.strip_prefix("0x").or(number.strip_prefix("0X")), number.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (number, 10),
    };
    u16::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}

/// The values of all `Access_Type` in the block, and whether the block itself has one.
fn values<'a, 't>(inside: &'t [Token<'a>]) -> (Vec<&'t Token<'a>>, bool) {
    let found = assigned(inside, "Access_Type");
    (found.iter().filter_map(|(value, _)| *value).collect(), found.iter().any(|(_, own)| *own))
}

/// What follows an edited value: the end of its statement, then the comment with the old value. Returns the whole range
/// that `read_only` wrote, and the old value with the end of its statement. What else stands in such a comment is somebody's own.
fn mark<'a>(text: &'a str, value: &Token<'_>) -> Option<(Range<usize>, &'a str)> {
    let rest = text.get(value.at.end..)?.strip_prefix("; ")?.strip_prefix(WAS)?;
    let old = rest.split('\n').next()?;
    let end = text.len() - rest.len() + old.len() + 1;
    (end <= text.len() && (old == ABSENT || is_statement_end(old))).then_some((value.at.start..end, old))
}

/// Whether this is a value by which somebody may write, with the end of its statement, and nothing besides.
fn is_statement_end(text: &str) -> bool {
    let tokens = tokens(text).unwrap_or_default();
    matches!(&tokens[..], [value, end] if value.at.start == 0 && !value.is_harmless() && end.is(";") && end.at.end == text.len())
}

/// The configuration with the export read-only for every client.
pub(super) fn read_only(text: &str, id: u16) -> Result<String, GaneshaError> {
    let all = tokens(text)?;
    let inside = export(&all, id)?;
    let (values, own) = values(inside);
    if inside.last().is_some_and(|last| last.text == "=") {
        return Err(GaneshaError::Spread(id));
    }
    let mut edited = text.to_owned();
    for value in values.iter().rev() {
        // No access at all, or no access but to read: nothing to take away.
        if value.is_harmless() {
            continue;
        }
        let is_word = !matches!(value.text, "{" | "}" | "=" | ";" | ",");
        let rest = &text[value.at.end..];
        let end = rest.find(';').filter(|&end| is_word && rest[..end].trim().is_empty() && !rest[..end].contains('\n'));
        let end = value.at.end + end.ok_or(GaneshaError::Spread(id))? + 1;
        // Who might see names only does not get to read.
        let less = if value.is("MDONLY") { "MDONLY_RO" } else { "RO" };
        edited.replace_range(value.at.start..end, &format!("{less}; {WAS}{}\n", &text[value.at.start..end]));
    }
    if !own && let Some(start) = block_start(&all, inside, text) {
        // Without one of its own the block has the default's, which may be RW.
        edited.insert_str(start, &format!(" Access_Type = RO; {WAS}{ABSENT}\n"));
    }
    Ok(edited)
}

/// The byte after the block's opening brace.
fn block_start(all: &[Token<'_>], inside: &[Token<'_>], text: &str) -> Option<usize> {
    let first = inside.first()?.at.start;
    let brace = all.iter().rev().find(|token| token.at.end <= first)?;
    text[brace.at.clone()].eq("{").then_some(brace.at.end)
}

/// The configuration with the export as it was before [`read_only`]; if that was not Leeward's doing, writable.
pub(super) fn read_write(text: &str, id: u16) -> Result<String, GaneshaError> {
    let all = tokens(text)?;
    let inside = export(&all, id)?;
    let (values, own) = values(inside);
    let mut edited = text.to_owned();
    let mut undone = false;
    for value in values.iter().rev() {
        let Some((range, old)) = mark(text, value) else { continue };
        undone = true;
        if old == ABSENT {
            // " Access_Type = " stands before the value.
            let start = text[..value.at.start].rfind(" Access_Type").unwrap_or(range.start);
            edited.replace_range(start..range.end, "");
        } else {
            edited.replace_range(range, old);
        }
    }
    // Whoever may write by what stands there was let in by somebody: there is no fence.
    let writes = values.iter().any(|value| !value.is_harmless());
    if undone || !own || writes {
        return Ok(edited);
    }
    // Made read-only by hand: the block's own value only; single clients keep what was decided for them.
    let own = assigned(inside, "Access_Type").into_iter().filter(|(_, own)| *own);
    for value in own.filter_map(|(value, _)| value).filter(|value| value.is("RO")) {
        edited.replace_range(value.at.clone(), "RW");
    }
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"# EXPORT { Export_Id = 1; }
NFS_CORE_PARAM { Protocols = 3, 4; Bind_addr = 10.77.0.1; }
EXPORT { Export_Id = 1; Path = "/srv/a {;}"; Pseudo = /export; access_type = RW; Squash = No_Root_Squash;
  # CLIENT { Access_Type = NONE; }
  CLIENT { Clients = 10.77.0.9; Access_Type = RW; Squash = Root; }
  CLIENT { Clients = 10.77.0.8; Access_Type = NONE; }
  FSAL { Name = VFS; } }
export
{
    Export_Id = 11;
    Access_Type=MDONLY ;
}
EXPORT { Export_Id = 12; Pseudo = /x; CLIENT { Clients = *; Access_Type = RW; } }
"#;

    #[test]
    fn only_the_one_export_becomes_read_only() {
        let ro = read_only(TWO, 1).unwrap();
        assert!(ro.contains("access_type = RO; # leeward-was RW;\n Squash = No_Root_Squash;"), "{ro}");
        assert!(ro.contains("Clients = 10.77.0.9; Access_Type = RO; # leeward-was RW;\n Squash = Root;"), "{ro}");
        assert!(ro.contains("Clients = 10.77.0.8; Access_Type = NONE;"), "{ro}");
        assert!(ro.contains("Access_Type=MDONLY ;") && ro.contains("Clients = *; Access_Type = RW;"), "{ro}");
        let other = read_only(TWO, 11).unwrap();
        assert!(other.contains("Access_Type=MDONLY_RO; # leeward-was MDONLY ;\n\n}"), "{other}");
        let absent = read_only(TWO, 12).unwrap();
        assert!(absent.contains("EXPORT { Access_Type = RO; # leeward-was -\n Export_Id = 12;"), "{absent}");
    }

    #[test]
    fn read_write_undoes_it_to_the_byte() {
        for id in [1, 11, 12] {
            let ro = read_only(TWO, id).unwrap();
            assert_ne!(ro, TWO);
            assert_eq!(read_only(&ro, id).unwrap(), ro, "twice is once");
            let rw = read_write(&ro, id).unwrap();
            assert_eq!(rw, TWO);
            assert_eq!(read_write(&rw, id).unwrap(), TWO, "nothing to undo");
        }
    }

    #[test]
    fn a_hand_made_fence_is_taken_away_too() {
        let by_hand = "EXPORT { Export_Id = 1; Access_Type = RO; CLIENT { Access_Type = RO; } }";
        let expected = "EXPORT { Export_Id = 1; Access_Type = RW; CLIENT { Access_Type = RO; } }";
        assert_eq!(read_only(by_hand, 1).unwrap(), by_hand);
        assert_eq!(read_write(by_hand, 1).unwrap(), expected);
    }

    #[test]
    fn what_is_writable_is_not_opened_further() {
        let one = "EXPORT { Export_Id = 1; Access_Type = RO; CLIENT { Access_Type = RW; } }";
        let fenced = read_only(one, 1).unwrap();
        assert_eq!(read_write(&fenced, 1).unwrap(), one);
        assert_eq!(read_write(one, 1).unwrap(), one, "there is no fence any more");
    }

    #[test]
    fn a_value_is_a_word() {
        for value in ["{ ; }", "} ", "", ";", "=;", ",RW;"] {
            let text = format!("EXPORT {{ Export_Id = 1; Access_Type = {value} }}");
            let said = read_only(&text, 1);
            assert!(matches!(said, Err(GaneshaError::Spread(1) | GaneshaError::Unbalanced)), "{text}: {said:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_ganesha_reads_them() {
        let texts = [
            "EXPORT { Export_Id = 010; }",
            "EXPORT { Export_Id = 0x8; }",
            "EXPORT { CLIENT { Export_Id = 1; } Export_Id = 8; }",
        ];
        for text in texts {
            assert!(read_only(text, 8).is_ok(), "{text}");
            assert_eq!(read_only(text, 10), Err(GaneshaError::NoExport(10)), "{text}");
            assert_eq!(read_only(text, 1), Err(GaneshaError::NoExport(1)), "{text}");
        }
        assert_eq!(read_only("EXPORT { Export_Id = +1; }", 1), Err(GaneshaError::NoExport(1)));
    }

    #[test]
    fn a_string_ends_in_one_place() {
        for (string, line) in [(r#""a\"; Access_Type = RW; # ""#, 2), (r#""a\\""#, 2), ("'a", 2), ("\"a\n", 2)] {
            let text = format!("EXPORT {{ Export_Id = 1;\nPath = {string}; }}");
            assert_eq!(read_only(&text, 1), Err(GaneshaError::Quote(line)), "{text}");
            assert_eq!(read_write(&text, 1), Err(GaneshaError::Quote(line)), "{text}");
        }
        assert!(read_only("EXPORT { Export_Id = 1; Path = \"a\\b\"; }", 1).is_ok());
        assert!(read_only("EXPORT { Export_Id = 1; Path = 'a\\'; }", 1).is_ok());
    }

    #[test]
    fn what_is_not_there_is_not_edited() {
        assert_eq!(read_only(TWO, 2), Err(GaneshaError::NoExport(2)));
        assert_eq!(read_only("EXPORT { Export_Id = 1; ", 1), Err(GaneshaError::Unbalanced));
        assert_eq!(read_only("EXPORT { Export_Id = 1; Access_Type = RW\n; }", 1), Err(GaneshaError::Spread(1)));
        assert_eq!(read_only("}", 1), Err(GaneshaError::Unbalanced));
        let doubled = "EXPORT { Export_Id = 1; } EXPORT { Export_Id = 1; }";
        assert_eq!(read_only(doubled, 1), Err(GaneshaError::Doubled(1)));
        assert_eq!(read_only("EXPORT_DEFAULTS { Export_Id = 1; }", 1), Err(GaneshaError::NoExport(1)));
    }
}
