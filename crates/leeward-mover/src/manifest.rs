//! What an image holds, block by block, in a form that is read and written as a stream.
//!
//! ```text
//! header   "LWBLOCKS"  u16 version = 1  u16 0  u32 bytes of a block  u64 bytes of the image
//! run      u64 first block  u32 number of blocks (1 … RUN)  16 bytes of digest for each
//! …
//! end      u64 2⁶⁴−1        u32 0                           32 bytes of fingerprint
//! ```
//!
//! Integers are little-endian. Blocks stand in ascending order; one that is all zero does not stand there at all, so two
//! images with the same bytes have the same manifest whatever their holes, but for where runs are cut. The fingerprint is
//! over the blocks and not over the runs, and says of the whole manifest that it is what was written.

use crate::block::{BLOCK_LOG, Digest, LARGEST, blocks};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"LWBLOCKS";
/// The version that is written, and the only one that is read.
pub const VERSION: u16 = 1;
/// Blocks of the longest run; bounds what a reader holds.
pub const RUN: usize = 4096;
const HEADER: usize = 24;
const END: u64 = u64::MAX;
/// Names what the fingerprint is of, so that no other hash can be taken for one.
const CONTEXT: &str = "leeward 2026-11-23 fingerprint of a disk image";

/// The hash over all of an image's blocks and its size: same fingerprint, same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// A manifest that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The stream failed.
    #[error("reading or writing a block manifest")]
    Io(#[source] io::Error),
    /// It ends in the middle.
    #[error("the block manifest ends in the middle")]
    Short,
    /// It does not begin like one.
    #[error("this is not a block manifest")]
    Foreign,
    /// It is of another version.
    #[error("the block manifest has version {found}; this program reads {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// It contradicts itself.
    #[error("the block manifest is damaged: {what}")]
    Damaged {
        /// How.
        what: &'static str,
    },
}

impl ManifestError {
    fn reading(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Short } else { Self::Io(error) }
    }
}

/// What the fingerprint is computed from, fed block by block.
#[derive(Debug, Clone)]
struct Hasher(blake3::Hasher);

impl Hasher {
    fn new(size: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&size.to_le_bytes());
        Self(hasher)
    }

    fn push(&mut self, first: u64, digests: &[Digest]) {
        for (index, digest) in (first..).zip(digests) {
            self.0.update(&index.to_le_bytes());
            self.0.update(&digest.0);
        }
    }

    fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

/// Writes a manifest.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    hasher: Hasher,
    blocks: u64,
    first: u64,
    run: Vec<Digest>,
}

impl<W: Write> Writer<W> {
    /// Begins the manifest of an image of `size` bytes.
    ///
    /// # Errors
    /// The stream, or an image larger than [`LARGEST`].
    pub fn new(mut to: W, size: u64) -> Result<Self, ManifestError> {
        check_size(size)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..10].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(1u32 << BLOCK_LOG).to_le_bytes());
        header[16..].copy_from_slice(&size.to_le_bytes());
        to.write_all(&header).map_err(ManifestError::Io)?;
        Ok(Self { to, hasher: Hasher::new(size), blocks: blocks(size), first: 0, run: Vec::with_capacity(RUN) })
    }

    /// Adds a block that is not all zero. Blocks come in ascending order.
    ///
    /// # Errors
    /// The stream, or a block that is out of order or behind the end.
    pub fn push(&mut self, index: u64, digest: Digest) -> Result<(), ManifestError> {
        let next = self.first + self.run.len() as u64;
        if index < next || index >= self.blocks {
            return Err(ManifestError::Damaged { what: "a block is out of order or behind the end" });
        }
        if index > next || self.run.len() == RUN {
            self.flush()?;
            self.first = index;
        }
        self.run.push(digest);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ManifestError> {
        if self.run.is_empty() {
            return Ok(());
        }
        self.hasher.push(self.first, &self.run);
        let mut bytes = Vec::with_capacity(12 + self.run.len() * Digest::BYTES);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.run.len()).unwrap_or(0).to_le_bytes());
        for digest in &self.run {
            bytes.extend_from_slice(&digest.0);
        }
        self.to.write_all(&bytes).map_err(ManifestError::Io)?;
        self.first += self.run.len() as u64;
        self.run.clear();
        Ok(())
    }

    /// Ends the manifest; gives back the stream, flushed.
    ///
    /// # Errors
    /// The stream.
    pub fn finish(mut self) -> Result<(W, Fingerprint), ManifestError> {
        self.flush()?;
        let fingerprint = self.hasher.finish();
        let mut end = [0; 44];
        end[..8].copy_from_slice(&END.to_le_bytes());
        end[12..].copy_from_slice(&fingerprint.0);
        self.to.write_all(&end).and_then(|()| self.to.flush()).map_err(ManifestError::Io)?;
        Ok((self.to, fingerprint))
    }
}

