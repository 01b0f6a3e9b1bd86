//! A table of exports for the kernel's NFS server, edited in place.
//!
//! How exports(5) is read (nfs-utils 2.6.2, tried with its exportfs): an entry is a line; a backslash at its end joins the next
//! one to it. `#` begins a comment only where a word could begin, and a backslash does not carry a comment on. The first word is
//! the path; a path in double quotes may have blanks, and `\040` is a character by its octal number, in every word. Then come
//! clients, `client(option,…)`, and options for all clients behind them, `-option,…`; options without a client concern everybody.
//! Of two options that contradict each other the later one holds, `sec=` begins a set of its own, and without `rw` it is `ro`.
//!
//! Laws: only entries of the one exported path change, and in them only `rw`, to `ro`, wherever it is an option: then nothing in
//! them lets anybody write. [`read_write`] undoes [`read_only`] to the byte. Making read-only twice is making it once. What may be
//! read in two ways is not edited.
//!
//! The entry as it was before stands in comments above the edited one, line by line, so that the file alone tells how to undo it.

use std::ops::Range;

/// The table is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExportsError {
    #[error("it has no entry for {0}; correct nfs.kernel.path or write the entry into this very file")]
    NoEntry(String),
    #[error("line {0} has a control character, a carriage return perhaps; remove it")]
    Control(usize),
    #[error("line {0} has a double quote that does not end in that line; correct it")]
    Quote(usize),
    #[error(
        "line {line}: {word:?} cannot be edited safely; write clients as client(option,option), without quotes, backslashes and #"
    )]
    Word { line: usize, word: String },
    #[error(
        "the entry in line {0} was changed since it was made read-only; bring it in order by hand and remove the lines \
         `# leeward-was` above it, then run `exportfs -ra`"
    )]
    Changed(usize),
    #[error(
        "{0} is read-only for all clients, and not by this program; give `rw` to those that may write, then run `exportfs -ra`"
    )]
    ByHand(String),
    #[error(
        "line {line} lets clients write to {path}, and so to {export}, which is to be read-only; make it `ro`, or move it elsewhere"
    )]
    Overlap { line: usize, path: String, export: String },
}

const WAS: &str = "# leeward-was ";

/// Which path is meant.
#[derive(Clone, Copy)]
pub(super) struct Exported<'a> {
    /// The path.
    pub(super) path: &'a str,
    /// The folder that a path leads to: exportfs follows links.
    pub(super) real: &'a dyn Fn(&str) -> String,
}

/// How two folders lie to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    Same,
    /// One is in the other.
    Overlapping,
    Apart,
}

impl Exported<'_> {
    fn lie(&self, path: &str) -> Lie {
        let (ours, theirs) = ((self.real)(self.path), (self.real)(path));
        let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let (ours, theirs) = (parts(&ours), parts(&theirs));
        let common = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
        match (common == ours.len(), common == theirs.len()) {
            (true, true) => Lie::Same,
            (false, false) => Lie::Apart,
            _ => Lie::Overlapping,
        }
    }
}

/// A line with what is joined to it, if there is any word in it.
#[derive(Debug)]
struct Entry {
    /// All its bytes, the end of its last line among them.
    at: Range<usize>,
    /// Number of its first line.
    line: usize,
    /// As exportfs understands it.
    path: String,
    /// Clients and options.
    words: Vec<Range<usize>>,
}

/// What is joined to a line, or the line itself, was read.
fn entries(text: &str) -> Result<Vec<Entry>, ExportsError> {
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    if let Some(at) = text.find(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(ExportsError::Control(line_of(at)));
    }
    let bytes = text.as_bytes();
    let joins = |at: usize| bytes[at..].starts_with(b"\\\n");
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (start, mut words) = (at, Vec::new());
        loop {
            match bytes.get(at) {
                Some(b' ' | b'\t') => at += 1,
                Some(b'\\') if joins(at) => at += 2,
                Some(b'#') => at += bytes[at..].iter().take_while(|&&byte| byte != b'\n').count(),
                Some(b'\n') => break at += 1,
                None => break,
                Some(_) => {
                    let (word, mut quoted) = (at, false);
                    while let Some(&byte) = bytes.get(at) {
                        match byte {
                            b'\n' if quoted => return Err(ExportsError::Quote(line_of(word))),
                            b'\\' if joins(at) && quoted => return Err(ExportsError::Quote(line_of(word))),
                            b' ' | b'\t' | b'\n' if !quoted => break,
                            b'\\' if joins(at) => break,
                            b'"' => quoted = !quoted,
                            _ => {}
                        }
                        at += 1;
                    }
                    if quoted {
                        return Err(ExportsError::Quote(line_of(word)));
                    }
                    words.push(word..at);
                }
            }
        }
        if let Some((path, words)) = words.split_first() {
            let path = understood(&text[path.clone()]);
            found.push(Entry { at: start..at, line: line_of(start), path, words: words.to_vec() });
        }
    }
    Ok(found)
}

