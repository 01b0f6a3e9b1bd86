//! libnfs's tools as a client of the NFS server.

use super::one_line;
use super::probe::Client;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What timeout(1) ends with if the time was over.
const TIMED_OUT: i32 = 124;

/// `nfs-cp`, `nfs-cat` and `nfs-ls`.
#[derive(Debug, Clone, Copy)]
pub struct NfsTools {
    seconds: u32,
}

impl NfsTools {
    /// Tools that take so long at most.
    #[must_use]
    pub fn new(seconds: u32) -> Self {
        // To timeout(1) 0 means for ever.
        Self { seconds: seconds.max(1) }
    }

    /// What a tool prints.
    pub(crate) fn run(self, tool: &str, words: &[&Path]) -> Result<Vec<u8>, String> {
        let mut command = Command::new("timeout");
        command.arg(self.seconds.to_string()).arg(tool).args(words).env("LC_ALL", "C").stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().map_err(|error| format!("timeout: {error}"))?;
        if status.success() {
            return Ok(stdout);
        }
        // nfs-cp says some of it on stdout.
        let said = one_line(&[stderr, b"\n".to_vec(), stdout].concat());
        Err(match status.code() {
            Some(TIMED_OUT) => format!("no answer within {} s {said}", self.seconds).trim_end().to_owned(),
            _ if said.is_empty() => format!("{tool}: {status}"),
            _ => said,
        })
    }
}

impl Client for NfsTools {
    fn write(&self, url: &str, version: u8, word: &str) -> Result<(), String> {
        let source = Source::new(word).map_err(|error| format!("a file for nfs-cp: {error}"))?;
        self.run("nfs-cp", &[&source.0, Path::new(&format!("{url}?version={version}"))]).map(drop)
    }

    fn read(&self, url: &str, version: u8) -> Result<Vec<u8>, String> {
        self.run("nfs-cat", &[Path::new(&format!("{url}?version={version}"))])
    }
}

/// A file that nfs-cp reads; gone when it is dropped.
struct Source(PathBuf);

impl Source {
    fn new(word: &str) -> io::Result<Self> {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = std::env::temp_dir().join(format!("leeward-probe-{}-{moment}", std::process::id()));
        // Everybody may write there: a name that is there already is not ours.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let source = Self(path);
        file.write_all(word.as_bytes())?;
        Ok(source)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_says_why() {
        let tools = NfsTools::new(0);
        assert_eq!(tools.run("sleep", &[Path::new("60")]).unwrap_err(), "no answer within 1 s");
        assert_eq!(tools.run("false", &[]).unwrap_err(), "false: exit status: 1");
        assert!(tools.run("no-such-tool", &[]).unwrap_err().contains("no-such-tool"));
        let refused = tools.write("nfs://127.0.0.1/none?nfsport=1&mountport=1", 3, "word");
        assert!(refused.is_err_and(|said| !said.contains("ROFS")));
    }
}
