//! Standard error, between the plug-in and Velero.
//!
//! Velero takes a line on a plug-in's stderr for a log entry if it looks like one, and one with the wrong types in it panics
//! the whole *server*. The log of this crate writes no such line; but libraries, child processes and forgotten
//! `eprintln!`s write to stderr as well, sometimes what stands in an item. So their stderr is a pipe, and what comes out of
//! it passes on only if Velero can take it: as it is if it is an entry of text only, else as the message of one.
//!
//! The price: the last words of a process that aborts (out of memory, stack overflow) may be lost. Velero would have shown
//! them at level debug.

use crate::hclog::{self, MAX_LINE};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::dup2_stderr;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::Level;

/// What the process was started with as its stderr, once it is captured.
static VELERO: OnceLock<Mutex<File>> = OnceLock::new();
/// What is left in the pipe at the end gets so long to come out.
const DRAIN: Duration = Duration::from_millis(100);
/// A line without an end is passed on in pieces of this size; in JSON it may be six times as long.
const PIECE: usize = 8 * 1024;

/// Writes a whole line to Velero. There is nobody to tell if that fails.
pub(crate) fn write(line: &str) {
    match VELERO.get() {
        Some(velero) => drop(velero.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())),
        None => drop(io::stderr().lock().write_all(line.as_bytes())),
    }
}

/// Stderr is captured for as long as this lives.
pub(crate) struct Captured {
    drained: Receiver<()>,
}

impl Captured {
    /// Puts a pipe in the place of stderr.
    ///
    /// # Errors
    /// If there are no file descriptors or threads left.
    pub(crate) fn start() -> io::Result<Self> {
        // Above the three that programs know by number.
        let velero = File::from(fcntl_dupfd_cloexec(io::stderr(), 3)?);
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (tell, drained) = channel();
        let pump = move || {
            pump(&mut File::from(read));
            // Nobody may be waiting.
            let _ = tell.send(());
        };
        thread::Builder::new().name("stderr".to_owned()).spawn(pump)?;
        VELERO.get_or_init(|| Mutex::new(velero));
        dup2_stderr(&write)?;
        Ok(Self { drained })
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        let Some(velero) = VELERO.get() else { return };
        // The last writing end of the pipe closes with this, unless a child has it; then what it writes is lost.
        if dup2_stderr(&*velero.lock().unwrap_or_else(PoisonError::into_inner)).is_ok() {
            let _ = self.drained.recv_timeout(DRAIN);
        }
    }
}

/// Passes on line by line until all writing ends are closed.
fn pump(from: &mut File) {
    let mut line = Vec::new();
    let mut buffer = [0; PIECE];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") {
                // An entry may be longer than a piece.
                write(&passable(&line));
                line.clear();
            } else if line.len() > MAX_LINE {
                line.chunks(PIECE).for_each(|piece| write(&passable(piece)));
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        write(&passable(&line));
    }
}

/// The line as Velero can take it, with its end.
fn passable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    if text.len() <= MAX_LINE
        && let Ok(entry) = serde_json::from_str::<Map<String, Value>>(text)
        && entry.contains_key("@message")
        && !entry.contains_key("@timestamp")
        && entry.values().all(Value::is_string)
    {
        return format!("{text}\n");
    }
    let mut entry = Map::new();
    entry.insert("@message".to_owned(), text.into());
    entry.insert("stream".to_owned(), "stderr".into());
    hclog::line(Level::INFO, None, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_pass_and_everything_else_becomes_one() {
        let entry = r#"{"@level":"warn","@message":"m","name":"n"}"#;
        assert_eq!(passable(format!("{entry}\n").as_bytes()), format!("{entry}\n"));
        for (odd, message) in [
            (&b"plain \xff\n"[..], "plain \u{fffd}"),
            (br#"{"@level":"error","@message":7}"#, r#"{"@level":"error","@message":7}"#),
            (br#"{"@level":"error","@message":"m","name":null}"#, r#"{"@level":"error","@message":"m","name":null}"#),
            (br#"{"@message":"m","@timestamp":"t"}"#, r#"{"@message":"m","@timestamp":"t"}"#),
            (br#"{"name":null}"#, r#"{"name":null}"#),
            (b"", ""),
        ] {
            let line: Value = serde_json::from_str(&passable(odd)).unwrap();
            assert_eq!((&line["@level"], &line["@message"]), (&"info".into(), &message.into()));
        }
    }

    #[test]
    fn a_piece_of_the_worst_sort_stays_below_velero_s_limit() {
        assert!(passable(&[1; PIECE]).len() < 64 * 1024);
    }
}