/// A word without its quotes, its octal numbers read, in exportfs's own order: what comes out of one may be part of the next.
fn understood(word: &str) -> String {
    let mut read: Vec<u8> = Vec::new();
    for byte in word.bytes().filter(|&byte| byte != b'"') {
        read.push(byte);
        let number = match read.as_slice() {
            [.., b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        if let Some(number) = number {
            read.truncate(read.len() - 4);
            read.push(number);
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// The options in a word: behind a `-`, or in brackets behind a client.
fn options(word: &str) -> Option<Range<usize>> {
    if word.starts_with('-') {
        return Some(1..word.len());
    }
    let open = word.find('(')?;
    let close = word[open..].find(')').map_or(word.len(), |at| open + at);
    Some(open + 1..close)
}

/// Where `rw` is among the options.
fn writable(options: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let all = options.split(',').map(|option| {
        let start = at;
        at += option.len() + 1;
        (option, start)
    });
    // Blanks are only there in quotes.
    let rw = all.filter(|(option, _)| option.trim() == "rw");
    rw.map(|(option, start)| start..start + option.len()).collect()
}

impl Entry {
    fn is_writable(&self, text: &str) -> bool {
        self.words.iter().any(|word| {
            let word = understood(&text[word.clone()]);
            options(&word).is_some_and(|options| !writable(&word[options]).is_empty())
        })
    }

    /// The entry with `ro` for every `rw`, if there is one.
    fn read_only(&self, text: &str) -> Result<Option<String>, ExportsError> {
        let mut places = Vec::new();
        for at in &self.words {
            let word = &text[at.clone()];
            let plain = match word.find('(') {
                _ if word.contains(['"', '\\', '#']) => false,
                _ if word.starts_with('-') => !word.contains(['(', ')']),
                Some(open) => word[open + 1..].strip_suffix(')').is_some_and(|inside| !inside.contains(['(', ')'])),
                None => !word.contains(')'),
            };
            if !plain {
                return Err(ExportsError::Word { line: self.line, word: word.to_owned() });
            }
            if let Some(options) = options(word) {
                let start = at.start + options.start - self.at.start;
                places.extend(writable(&word[options]).into_iter().map(|rw| start + rw.start..start + rw.end));
            }
        }
        let mut edited = text[self.at.clone()].to_owned();
        for place in places.iter().rev() {
            edited.replace_range(place.clone(), "ro");
        }
        Ok((!places.is_empty()).then_some(edited))
    }

    /// What stands above the entry about how it was: where, and the entry as it was then.
    fn was(&self, text: &str) -> Option<(Range<usize>, String)> {
        let mut start = self.at.start;
        while start > 0 {
            let line = text[..start - 1].rfind('\n').map_or(0, |end| end + 1);
            if !text[line..start].starts_with(WAS) {
                break;
            }
            start = line;
        }
        let marks = start..self.at.start;
        if marks.is_empty() {
            return None;
        }
        let mut was: String =
            text[marks.clone()].split_inclusive('\n').filter_map(|line| line.strip_prefix(WAS)).collect();
        if !text[self.at.clone()].ends_with('\n') {
            was.pop();
        }
        Some((marks, was))
    }
}

/// The entries of the export.
fn of(text: &str, exported: Exported<'_>) -> Result<Vec<Entry>, ExportsError> {
    let mut found = entries(text)?;
    found.retain(|entry| exported.lie(&entry.path) == Lie::Same);
    if found.is_empty() { Err(ExportsError::NoEntry(exported.path.to_owned())) } else { Ok(found) }
}

/// The entry as [`read_only`] left it was made from the one in the comments above it.
fn undone(text: &str, entry: &Entry, was: &str) -> Result<(), ExportsError> {
    let changed = Err(ExportsError::Changed(entry.line));
    match entries(was).as_deref() {
        Ok([old]) if old.at == (0..was.len()) => match old.read_only(was) {
            Ok(Some(made)) if made == text[entry.at.clone()] => Ok(()),
            _ => changed,
        },
        _ => changed,
    }
}

/// The table with the export read-only for every client.
pub(super) fn read_only(text: &str, exported: Exported<'_>) -> Result<String, ExportsError> {
    apart(text, exported, Lie::Overlapping)?;
    let mut edited = text.to_owned();
    for entry in of(text, exported)?.iter().rev() {
        let Some(made) = entry.read_only(text)? else { continue };
        if entry.was(text).is_some() {
            return Err(ExportsError::Changed(entry.line));
        }
        let old = &text[entry.at.clone()];
        let mut marked: String = old.split_inclusive('\n').flat_map(|line| [WAS, line]).collect();
        if !marked.ends_with('\n') {
            marked.push('\n');
        }
        edited.replace_range(entry.at.clone(), &format!("{marked}{made}"));
    }
    Ok(edited)
}

/// The table with the export as it was before [`read_only`].
pub(super) fn read_write(text: &str, exported: Exported<'_>) -> Result<String, ExportsError> {
    let mut edited = text.to_owned();
    let (mut undoing, mut writes) = (false, false);
    for entry in of(text, exported)?.iter().rev() {
        writes |= entry.is_writable(text);
        let Some((marks, was)) = entry.was(text) else { continue };
        undone(text, entry, &was)?;
        edited.replace_range(marks.start..entry.at.end, &was);
        undoing = true;
    }
    // Who was meant to write is not known where nobody may and nothing tells who did.
    if undoing || writes { Ok(edited) } else { Err(ExportsError::ByHand(exported.path.to_owned())) }
}

/// Whether nothing in another table lets clients write to the export.
pub(super) fn elsewhere(text: &str, exported: Exported<'_>) -> Result<(), ExportsError> {
    apart(text, exported, Lie::Same)?;
    apart(text, exported, Lie::Overlapping)
}

fn apart(text: &str, exported: Exported<'_>, lie: Lie) -> Result<(), ExportsError> {
    let lies = entries(text)?.into_iter().find(|entry| exported.lie(&entry.path) == lie && entry.is_writable(text));
    match lies {
        Some(Entry { line, path, .. }) => Err(ExportsError::Overlap { line, path, export: exported.path.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
