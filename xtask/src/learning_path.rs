//! `cargo xtask learning-path`: does what docs/learning-path tells its reader to do, command by command.
//!
//! A page's ```` ```bash ```` blocks run in one shell, after the variables of page 1. A block must succeed; one marked
//! ```` ```bash fails ```` must end with a command that fails. After a block, `<!-- says: TEXT -->` asks for TEXT in what it
//! printed (once for each line of that kind).

use crate::binaries;
use anyhow::{Context, Result, bail, ensure};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// The pages in their order. The later ones use the variables that the first one sets, the last one the lab of the one
/// before.
const PAGES: [&str; 4] = ["1-lab.md", "2-by-hand.md", "3-with-leeward.md", "4-what-went-wrong.md"];
/// What the block with the variables begins with.
const VARIABLES: &str = "export LEEWARD_LAB=";
/// Begins a line of output that names the block which starts; nothing else prints this character.
const MARK: char = '\u{1}';

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Line of its first command.
    line: usize,
    commands: String,
    fails: bool,
    says: Vec<String>,
}

pub(crate) fn run() -> Result<()> {
    let folder = binaries::repository().join("docs/learning-path");
    let mut variables = None;
    for page in PAGES {
        let blocks = blocks(&fs_err::read_to_string(folder.join(page))?).with_context(|| page.to_owned())?;
        ensure!(!blocks.is_empty(), "{page} has no commands");
        let set = blocks.iter().find(|block| block.commands.starts_with(VARIABLES));
        if let Some(block) = set {
            variables = Some(block.commands.clone());
        }
        let variables = variables.as_deref().context("the first page sets no variables")?;
        walk(page, variables, &blocks)?;
    }
    binaries::must(binaries::cargo().args(["xtask", "lab", "down"]))
}

fn blocks(markdown: &str) -> Result<Vec<Block>> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in markdown.lines().enumerate() {
        if let Some(mut block) = open.take() {
            if line != "```" {
                block.commands.push_str(line);
                block.commands.push('\n');
                open = Some(block);
            } else {
                found.push(block);
            }
        } else if let Some(mark) = line.strip_prefix("```bash") {
            let fails = match mark.trim() {
                "" => false,
                "fails" => true,
                other => bail!("line {}: a bash block cannot be {other:?}", index + 1),
            };
            open = Some(Block { line: index + 2, commands: String::new(), fails, says: Vec::new() });
        } else if let Some(text) = line.strip_prefix("<!-- says: ").and_then(|rest| rest.strip_suffix(" -->")) {
            let block = found.last_mut().with_context(|| format!("line {}: no block before it", index + 1))?;
            block.says.push(text.to_owned());
        }
    }
    ensure!(open.is_none(), "a block is not closed");
    Ok(found)
}

/// The page as one script: the shell goes on from block to block, and stops at the first that is not as it should be.
fn script(variables: &str, blocks: &[Block]) -> String {
    let mut script = format!("set -eu\n{variables}");
    for block in blocks {
        let _ = writeln!(script, "printf '{MARK}%s\\n' {}", block.line);
        let Block { commands, .. } = block;
        if block.fails {
            let _ = write!(script, "if (\n{commands}); then echo 'this should have failed'; exit 1; fi\n");
        } else {
            script.push_str(commands);
        }
    }
    script
}

fn walk(page: &str, variables: &str, blocks: &[Block]) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, script(variables, blocks).as_bytes())?;
    let printed = shell(page, file.path())?;
    for block in blocks {
        let own = printed.iter().find(|(line, _)| *line == block.line).map_or("", |(_, text)| text.as_str());
        for says in &block.says {
            ensure!(own.contains(says), "{page}, line {}: the commands do not print {says:?}", block.line);
        }
    }
    Ok(())
}

/// Runs a script, shows what it prints and gives it back by blocks.
fn shell(page: &str, script: &Path) -> Result<Vec<(usize, String)>> {
    let (reader, writer) = std::io::pipe()?;
    let mut shell = Command::new("bash");
    shell.arg(script).current_dir(binaries::repository());
    shell.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = shell.spawn().context("bash cannot be started")?;
    // It holds the pipe's other end open.
    drop(shell);
    let mut printed: Vec<(usize, String)> = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(number) = line.strip_prefix(MARK) {
            eprintln!("── {page}, line {number}");
            printed.push((number.parse()?, String::new()));
        } else {
            eprintln!("   {line}");
            if let Some((_, text)) = printed.last_mut() {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    let status = child.wait()?;
    let last = printed.last().map_or(0, |(line, _)| *line);
    ensure!(status.success(), "{page}: the commands at line {last} ended with {status}");
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_with_what_is_expected_of_them() {
        let page =
            "text\n```bash\necho a\necho b\n```\n<!-- says: a -->\n\n```text\nno\n```\n```bash fails\nfalse\n```\n";
        let found = blocks(page).unwrap();
        let block = |line, commands: &str, fails, says: &[&str]| Block {
            line,
            commands: commands.to_owned(),
            fails,
            says: says.iter().map(|&text| text.to_owned()).collect(),
        };
        assert_eq!(found, [block(3, "echo a\necho b\n", false, &["a"]), block(12, "false\n", true, &[])]);
        assert!(blocks("```bash\nfor ever\n").is_err());
        assert!(blocks("```bash sometimes\n```\n").is_err());
        assert!(blocks("<!-- says: a -->\n").is_err());
    }

    #[test]
    fn a_page_stops_at_the_first_block_that_is_not_as_it_should_be() {
        let walked =
            |page: &str| walk("page", "export X=1\n", &blocks(page).unwrap()).map_err(|error| error.to_string());
        assert_eq!(walked("```bash\necho $X\n```\n<!-- says: 1 -->\n```bash fails\nfalse\n```\n"), Ok(()));
        assert!(walked("```bash\ntrue\n```\n<!-- says: 1 -->\n").unwrap_err().contains("do not print \"1\""));
        assert!(walked("```bash\nfalse\n```\n```bash\ntrue\n```\n").unwrap_err().contains("line 2 ended with"));
        assert!(walked("```bash fails\ntrue\n```\n").unwrap_err().contains("line 2 ended with"));
    }
}
