//! What a fence makes of the configuration of an NFS server: the kernel's table of exports, or nfs-ganesha's. Both are read here
//! once more, as their servers read them, by other code than the mover's.

use leeward_mover::config::{Ganesha, Kernel, Server};
use leeward_mover::fence::To;
use std::ops::Range;

/// The paths that are exported by the kernel, by an input's first byte.
const PATHS: [&str; 2] = ["/srv/vm", "/srv/a b"];
/// The first byte's bit for nfs-ganesha; above it stands the export's number.
pub(crate) const GANESHA: u8 = 1;
/// What the mover writes before what was there.
const MARK: &str = "leeward-was";

/// A byte for the server and the export, then its configuration.
///
/// A fence that is made is undone to the byte, and nothing where there is none; twice is once, both ways. Whoever has the export, by
/// the server's reading, can only read; nothing changes but its entries, and what the server would not read, or in two ways, is
/// refused.
pub(crate) fn exports(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let number = kind >> 1;
    let (server, reading) = if kind & GANESHA == 0 {
        let path = PATHS[usize::from(number) % PATHS.len()];
        let kernel = Kernel { exports: "exports".into(), path: path.into(), exportfs: "exportfs".into() };
        (Server::Kernel(kernel), Reading::Kernel(path))
    } else {
        let ganesha = Ganesha { config: "conf".into(), pid_file: "pid".into(), export_id: number.into() };
        (Server::Ganesha(ganesha), Reading::Ganesha(number.into()))
    };
    let before = reading.entries(text);
    for to in [To::ReadOnly, To::ReadWrite] {
        let Ok(edited) = server.edited(text, to) else { continue };
        assert_eq!(server.edited(&edited, to).as_ref(), Ok(&edited), "twice is not once");
        let Some(before) = &before else { panic!("it is not understood, and changed") };
        let Some(after) = reading.entries(&edited) else { panic!("it is not understood any more:\n{edited}") };
        let others = |text: &str, entries: &[Entry]| -> Vec<String> {
            entries.iter().filter(|entry| !entry.ours).map(|entry| text[entry.at.clone()].to_owned()).collect()
        };
        assert_eq!(others(text, before), others(&edited, &after), "another export changed");
        let ours = |entries: &[Entry]| entries.iter().filter(|entry| entry.ours).count();
        assert_eq!(ours(before), ours(&after), "the export is another:\n{edited}");
        if to == To::ReadOnly {
            let writable = after.iter().find(|entry| entry.reaches && entry.writable);
            assert!(writable.is_none(), "somebody may write:\n{edited}");
            if edited != text && !text.contains(MARK) {
                assert_eq!(server.edited(&edited, To::ReadWrite).as_deref(), Ok(text), "not undone");
                assert_eq!(server.edited(text, To::ReadWrite).as_deref(), Ok(text), "undone where there is no fence");
            }
        }
    }
}

