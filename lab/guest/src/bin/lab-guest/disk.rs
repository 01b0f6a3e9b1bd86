//! The machine's disks: `/dev/vd*`, read and written past every cache.

use leeward_lab_guest::block::{BLOCK, Block, SERIAL_MAX};
use rustix::fs::OFlags;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
};

/// Blocks read at a time: 256 KiB, the largest request that virtio-blk passes on whole.
const CHUNK: usize = 64;

pub(crate) struct Disk {
    serial: String,
    file: File,
    blocks: u64,
}

impl Disk {
    /// Every virtio disk, in the order of its serial.
    pub(crate) fn all() -> io::Result<Vec<Disk>> {
        let mut disks = Vec::new();
        for entry in fs::read_dir("/sys/block")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("vd") {
                disks.push(Disk::open(&name)?);
            }
        }
        disks.sort_by(|a, b| a.serial.cmp(&b.serial));
        Ok(disks)
    }

    fn open(name: &str) -> io::Result<Disk> {
        let about = |file: &str| fs::read_to_string(format!("/sys/block/{name}/{file}"));
        let mut serial = about("serial")?.trim_matches(['\0', '\n', ' ']).to_owned();
        if serial.is_empty() {
            name.clone_into(&mut serial);
        }
        debug_assert!(serial.len() <= SERIAL_MAX);
        let sectors: u64 = about("size")?.trim().parse().map_err(io::Error::other)?;
        let direct = i32::try_from((OFlags::DIRECT | OFlags::SYNC).bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(direct).open(format!("/dev/{name}"))?;
        Ok(Disk { serial, file, blocks: sectors * 512 / BLOCK as u64 })
    }

    pub(crate) fn serial(&self) -> &str {
        &self.serial
    }

    /// Blocks that the disk has room for, the header's included.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Writes one block; it is on the disk when this returns.
    pub(crate) fn write(&self, at: u64, block: &Block) -> io::Result<()> {
        self.file.write_all_at(&block.0, at * BLOCK as u64)
    }

    /// The whole blocks of the disk from the first one on.
    pub(crate) fn reader(&self) -> Reader<'_> {
        // One block more than is read at a time, so that there is an aligned stretch in it.
        let buffer = vec![0; (CHUNK + 1) * BLOCK];
        let start = buffer.as_ptr().align_offset(BLOCK);
        Reader { disk: self, buffer, start, filled: 0, used: 0, offset: 0 }
    }
}

pub(crate) struct Reader<'a> {
    disk: &'a Disk,
    buffer: Vec<u8>,
    /// Where the aligned part of the buffer begins.
    start: usize,
    filled: usize,
    used: usize,
    /// Bytes read from the disk so far.
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.filled {
            let left = self.disk.blocks * BLOCK as u64 - self.offset;
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK * BLOCK);
            let aligned = &mut self.buffer[self.start..self.start + want];
            self.filled = self.disk.file.read_at(aligned, self.offset)?;
            self.used = 0;
            self.offset += self.filled as u64;
        }
        let ready = &self.buffer[self.start + self.used..self.start + self.filled];
        let count = ready.len().min(out.len());
        out[..count].copy_from_slice(&ready[..count]);
        self.used += count;
        Ok(count)
    }
}
