//! The two kinds of block on a lab disk: the header (block 0) and the records (every later one).
//!
//! Laws:
//! - A block is exactly [`BLOCK`] bytes, the unit of one aligned direct write.
//! - The last 32 bytes of a block are the BLAKE3 hash of all bytes before them, so no byte can change unseen, and a
//!   write of which only the front arrived has no hash.
//! - Numbers are little-endian; texts are UTF-8 padded with zeros.
//! - The rest of a record is filler that is different in every block of every image: a copy that took a piece of
//!   another block is seen, and disks neither compress nor deduplicate better than real ones.

use std::fmt;

/// Bytes of one block.
pub const BLOCK: usize = 4096;
/// Longest serial of a disk, in bytes: virtio-blk reports no more than 20.
pub const SERIAL_MAX: usize = 20;
/// Longest name of a virtual machine, in bytes: the longest that Kubernetes lets be a label's value.
pub const VM_MAX: usize = 63;
/// Longest name of a site, in bytes.
pub const SITE_MAX: usize = 32;

const HASH_AT: usize = BLOCK - 32;
const HEADER_MAGIC: [u8; 8] = *b"LWDISK\x00\x01";
const RECORD_MAGIC: [u8; 8] = *b"LWRECD\x00\x01";

/// One block as bytes, aligned for direct I/O.
#[derive(Clone)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK]);

impl Block {
    fn sealed(mut self) -> Block {
        let hash = blake3::hash(&self.0[..HASH_AT]);
        self.0[HASH_AT..].copy_from_slice(hash.as_bytes());
        self
    }

    /// The hash that the block carries, whether right or wrong.
    pub fn hash(&self) -> Hash {
        Hash(take(&self.0, HASH_AT))
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({})", self.hash())
    }
}

/// A BLAKE3 hash; displays as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which image a block belongs to: random, given when the image is formatted. A copy has its original's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImageId(pub [u8; 16]);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a block cannot be read as what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBlock {
    /// All zeros: never written.
    Zero,
    /// Neither zeros nor whole: its own hash or its first bytes are wrong.
    Torn,
}

/// Block 0: which disk this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Serial by which the guest finds the disk.
    pub serial: String,
    /// Identity of the image.
    pub image: ImageId,
    /// Milliseconds since 1970 at which it was formatted.
    pub created: u64,
    /// Bytes of the image when it was formatted.
    pub bytes: u64,
}

impl Header {
    /// The block that says this. Texts longer than [`SERIAL_MAX`] are cut; [`crate::image::format_image`] refuses them.
    pub fn to_block(&self) -> Block {
        let mut block = Block([0; BLOCK]);
        block.0[..8].copy_from_slice(&HEADER_MAGIC);
        block.0[8..24].copy_from_slice(&self.image.0);
        block.0[24..32].copy_from_slice(&self.created.to_le_bytes());
        block.0[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        put_text(&mut block.0[40..104], &self.serial, SERIAL_MAX);
        block.sealed()
    }

    /// Reads block 0.
    pub fn from_block(block: &Block) -> Result<Header, BadBlock> {
        check(block, HEADER_MAGIC)?;
        Ok(Header {
            serial: text(&block.0[40..104]),
            image: ImageId(take(&block.0, 8)),
            created: u64::from_le_bytes(take(&block.0, 24)),
            bytes: u64::from_le_bytes(take(&block.0, 32)),
        })
    }
}

/// A later block: one thing that the guest wrote and saw acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// 1 for the block after the header, and one more each; equal to the block's place on the disk.
    pub number: u64,
    /// Site at which it was written.
    pub site: String,
    /// Virtual machine that wrote it.
    pub vm: String,
    /// Milliseconds since 1970 by the guest's clock.
    pub time: u64,
    /// Image it was written to.
    pub image: ImageId,
    /// Hash of the block before it.
    pub previous: Hash,
}

impl Record {
    /// The block that says this. Texts longer than [`VM_MAX`] and [`SITE_MAX`] are cut.
    pub fn to_block(&self) -> Block {
        let mut block = Block([0; BLOCK]);
        block.0[..8].copy_from_slice(&RECORD_MAGIC);
        block.0[8..16].copy_from_slice(&self.number.to_le_bytes());
        block.0[16..24].copy_from_slice(&self.time.to_le_bytes());
        block.0[24..40].copy_from_slice(&self.image.0);
        block.0[40..72].copy_from_slice(&self.previous.0);
        put_text(&mut block.0[72..136], &self.site, SITE_MAX);
        put_text(&mut block.0[136..200], &self.vm, VM_MAX);
        let mut filler = blake3::Hasher::new();
        filler.update(&block.0[..200]);
        filler.finalize_xof().fill(&mut block.0[200..HASH_AT]);
        block.sealed()
    }

    /// Reads a block after the first.
    pub fn from_block(block: &Block) -> Result<Record, BadBlock> {
        check(block, RECORD_MAGIC)?;
        Ok(Record {
            number: u64::from_le_bytes(take(&block.0, 8)),
            time: u64::from_le_bytes(take(&block.0, 16)),
            image: ImageId(take(&block.0, 24)),
            previous: Hash(take(&block.0, 40)),
            site: text(&block.0[72..136]),
            vm: text(&block.0[136..200]),
        })
    }
}

fn check(block: &Block, magic: [u8; 8]) -> Result<(), BadBlock> {
    if block.0 == [0; BLOCK] {
        return Err(BadBlock::Zero);
    }
    if block.0[..8] != magic || blake3::hash(&block.0[..HASH_AT]).as_bytes()[..] != block.0[HASH_AT..] {
        return Err(BadBlock::Torn);
    }
    Ok(())
}

fn take<const N: usize>(bytes: &[u8; BLOCK], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn put_text(field: &mut [u8], text: &str, max: usize) {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            number: 7,
            site: "east".into(),
            vm: "db".into(),
            time: 1_700_000_000_123,
            image: ImageId([3; 16]),
            previous: Hash([9; 32]),
        }
    }

    #[test]
    fn blocks_say_what_was_put_in() {
        let header = Header { serial: "data".into(), image: ImageId([1; 16]), created: 5, bytes: 64 << 20 };
        assert_eq!(Header::from_block(&header.to_block()), Ok(header));
        assert_eq!(Record::from_block(&record().to_block()), Ok(record()));
    }

    #[test]
    fn a_header_is_no_record_and_zeros_are_neither() {
        assert_eq!(Header::from_block(&record().to_block()), Err(BadBlock::Torn));
        assert_eq!(Record::from_block(&Block([0; BLOCK])), Err(BadBlock::Zero));
    }

    #[test]
    fn every_byte_counts() {
        let good = record().to_block();
        for at in 0..BLOCK {
            let mut bad = good.clone();
            bad.0[at] ^= 0x40;
            assert_eq!(Record::from_block(&bad), Err(BadBlock::Torn), "byte {at}");
        }
    }

    #[test]
    fn the_front_of_a_write_alone_is_torn() {
        for sectors in 1..8 {
            let mut half = record().to_block();
            half.0[sectors * 512..].fill(0);
            assert_eq!(Record::from_block(&half), Err(BadBlock::Torn), "{sectors} sectors");
        }
    }
}
