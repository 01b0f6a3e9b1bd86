//! What a folder at a file server holds: its listing, and the fingerprint of each file.

use crate::FileFingerprint;

/// A folder that cannot be taken for a volume's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It holds something else than files and folders.
    NotAFile { file: String, kind: String },
    /// It was written to meanwhile.
    Changed { file: String, how: String },
    /// The output is not what the script writes.
    Garbled,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Bytes that take up space.
    pub(super) allocated: u64,
    /// Seconds since 1970 with a fraction.
    modified: String,
    changed: String,
    inode: String,
}

/// A listing's regular files, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listing(pub(super) Vec<Entry>);

/// A folder's content, read while it did not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scan {
    pub(super) listing: Listing,
    /// Sorted by name, one for each entry.
    pub(super) files: Vec<FileFingerprint>,
}

fn kind(letter: &str) -> &'static str {
    match letter {
        "l" => "a symbolic link",
        "p" => "a named pipe",
        "s" => "a socket",
        "b" | "c" => "a device",
        _ => "of an unknown kind",
    }
}

fn records(output: &[u8]) -> Result<Vec<&[u8]>, Unfit> {
    match output.strip_suffix(b"\0") {
        Some(output) => Ok(output.split(|&byte| byte == 0).collect()),
        None if output.is_empty() => Ok(Vec::new()),
        None => Err(Unfit::Garbled),
    }
}

fn name(bytes: &[u8]) -> Result<String, Unfit> {
    String::from_utf8(bytes.to_vec()).map_err(|error| Unfit::NotAFile {
        file: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        kind: "not named in UTF-8".to_owned(),
    })
}

impl Listing {
    /// Reads the output of `list`.
    pub(super) fn parse(output: &[u8]) -> Result<Self, Unfit> {
        Self::from_records(&records(output)?)
    }

