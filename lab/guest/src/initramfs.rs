//! Packing the guest and the kernel's drivers into an initramfs (cpio, "newc").
//!
//! It holds `/init` (the guest), `/modules/*.ko`, `/modules.order` (their names, one a line, in the order in which they
//! are loaded) and the two device nodes without which a process cannot start: before devtmpfs is mounted the kernel
//! opens `/dev/console` and Rust's start-up wants `/dev/null`. The result depends on nothing but the input.

use flate2::{Compression, write::GzEncoder};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;

/// Writes the initramfs to `out`: compressed if its name ends in `.gz`, plain otherwise (the kernel takes both; plain
/// boots faster where the guest's processor is emulated). `modules` are uncompressed `.ko` files in loading order.
pub fn build(guest_bin: &Path, modules: &[PathBuf], out: &Path) -> io::Result<()> {
    let mut archive = Archive::default();
    for directory in ["dev", "modules", "proc", "sys"] {
        archive.entry(directory, DIRECTORY | 0o755, (0, 0), &[])?;
    }
    archive.entry("dev/console", CHARACTER | 0o600, (5, 1), &[])?;
    archive.entry("dev/null", CHARACTER | 0o666, (1, 3), &[])?;
    archive.entry("init", FILE | 0o755, (0, 0), &fs::read(guest_bin)?)?;
    let mut order = String::new();
    for module in modules {
        let name = module.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".ko"));
        let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "modules are *.ko files"))?;
        archive.entry(&format!("modules/{name}"), FILE | 0o644, (0, 0), &fs::read(module)?)?;
        order.push_str(name);
        order.push('\n');
    }
    archive.entry("modules.order", FILE | 0o644, (0, 0), order.as_bytes())?;
    let bytes = archive.finish()?;
    let temporary = out.with_extension("partial");
    if out.extension().is_some_and(|extension| extension == "gz") {
        let mut gz = GzEncoder::new(fs::File::create(&temporary)?, Compression::new(6));
        gz.write_all(&bytes)?;
        gz.finish()?.sync_all()?;
    } else {
        fs::write(&temporary, bytes)?;
    }
    fs::rename(temporary, out)
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
        self.entries += 1;
        self.bytes.extend_from_slice(b"070701");
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        for field in [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            write!(self.bytes, "{field:08x}")?;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, io::Read};

    /// Mode, device numbers, content.
    type Entry = (u32, (u32, u32), Vec<u8>);

    fn list(mut bytes: &[u8]) -> BTreeMap<String, Entry> {
        let mut found = BTreeMap::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[..6], b"070701", "at {at}");
            let field = |n: usize| {
                u32::from_str_radix(std::str::from_utf8(&bytes[6 + n * 8..14 + n * 8]).unwrap(), 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            let start = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return found;
            }
            found.insert(name, (mode, (field(9), field(10)), bytes[start..start + size].to_vec()));
            let next = (start + size).next_multiple_of(4);
            at += next;
            bytes = &bytes[next..];
        }
    }

    #[test]
    fn everything_is_in_it_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let guest = write("lab-guest", b"\x7fELF guest");
        let modules = [write("virtio_ring.ko", b"ring"), write("virtio.ko", b"v")];
        let out = dir.path().join("guest.cpio");
        build(&guest, &modules, &out).unwrap();
        let plain = fs::read(&out).unwrap();
        let files = list(&plain);
        assert_eq!(files["init"], (0o100_755, (0, 0), b"\x7fELF guest".to_vec()));
        assert_eq!(files["modules.order"].2, b"virtio_ring.ko\nvirtio.ko\n");
        assert_eq!(files["modules/virtio_ring.ko"].2, b"ring");
        assert_eq!((files["dev/console"].0, files["dev/console"].1), (0o020_600, (5, 1)));

        let gz = dir.path().join("guest.cpio.gz");
        build(&guest, &modules, &gz).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(fs::File::open(gz).unwrap()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }

    #[test]
    fn compressed_modules_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("virtio.ko.xz");
        fs::write(&path, b"").unwrap();
        assert!(build(&path, std::slice::from_ref(&path), &dir.path().join("out")).is_err());
    }
}
