//! What an NFS client sees.

use crate::fence::NfsTools;
use std::path::Path;
use std::time::Duration;

/// How often the server is asked, and how long is waited between: 75 s, longer than Ganesha remembers a name.
pub(super) const TRIES: u32 = 150;
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// Seconds that one question may take.
const PATIENCE: u32 = 5;

/// Somebody who looks at an export as a client does.
pub trait Shown {
    /// Whether the file `name` in the folder at `url` has two names, or cannot be seen at all.
    fn has_two_names(&self, url: &str, name: &str) -> bool;
}

/// Looks through the server, by `nfs-ls`.
#[derive(Debug, Clone, Copy)]
pub struct NfsClient;

impl Shown for NfsClient {
    fn has_two_names(&self, url: &str, name: &str) -> bool {
        match NfsTools::new(PATIENCE).run("nfs-ls", &[Path::new(url)]) {
            Ok(listing) => links(&String::from_utf8_lossy(&listing), name).is_none_or(|links| links >= 2),
            // A server that does not answer remembers nothing.
            Err(_) => true,
        }
    }
}

/// How many names a file has by a listing: `-rw-r--r--  1  107  107   1234 name`.
fn links(listing: &str, name: &str) -> Option<u64> {
    listing.lines().find_map(|line| {
        let mut rest = line;
        let mut fields = Vec::new();
        for _ in 0..5 {
            let (field, behind) = rest.split_once(' ')?;
            fields.push(field);
            rest = if fields.len() < 5 { behind.trim_start() } else { behind };
        }
        (rest == name).then(|| fields[1].parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_tells_how_many_names_a_file_has() {
        let listing = "-rw-r--r--  2   107   107      1234 disk.img\ndrwxr-xr-x  3 0 0 4096 a b\n-rw-r----- 1 0 0 1  lead\nnonsense\n";
        assert_eq!(links(listing, "disk.img"), Some(2));
        assert_eq!(links(listing, "a b"), Some(3));
        assert_eq!(links(listing, " lead"), Some(1));
        assert_eq!(links(listing, "none"), None);
        assert_eq!(links("", "disk.img"), None);
    }

    #[test]
    fn a_server_that_does_not_answer_remembers_nothing() {
        assert!(NfsClient.has_two_names("nfs://127.0.0.1/none?nfsport=1&mountport=1", "disk.img"));
    }
}
