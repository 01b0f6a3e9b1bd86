//! Which kinds of action the Velero knows that has started this plug-in.
//!
//! Neither flags nor environment nor the wire say which version of Velero is at the other end, and one that meets a kind it
//! does not know ("invalid plugin kind") refuses to start. But the program is at hand: it is the parent process, and it can
//! only call the one kind that came later than this crate's oldest Velero if the method's path is in it.

use memchr::memmem;
use rustix::process::getppid;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a client of item block actions cannot do without.
const ITEM_BLOCK_METHOD: &[u8] = b"/v1.ItemBlockAction/GetRelatedItems";
const CHUNK: usize = 1 << 20;

/// How it is found out whether the host knows item block actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownKinds {
    /// By looking into the program that started this one.
    OfParent,
    /// It is known already.
    #[cfg_attr(not(feature = "harness"), allow(dead_code))]
    ItemBlocks(bool),
}

/// The host's program cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("read the program {path:?} of the process that started this plug-in")]
pub(crate) struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

impl KnownKinds {
    /// Whether an item block action may be offered. Reads the host's program (100 MB, some 50 ms), so not on a thread that
    /// others wait for.
    pub(crate) fn item_blocks(self) -> Result<bool, Unreadable> {
        match self {
            Self::ItemBlocks(known) => Ok(known),
            Self::OfParent => {
                // Without a parent it is the pod's first process that counts, which is never a Velero that started us.
                let parent = getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
                let path = PathBuf::from(format!("/proc/{parent}/exe"));
                contains(&path, ITEM_BLOCK_METHOD).map_err(|source| Unreadable { path, source })
            }
        }
    }
}

/// Whether the file has these bytes in it.
fn contains(path: &Path, needle: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let finder = memmem::Finder::new(needle);
    let mut window = vec![0; CHUNK];
    let mut held = 0;
    loop {
        let read = file.read(&mut window[held..])?;
        if read == 0 {
            return Ok(false);
        }
        let end = held + read;
        if finder.find(&window[..end]).is_some() {
            return Ok(true);
        }
        // It may begin in this piece and end in the next.
        held = end.min(needle.len() - 1);
        window.copy_within(end - held..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_lies_across_two_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        for at in [0, 7, CHUNK - ITEM_BLOCK_METHOD.len(), CHUNK - 5, CHUNK, 2 * CHUNK + 3] {
            let mut bytes = vec![b'/'; at];
            bytes.extend_from_slice(ITEM_BLOCK_METHOD);
            std::fs::write(&path, &bytes).unwrap();
            assert!(contains(&path, ITEM_BLOCK_METHOD).unwrap(), "at {at}");
            bytes.pop();
            std::fs::write(&path, &bytes).unwrap();
            assert!(!contains(&path, ITEM_BLOCK_METHOD).unwrap(), "cut off at {at}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_read_is_named() {
        let error = contains(Path::new("/proc/0/exe"), ITEM_BLOCK_METHOD).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
