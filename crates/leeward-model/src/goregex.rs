//! Go's regular expressions and replacement templates, as published plug-ins and their users write them.
//!
//! Law: a pattern that is accepted matches what Go's `regexp` matches, and replaces what it replaces. Both engines are of
//! one family (leftmost-first, no backtracking, RE2's syntax), but not the same: here every construct is read by Go's
//! rules and written in a spelling that the `regex` crate reads alike; what Go would refuse or cannot be said is refused by
//! name. Differences that are translated: `\d \s \w \b` are ASCII in Go; in a class `[`, `&&`, `--` and `~~` are plain
//! characters; `\Q…\E`, octal escapes; `\<`; `{` that begins no repetition. (`regexp/syntax/parse.go`, Go 1.25.)

mod template;

use regex::Regex;
use std::fmt;
pub use template::Template;

/// A compiled pattern with Go's meaning.
#[derive(Debug, Clone)]
pub struct GoRegex {
    source: String,
    regex: Regex,
}

impl PartialEq for GoRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
impl Eq for GoRegex {}

impl fmt::Display for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl GoRegex {
    /// # Errors
    /// What Go would refuse, or what has no equal spelling here; named.
    pub fn new(source: &str) -> Result<Self, String> {
        let translated = Translator { text: source.chars().collect(), at: 0, out: String::new() }.run()?;
        let regex = Regex::new(&translated).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes of memory"),
            // The parser's last line says what is wrong; those above draw the translated pattern, which nobody wrote.
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Whether it matches somewhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Every match replaced by the template.
    #[must_use]
    pub fn replace_all(&self, text: &str, with: &Template) -> String {
        self.regex.replace_all(text, |found: &regex::Captures<'_>| with.expand(found)).into_owned()
    }

    /// The references of a template that name no group; in Go they are silently empty.
    #[must_use]
    pub fn unknown_groups<'t>(&self, template: &'t Template) -> Vec<&'t str> {
        let known = |name: &str| match name.parse::<usize>() {
            Ok(number) => number < self.regex.captures_len(),
            Err(_) => self.regex.capture_names().flatten().any(|known| known == name),
        };
        template.groups().filter(|name| !known(name)).collect()
    }
}

/// Reads by Go's rules, writes by the `regex` crate's.
struct Translator {
    text: Vec<char>,
    at: usize,
    out: String,
}

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0C\r ";
const WORD: &str = "0-9A-Za-z_";

