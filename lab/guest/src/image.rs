//! Making a new disk image: a sparse file with a header and nothing else.

use crate::block::{BLOCK, Header, ImageId, SERIAL_MAX};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Creates the image of a disk: `bytes` long (a multiple of 4096, at least two blocks), sparse, with a header and no
/// record. It fails if the file exists: an image that somebody may have written to is never formatted again.
pub fn format_image(path: &Path, serial: &str, bytes: u64) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if serial.is_empty() || serial.len() > SERIAL_MAX || !serial.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse(format!("a disk's serial has 1 to {SERIAL_MAX} printable characters: {serial:?}"));
    }
    if !bytes.is_multiple_of(BLOCK as u64) || bytes < 2 * BLOCK as u64 {
        return refuse(format!(
            "an image has two blocks of {BLOCK} bytes at least, and only whole ones: {bytes} bytes"
        ));
    }
    let mut image = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut image)?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let created = u64::try_from(created).unwrap_or(u64::MAX);
    let header = Header { serial: serial.to_owned(), image: ImageId(image), created, bytes };
    let mut file = File::create_new(path)?;
    file.set_len(bytes)?;
    file.write_all(&header.to_block().0)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_new_image_is_an_empty_whole_chain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        format_image(&path, "data", 1 << 20).unwrap();
        let report = chain::scan(File::open(&path).unwrap()).unwrap();
        assert!(report.is_whole() && report.records == 0, "{report:?}");
        assert_eq!(report.header.unwrap().serial, "data");
        assert!(path.metadata().unwrap().blocks() * 512 < 1 << 20, "not sparse");
    }

    #[test]
    fn an_existing_image_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        format_image(&path, "data", 1 << 20).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert_eq!(format_image(&path, "data", 1 << 20).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn two_images_are_never_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let id = |name| {
            let path = dir.path().join(name);
            format_image(&path, "data", 1 << 20).unwrap();
            chain::scan(File::open(path).unwrap()).unwrap().header.unwrap().image
        };
        assert_ne!(id("a"), id("b"));
    }

    #[test]
    fn bad_sizes_and_serials_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        for (serial, bytes) in [("", 1 << 20), ("has blank", 1 << 20), ("x", 4096), ("x", 10_000)] {
            let error = format_image(&path, serial, bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{serial} {bytes}");
        }
        assert!(!path.exists());
    }
}
