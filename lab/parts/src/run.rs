//! Running other programs: with their output in a log, or captured.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Lines of a log that are shown when what wrote it failed.
const TAIL: usize = 15;

/// Runs a program with both outputs at the end of the log; `Ok(false)` when it ends with an error.
pub(crate) fn logged(command: &mut Command, log: &File) -> io::Result<bool> {
    let status = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).status()?;
    Ok(status.success())
}

/// Output of a program that must succeed; otherwise an error with what it had to say.
pub(crate) fn output(command: &mut Command) -> io::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{name} ended with {}: {}", output.status, said.trim())))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> Vec<String> {
    let text = fs_err::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|&line| line.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_holds_both_outputs_and_its_tail_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = File::options().create(true).append(true).open(&path).unwrap();
        assert!(!logged(Command::new("sh").args(["-c", "seq 40; echo bad >&2; exit 3"]), &log).unwrap());
        let tail = tail(&path);
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail.last().map(String::as_str), Some("bad"));
        assert!(logged(&mut Command::new("true"), &log).unwrap());
    }

    #[test]
    fn failure_says_what_the_program_said() {
        let error = output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
        assert_eq!(output(Command::new("echo").arg("x")).unwrap(), b"x\n");
    }
}