impl Translator {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn run(mut self) -> Result<String, String> {
        let mut repeated: Option<usize> = None;
        while let Some(c) = self.peek() {
            let start = self.at;
            self.at += 1;
            let mut repeats = false;
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    repeats = true;
                    self.out.push(c);
                }
                '{' => match self.repetition()? {
                    Some(text) => {
                        repeats = true;
                        self.out.push_str(&text);
                    }
                    None => self.literal('{'),
                },
                '.' | '^' | '$' | '|' | ')' => self.out.push(c),
                _ => self.literal(c),
            }
            if repeats {
                if self.peek() == Some('?') {
                    self.at += 1;
                    self.out.push('?');
                }
                if let Some(first) = repeated {
                    let twice: String = self.text[first..self.at].iter().collect();
                    return Err(format!("invalid nested repetition operator: {twice:?}"));
                }
                repeated = Some(start);
            } else {
                repeated = None;
            }
        }
        Ok(self.out)
    }

    /// After `{`: the repetition; `None` if it is a plain brace.
    fn repetition(&mut self) -> Result<Option<String>, String> {
        let Some(end) = self.text[self.at..].iter().position(|c| *c == '}') else { return Ok(None) };
        let inner: String = self.text[self.at..self.at + end].iter().collect();
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        // Go reads no number with a leading zero.
        let number = |text: &str| digits(text) && (text == "0" || !text.starts_with('0'));
        let (min, max) = inner.split_once(',').map_or((inner.as_str(), None), |(min, max)| (min, Some(max)));
        if !number(min) || !max.is_none_or(|max| max.is_empty() || number(max)) {
            return Ok(None);
        }
        let large = |text: &str| text.parse::<u32>().is_ok_and(|n| n <= 1000);
        let upper = max.filter(|max| !max.is_empty());
        let ordered = upper.is_none_or(|max| max.parse::<u32>().ok() >= min.parse::<u32>().ok());
        if !large(min) || !upper.is_none_or(large) || !ordered {
            return Err(format!("invalid repeat count: {{{inner}}}; Go allows at most 1000"));
        }
        self.at += end + 1;
        Ok(Some(format!("{{{inner}}}")))
    }

    /// After `(`.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.peek() != Some('?') {
            return Ok(());
        }
        let behind = self.starts_with("?<=") || self.starts_with("?<!");
        if !behind && (self.starts_with("?P<") || self.starts_with("?<")) {
            self.at += if self.starts_with("?P<") { 3 } else { 2 };
            let end = self.text[self.at..].iter().position(|c| *c == '>').ok_or("a group's name is not closed")?;
            let name: String = self.text[self.at..self.at + end].iter().collect();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("invalid name of a group: {name:?}"));
            }
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(format!("a group's name that begins with a digit: {name:?}; rename it"));
            }
            self.at += end + 1;
            self.out.push_str(&format!("?P<{name}>"));
            return Ok(());
        }
        let rest = &self.text[self.at + 1..];
        let end = rest.iter().position(|c| !"imsUuxRa-".contains(*c)).unwrap_or(rest.len());
        let flags: String = rest[..end].iter().collect();
        let close = rest.get(end).copied().ok_or("a group is not closed")?;
        if !matches!(close, ':' | ')') {
            return Err(format!("(?{flags}{close} is not in Go's syntax (no look-around, no flags but i, m, s and U)"));
        }
        if !flags.chars().all(|c| "imsU-".contains(c)) {
            return Err(format!("(?{flags} is not in Go's syntax (no look-around, no flags but i, m, s and U)"));
        }
        self.out.push_str(&format!("?{flags}{close}"));
        self.at += end + 2;
        Ok(())
    }

    /// After `\`, outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let c = self.peek().ok_or("trailing backslash")?;
        match c {
            'Q' => {
                self.at += 1;
                while self.at < self.text.len() && !self.starts_with("\\E") {
                    self.literal(self.text[self.at]);
                    self.at += 1;
                }
                self.at = (self.at + 2).min(self.text.len());
                return Ok(());
            }
            'A' | 'z' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => {
                return Err(
                    r"\B is of ASCII words in Go, for which there is no spelling here; write what may not stand there"
                        .to_owned(),
                );
            }
            _ => {
                if let Some(class) = self.perl()? {
                    self.out.push_str(&format!("[{class}]"));
                    return Ok(());
                }
                let c = self.character()?;
                self.literal(c);
                return Ok(());
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A class of one letter after `\`, to stand in brackets; `None` if there is none.
    fn perl(&mut self) -> Result<Option<String>, String> {
        let class = match self.peek() {
            Some('d') => DIGIT.to_owned(),
            Some('s') => SPACE.to_owned(),
            Some('w') => WORD.to_owned(),
            Some('D') => format!("[^{DIGIT}]"),
            Some('S') => format!("[^{SPACE}]"),
            Some('W') => format!("[^{WORD}]"),
            Some(p @ ('p' | 'P')) => return self.unicode(p == 'P').map(Some),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(class))
    }

    fn unicode(&mut self, negated: bool) -> Result<String, String> {
        self.at += 1;
        let mut name: String = match self.peek() {
            Some('{') => {
                let end = self.text[self.at..].iter().position(|c| *c == '}').ok_or(r"\p{ is not closed")?;
                let name = self.text[self.at + 1..self.at + end].iter().collect();
                self.at += end + 1;
                name
            }
            Some(c) => {
                self.at += 1;
                c.to_string()
            }
            None => return Err(r"\p without a class".to_owned()),
        };
        let mut negated = negated;
        if let Some(rest) = name.strip_prefix('^') {
            negated = !negated;
            name = rest.to_owned();
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("invalid character class: {name:?}"));
        }
        Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }))
    }

    /// The one character that an escape stands for.
    fn character(&mut self) -> Result<char, String> {
        let c = self.peek().ok_or("trailing backslash")?;
        self.at += 1;
        let octal = |c: Option<char>| c.and_then(|c| c.to_digit(8));
        let code = match c {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '1'..='7' if octal(self.peek()).is_none() => {
                return Err(format!("\\{c} is a back-reference, which Go does not have"));
            }
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                code
            }
            'x' => self.hexadecimal()?,
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(c),
            c => return Err(format!("invalid escape sequence: \\{c}")),
        };
        char::from_u32(code).ok_or_else(|| format!("invalid character {code:x}"))
    }

    fn hexadecimal(&mut self) -> Result<u32, String> {
        let digits: String = if self.peek() == Some('{') {
            let end = self.text[self.at..].iter().position(|c| *c == '}').ok_or(r"\x{ is not closed")?;
            let digits = self.text[self.at + 1..self.at + end].iter().collect();
            self.at += end + 1;
            digits
        } else {
            let two = self.text.get(self.at..self.at + 2).ok_or(r"\x needs two digits")?.iter().collect();
            self.at += 2;
            two
        };
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        valid
            .then(|| u32::from_str_radix(&digits, 16).ok())
            .flatten()
            .ok_or_else(|| format!("invalid escape sequence: \\x{digits}"))
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), String> {
        let unclosed = || "missing closing ]".to_owned();
        let mut class = String::from("[");
        if self.peek() == Some('^') {
            self.at += 1;
            class.push('^');
        }
        let mut first = true;
        loop {
            let c = self.peek().ok_or_else(unclosed)?;
            if c == ']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            if self.starts_with("[:") {
                let rest: String = self.text[self.at + 2..].iter().collect();
                if let Some(end) = rest.find(":]") {
                    let name = &rest[..end];
                    const NAMES: [&str; 14] = [
                        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
                        "space", "upper", "word", "xdigit",
                    ];
                    if !NAMES.contains(&name.trim_start_matches('^')) {
                        return Err(format!("invalid character class range: [:{name}:]"));
                    }
                    class.push_str(&format!("[:{name}:]"));
                    self.at += 4 + name.chars().count();
                    continue;
                }
            }
            if c == '\\' {
                self.at += 1;
                if let Some(perl) = self.perl()? {
                    class.push_str(&perl);
                    continue;
                }
                self.at -= 1;
            }
            let low = self.class_character()?;
            let mut high = low;
            if self.peek() == Some('-') && self.text.get(self.at + 1).is_some_and(|c| *c != ']') {
                self.at += 1;
                high = self.class_character()?;
                if high < low {
                    return Err(format!("invalid character class range: {low}-{high}"));
                }
            }
            class.push_str(&format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(low), u32::from(high)));
        }
        class.push(']');
        self.out.push_str(&class);
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, String> {
        let c = self.peek().ok_or_else(|| "missing closing ]".to_owned())?;
        self.at += 1;
        if c == '\\' { self.character() } else { Ok(c) }
    }
}

#[cfg(test)]
mod tests;