/// Who reads a configuration, and which export is meant.
enum Reading {
    Kernel(&'static str),
    Ganesha(u64),
}

/// A part of a configuration that is about one export, or about none.
struct Entry {
    at: Range<usize>,
    /// It is that of the export.
    ours: bool,
    /// What it exports is the export, in it, or around it.
    reaches: bool,
    /// By it somebody may write.
    writable: bool,
}

impl Reading {
    /// The entries; none if the server would not read it.
    fn entries(&self, text: &str) -> Option<Vec<Entry>> {
        match self {
            Self::Kernel(path) => table(text, path),
            Self::Ganesha(id) => blocks(text, *id),
        }
    }
}

/// The entries of a table of exports: exports(5).
fn table(text: &str, path: &str) -> Option<Vec<Entry>> {
    let (mut found, mut words, mut start) = (Vec::new(), Vec::new(), 0);
    let (mut word, mut quoted, mut comment) = (String::new(), false, false);
    let mut chars = text.char_indices().chain([(text.len(), '\n')]).peekable();
    while let Some((at, c)) = chars.next() {
        let joins = c == '\\' && chars.peek().is_some_and(|(next, c)| *c == '\n' && *next < text.len()) && !comment;
        let blank = [' ', '\t', '\n'].contains(&c) && !quoted;
        if (c == '\n' || joins) && quoted || c.is_control() && !['\n', '\t'].contains(&c) {
            return None;
        }
        if (blank || joins) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        match c {
            '\n' => {
                comment = false;
                let at = start..text.len().min(at + 1);
                start = at.end;
                let words = std::mem::take(&mut words);
                found.extend(words.split_first().map(|(first, words)| entry(at, first, words, path)));
            }
            _ if joins => drop(chars.next()),
            _ if blank || comment => {}
            '#' if word.is_empty() => comment = true,
            _ => {
                quoted ^= c == '"';
                word.push(c);
            }
        }
    }
    Some(found)
}

fn entry(at: Range<usize>, first: &str, words: &[String], path: &str) -> Entry {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (theirs, ours) = (parts(&plain(first)), parts(path));
    let reaches = theirs.starts_with(&ours) || ours.starts_with(&theirs);
    let writable = words.iter().any(|word| {
        let word = plain(word);
        let options = match word.strip_prefix('-') {
            Some(options) => options,
            None => word.split_once('(').map_or("", |(_, options)| options.split(')').next().unwrap_or_default()),
        };
        options.split(',').any(|option| option.trim() == "rw")
    });
    Entry { at, ours: theirs == ours, reaches, writable }
}

/// A word without its quotes, with characters for octal numbers.
fn plain(word: &str) -> String {
    let mut read = Vec::new();
    for byte in word.bytes().filter(|byte| *byte != b'"') {
        read.push(byte);
        let number = read.len().checked_sub(4).and_then(|at| std::str::from_utf8(read[at..].strip_prefix(b"\\")?).ok());
        let number = number.filter(|digits| digits.bytes().all(|digit| (b'0'..b'8').contains(&digit)));
        if let Some(number) = number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            read.truncate(read.len() - 4);
            read.push(number);
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// The blocks of nfs-ganesha's configuration, and what stands between them.
fn blocks(text: &str, id: u64) -> Option<Vec<Entry>> {
    let words = lexed(text)?;
    let word = |at: usize| words.get(at).map_or("", |at| &text[at.clone()]);
    let (mut found, mut depth, mut start, mut opened) = (Vec::new(), 0_usize, 0, 0);
    let between = |at: Range<usize>| Entry { at, ours: false, reaches: false, writable: false };
    for (at, place) in words.iter().enumerate() {
        match word(at) {
            "{" => {
                if depth == 0 {
                    found.push(between(start..place.start));
                    (start, opened) = (place.start, at);
                }
                depth += 1;
            }
            "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let is_export = opened.checked_sub(1).is_some_and(|before| is(word(before), "EXPORT"));
                    let inside: Vec<&str> = (opened + 1..at).map(word).collect();
                    let ours = is_export && own(&inside, "Export_Id").next().and_then(number) == Some(id);
                    found.push(Entry {
                        at: start..place.end,
                        ours,
                        reaches: ours,
                        writable: ours && writable(&inside),
                    });
                    start = place.end;
                }
            }
            _ => {}
        }
    }
    found.push(between(start..text.len()));
    (depth == 0).then_some(found)
}

fn is(word: &str, name: &str) -> bool {
    word.eq_ignore_ascii_case(name)
}

/// The values of a block's own statements of this name.
fn own<'a>(inside: &'a [&'a str], name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut depth = 0_usize;
    inside.windows(3).filter_map(move |three| {
        match three[0] {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0 && is(three[0], name) && three[1] == "=").then_some(three[2])
    })
}

/// As nfs-ganesha reads numbers.
fn number(word: &str) -> Option<u64> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, base) = match hexadecimal {
        Some(digits) => (digits, 16),
        None => (word, if word.len() > 1 && word.starts_with('0') { 8 } else { 10 }),
    };
    u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}

/// Whether a block lets anybody write; one that says nothing has the default's access, which may be that.
fn writable(inside: &[&str]) -> bool {
    let harmless = |value: &str| ["RO", "NONE", "MDONLY_RO"].iter().any(|harmless| is(value, harmless));
    let all = inside.windows(3).filter(|three| is(three[0], "Access_Type") && three[1] == "=");
    own(inside, "Access_Type").next().is_none() || all.into_iter().any(|three| !harmless(three[2]))
}

/// The words, signs and strings of nfs-ganesha's configuration. None where a string does not end, or might end in two places.
fn lexed(text: &str) -> Option<Vec<Range<usize>>> {
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let length = match byte {
            b'#' => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            quote @ (b'"' | b'\'') => {
                let inner = rest[1..].iter().position(|byte| byte == quote)?;
                if *quote == b'"' && rest[..=inner].ends_with(b"\\") {
                    return None;
                }
                inner + 2
            }
            b'{' | b'}' | b'=' | b';' | b',' => 1,
            _ => match text[at..].find(|c: char| c.is_whitespace() || "{}=;,#\"'".contains(c)) {
                Some(0) => {
                    at += text[at..].chars().next().map_or(1, char::len_utf8);
                    continue;
                }
                end => end.unwrap_or(rest.len()),
            },
        };
        if *byte != b'#' {
            found.push(at..at + length);
        }
        at += length;
    }
    Some(found)
}