/// Reads a manifest: an iterator over its blocks. After the last one [`Reader::fingerprint`] is known to be right.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    size: u64,
    hasher: Hasher,
    first: u64,
    run: Vec<Digest>,
    at: usize,
    fingerprint: Option<Fingerprint>,
    failed: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is not a manifest, or of another version, or of a size that no image has.
    pub fn new(mut from: R) -> Result<Self, ManifestError> {
        let mut header = [0; HEADER];
        from.read_exact(&mut header).map_err(ManifestError::reading)?;
        if header[..8] != *MAGIC {
            return Err(ManifestError::Foreign);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != VERSION {
            return Err(ManifestError::Version { found: version });
        }
        if header[10..12] != [0, 0] || header[12..16] != (1u32 << BLOCK_LOG).to_le_bytes() {
            return Err(ManifestError::Damaged { what: "its blocks have another length" });
        }
        let size = u64::from_le_bytes(array(&header[16..]));
        check_size(size)?;
        let hasher = Hasher::new(size);
        Ok(Self { from, size, hasher, first: 0, run: Vec::new(), at: 0, fingerprint: None, failed: false })
    }

    /// Bytes of the image.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The image's fingerprint, once all blocks were read.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// Reads all that is left and returns the fingerprint.
    ///
    /// # Errors
    /// A damaged manifest.
    pub fn check(mut self) -> Result<Fingerprint, ManifestError> {
        for block in &mut self {
            block?;
        }
        self.fingerprint.ok_or(ManifestError::Short)
    }

    fn fill(&mut self) -> Result<(), ManifestError> {
        let mut head = [0; 12];
        self.from.read_exact(&mut head).map_err(ManifestError::reading)?;
        let first = u64::from_le_bytes(array(&head[..8]));
        let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if first == END {
            let mut stored = [0; 32];
            self.from.read_exact(&mut stored).map_err(ManifestError::reading)?;
            let computed = self.hasher.finish();
            if count != 0 || stored != computed.0 {
                return Err(ManifestError::Damaged { what: "its blocks do not give its fingerprint" });
            }
            self.fingerprint = Some(computed);
            return Ok(());
        }
        let next = self.first + self.run.len() as u64;
        let end = first.checked_add(count as u64).ok_or(ManifestError::Damaged { what: "a run is too long" })?;
        if count == 0 || count > RUN || first < next || end > blocks(self.size) {
            return Err(ManifestError::Damaged { what: "a run is too long, out of order, or behind the end" });
        }
        let mut bytes = vec![0; count * Digest::BYTES];
        self.from.read_exact(&mut bytes).map_err(ManifestError::reading)?;
        self.run.clear();
        self.run.extend(bytes.chunks_exact(Digest::BYTES).map(|bytes| Digest(array(bytes))));
        self.hasher.push(first, &self.run);
        (self.first, self.at) = (first, 0);
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<(u64, Digest), ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.run.len() {
            if self.failed || self.fingerprint.is_some() {
                return None;
            }
            if let Err(error) = self.fill() {
                self.failed = true;
                return Some(Err(error));
            }
            if self.fingerprint.is_some() {
                return None;
            }
        }
        let item = (self.first + self.at as u64, self.run[self.at]);
        self.at += 1;
        Some(Ok(item))
    }
}

fn check_size(size: u64) -> Result<(), ManifestError> {
    if size > LARGEST { Err(ManifestError::Damaged { what: "no image is as large as it says" }) } else { Ok(()) }
}

/// `bytes` as an array; they are as long as that wherever this is called.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests;