    fn from_records(records: &[&[u8]]) -> Result<Self, Unfit> {
        let mut entries = Vec::new();
        for record in records {
            let fields: Vec<&[u8]> = record.splitn(7, |&byte| byte == b' ').collect();
            let [letter, rest @ .., path] = fields.as_slice() else { return Err(Unfit::Garbled) };
            let name = name(path)?;
            let text = |at: usize| rest.get(at).and_then(|field| std::str::from_utf8(field).ok()).ok_or(Unfit::Garbled);
            let number = |at: usize| text(at)?.parse::<u64>().map_err(|_| Unfit::Garbled);
            match *letter {
                b"d" => continue,
                b"f" => {}
                other => {
                    let kind = kind(&String::from_utf8_lossy(other)).to_owned();
                    return Err(Unfit::NotAFile { file: name, kind });
                }
            }
            entries.push(Entry {
                name,
                bytes: number(0)?,
                allocated: number(1)?.saturating_mul(512),
                modified: text(2)?.to_owned(),
                changed: text(3)?.to_owned(),
                inode: text(4)?.to_owned(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self(entries))
    }

    /// What is different in `later`, in words, if anything is.
    pub(super) fn changed_until(&self, later: &Self) -> Option<(String, String)> {
        for entry in &self.0 {
            let Some(now) = later.0.iter().find(|now| now.name == entry.name) else {
                return Some((entry.name.clone(), "it was removed".to_owned()));
            };
            if now.bytes != entry.bytes {
                return Some((entry.name.clone(), format!("its length went from {} to {}", entry.bytes, now.bytes)));
            }
            if (&now.modified, &now.changed, &now.inode) != (&entry.modified, &entry.changed, &entry.inode) {
                return Some((entry.name.clone(), "it was written".to_owned()));
            }
        }
        let new = later.0.iter().find(|now| !self.0.iter().any(|entry| entry.name == now.name))?;
        Some((new.name.clone(), "it is new".to_owned()))
    }

    /// Bytes that take up space.
    pub(super) fn allocated(&self) -> u64 {
        self.0.iter().map(|entry| entry.allocated).sum()
    }

    /// When a file was last written.
    pub(super) fn last_written(&self) -> Option<jiff::Timestamp> {
        let seconds = self.0.iter().filter_map(|entry| entry.modified.split('.').next()?.parse().ok()).max()?;
        jiff::Timestamp::from_second(seconds).ok()
    }
}

impl Scan {
    /// Reads the output of `scan.sh`.
    pub(super) fn parse(output: &[u8]) -> Result<Self, Unfit> {
        let records = records(output)?;
        let sections: Vec<&[&[u8]]> = records.split(|record| *record == b"@").collect();
        let [before, hashes, after] = sections.as_slice() else { return Err(Unfit::Garbled) };
        let (listing, after) = (Listing::from_records(before)?, Listing::from_records(after)?);
        if let Some((file, how)) = listing.changed_until(&after) {
            return Err(Unfit::Changed { file, how });
        }
        let mut files = Vec::new();
        for record in *hashes {
            // "<64 hex digits>  ./<name>"; with -z sha256sum escapes nothing.
            let (sha256, path) = record.split_at_checked(64).ok_or(Unfit::Garbled)?;
            let sha256 = std::str::from_utf8(sha256).map_err(|_| Unfit::Garbled)?.to_owned();
            let name = name(path.strip_prefix(b"  ./").ok_or(Unfit::Garbled)?)?;
            let entry = listing.0.iter().find(|entry| entry.name == name);
            let bytes = entry.ok_or_else(|| Unfit::Changed { file: name.clone(), how: "it is new".to_owned() })?.bytes;
            files.push(FileFingerprint { name, bytes, sha256 });
        }
        if let Some(missed) = listing.0.iter().find(|entry| !files.iter().any(|file| file.name == entry.name)) {
            return Err(Unfit::Changed { file: missed.name.clone(), how: "it could not be read".to_owned() });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { listing, files })
    }
}

/// The first difference between what a folder must hold and what it holds: the file, and how it differs.
pub(super) fn difference(expected: &[FileFingerprint], found: &[FileFingerprint]) -> Option<(String, String)> {
    for file in expected {
        match found.iter().find(|found| found.name == file.name) {
            None => return Some((file.name.clone(), "is missing".to_owned())),
            Some(found) if found.bytes != file.bytes => {
                return Some((file.name.clone(), format!("has {} bytes, not {}", found.bytes, file.bytes)));
            }
            Some(found) if found.sha256 != file.sha256 => {
                return Some((file.name.clone(), format!("has sha256 {}, not {}", found.sha256, file.sha256)));
            }
            Some(_) => {}
        }
    }
    let more = found.iter().find(|found| !expected.iter().any(|file| file.name == found.name))?;
    Some((more.name.clone(), "does not belong there".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "f 10 8 1700000000.5 1.0 7 a b\n'$(x)";

    fn output(before: &[&str], hashes: &[&str], after: &[&str]) -> Vec<u8> {
        let all = before.iter().chain(&["@"]).chain(hashes).chain(&["@"]).chain(after);
        all.flat_map(|record| record.bytes().chain([0])).collect()
    }

    fn hash(name: &str) -> String {
        format!("{}  ./{name}", "ab".repeat(32))
    }

    #[test]
    fn names_survive_whatever_they_hold() {
        let hash = hash("a b\n'$(x)");
        let scan = Scan::parse(&output(&["d 0 0 1.0 1.0 3 x", A], &[&hash], &[A])).unwrap();
        assert_eq!(scan.files[0].name, "a b\n'$(x)");
        assert_eq!((scan.files[0].bytes, scan.listing.allocated()), (10, 4096));
        assert_eq!(scan.listing.last_written().unwrap().as_second(), 1_700_000_000);
        assert_eq!(Scan::parse(&output(&[], &[], &[])).unwrap(), Scan::default());
    }

    #[test]
    fn a_change_while_reading_is_found() {
        let hash = hash("a b\n'$(x)");
        for later in [
            "f 11 8 1700000000.5 1.0 7 a b\n'$(x)",
            "f 10 8 1700000000.6 1.0 7 a b\n'$(x)",
            "f 10 8 1700000000.5 1.1 7 a b\n'$(x)",
            "f 10 8 1700000000.5 1.0 8 a b\n'$(x)",
        ] {
            let changed = Scan::parse(&output(&[A], &[&hash], &[later]));
            assert!(matches!(&changed, Err(Unfit::Changed { file, .. }) if file.starts_with("a b")), "{changed:?}");
        }
        let new = "f 1 8 1.0 1.0 9 new";
        for (before, after) in [(vec![A], vec![A, new]), (vec![A, new], vec![A])] {
            let changed = Scan::parse(&output(&before, &[&hash], &after));
            assert!(matches!(&changed, Err(Unfit::Changed { file, .. }) if file == "new"), "{changed:?}");
        }
        let unread = Scan::parse(&output(&[A], &[], &[A]));
        assert!(matches!(unread, Err(Unfit::Changed { .. })), "a file without fingerprint is never passed over");
    }

    #[test]
    fn what_is_no_file_and_what_is_no_listing_are_refused() {
        let link = Scan::parse(&output(&["l 1 0 1.0 1.0 3 link"], &[], &[]));
        assert_eq!(link, Err(Unfit::NotAFile { file: "link".into(), kind: "a symbolic link".into() }));
        assert_eq!(Scan::parse(b"f 10"), Err(Unfit::Garbled));
        assert_eq!(Scan::parse(b"@\0"), Err(Unfit::Garbled));
        assert_eq!(Listing::parse(b"f x 1 1 1 1 a\0"), Err(Unfit::Garbled));
        assert!(matches!(Listing::parse(b"f 1 1 1 1 1 \xff\0"), Err(Unfit::NotAFile { .. })));
    }

    #[test]
    fn a_difference_is_named() {
        let file =
            |name: &str, bytes, sha256: &str| FileFingerprint { name: name.into(), bytes, sha256: sha256.into() };
        let expected = [file("a", 1, "x"), file("b", 2, "y")];
        assert_eq!(difference(&expected, &expected), None);
        let cases: [(&[FileFingerprint], &str); 4] = [
            (&[file("a", 1, "x")], "b"),
            (&[file("a", 1, "z"), file("b", 2, "y")], "a"),
            (&[file("a", 1, "x"), file("b", 3, "y")], "b"),
            (&[file("a", 1, "x"), file("b", 2, "y"), file("c", 0, "")], "c"),
        ];
        for (found, named) in cases {
            assert_eq!(difference(&expected, found).unwrap().0, named);
        }
    }
}
