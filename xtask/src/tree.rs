//! What has to hold of the repository as a whole: every error code has its page, links lead somewhere, no file says where it
//! was written, and files stay short enough to read.

use crate::binaries::repository;
use std::collections::BTreeSet;
use std::path::Path;

/// Lines of a source file at most.
const LINES: usize = 500;

/// Longer by nature: generated, or the whole of something that a snapshot test shows.
const LONG: [&str; 4] = ["/generated/", "/snapshots/", ".sum", "Cargo.lock"];

/// Endings of files that are source.
const SOURCE: [&str; 5] = [".rs", ".go", ".sh", ".proto", ".toml"];

/// What betrays the machine or the place a text was written at. In two parts, so that this file has none of them.
const TRACES: [(&str, &str); 4] = [("/wo", "rk/"), ("/tmp", "/lw"), ("arti", "factory"), ("FIX", "ME")];

/// Folders at the top that are not the repository's: git's own, and what builds and demos leave.
const NOT_OURS: [&str; 3] = [".git", "target", "lab-report"];

/// Every text file of the repository, by its path in it. Walked, for a copy of the sources need not have git.
fn files() -> Vec<(String, String)> {
    let root = repository();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file()
                // Pictures are no text.
                && let Ok(text) = fs_err::read_to_string(&path)
            {
                found.push((name, text));
            }
        }
    }
    assert!(found.len() > 100, "not the repository: {} files", found.len());
    found
}

/// The error codes in a text.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    let prefix = "LW-";
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let code = text.get(at..at + prefix.len() + 4)?;
        code[prefix.len()..].bytes().all(|byte| byte.is_ascii_digit()).then_some(code)
    })
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    let files = files();
    let ours = |path: &str| ["crates/", "lab/", "xtask/"].iter().any(|folder| path.starts_with(folder));
    let used: BTreeSet<_> = files.iter().filter(|(path, _)| ours(path)).flat_map(|(_, text)| codes(text)).collect();
    let page = |path: &str| path.strip_prefix("docs/errors/")?.strip_suffix(".md").map(str::to_owned);
    let pages: BTreeSet<_> = files.iter().filter_map(|(path, _)| page(path)).filter(|page| page != "README").collect();
    let pages: BTreeSet<_> = pages.iter().map(String::as_str).collect();
    let of = |set: &BTreeSet<&str>| set.iter().copied().collect::<Vec<_>>().join(", ");
    let (without, unused) = (&used - &pages, &pages - &used);
    assert!(without.is_empty(), "no page in docs/errors for {}", of(&without));
    assert!(unused.is_empty(), "no program says {}; remove the pages", of(&unused));
}

#[test]
fn the_index_of_errors_says_what_the_pages_say() {
    let mut listed = Vec::new();
    let mut pages = Vec::new();
    for (path, text) in files() {
        let Some(name) = path.strip_prefix("docs/errors/") else { continue };
        if name == "README.md" {
            listed.extend(text.lines().filter(|line| line.starts_with("| [")).map(str::to_owned));
        } else if let Some((code, title)) = title(&text) {
            pages.push(format!("| [{code}]({name}) | {title} |"));
        } else {
            panic!("{path} does not begin with `# CODE: title`");
        }
    }
    listed.sort();
    pages.sort();
    let missing: Vec<_> = pages.iter().filter(|page| !listed.contains(page)).collect();
    let beyond: Vec<_> = listed.iter().filter(|line| !pages.contains(line)).collect();
    assert!(missing.is_empty() && beyond.is_empty(), "not in the index: {missing:#?}\nonly there: {beyond:#?}");
    assert!(listed.windows(2).all(|two| two[0] != two[1]), "one is listed twice");
}

/// Code and title of an error's page.
fn title(page: &str) -> Option<(&str, &str)> {
    page.lines().next()?.strip_prefix("# ")?.split_once(": ")
}

/// Where the links of a Markdown text lead.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// As the sites that show Markdown name a heading: small letters, blanks as hyphens, no other signs.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_'));
    kept.map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut dead = Vec::new();
    for (path, text) in files().iter().filter(|(path, _)| path.ends_with(".md")) {
        for link in links(text).filter(|link| !link.contains("://")) {
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.into() } else { Path::new(path).with_file_name(file) };
            let target = repository().join(target);
            let anchors = || fs_err::read_to_string(&target).unwrap_or_default();
            let there = part.is_empty() || anchors().lines().any(|line| line.starts_with('#') && anchor(line) == part);
            if !target.exists() || !there {
                dead.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}", dead.join("\n"));
}

#[test]
fn no_file_says_where_it_was_written() {
    let traces = TRACES.map(|(a, b)| format!("{a}{b}"));
    let mut found = Vec::new();
    for (path, text) in files() {
        for (number, line) in text.lines().enumerate() {
            if traces.iter().any(|trace| line.contains(trace)) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn source_files_stay_short() {
    let long = |path: &str| LONG.iter().any(|part| path.contains(part));
    let source = |path: &str| SOURCE.iter().any(|ending| path.ends_with(ending));
    let too_long: Vec<_> = files()
        .into_iter()
        .filter(|(path, _)| source(path) && !long(path))
        .map(|(path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > LINES)
        .map(|(lines, path)| format!("{path}: {lines}"))
        .collect();
    assert!(too_long.is_empty(), "more than {LINES} lines:\n{}", too_long.join("\n"));
}

#[test]
fn codes_are_found_in_text() {
    assert_eq!(
        codes(concat!("a [LW", "-0123] LW", "-12 LW", "-0456")).collect::<Vec<_>>(),
        [concat!("LW", "-0123"), concat!("LW", "-0456")]
    );
}
