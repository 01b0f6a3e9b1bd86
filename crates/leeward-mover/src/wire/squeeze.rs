//! Compression where it pays.
//!
//! Disks hold archives and encrypted files beside text and code, in long stretches. A write of a stretch that does not become
//! smaller is not tried again for a while; then one is tried anew.

use crate::scan::STRIDE_BYTES;
use bytes::Bytes;
use std::io;

/// Bytes of the longest write.
pub const LONGEST: usize = STRIDE_BYTES;
/// Compression that saves less than one byte in so many costs the receiver more than the link.
const SAVES: usize = 10;
/// Bytes that are sent as they are until compression is tried again: one try in sixteen costs little.
const PAUSE: usize = 16 * LONGEST;
/// zstd's fastest regular level: its gain over none is most of what higher ones gain.
const LEVEL: i32 = 1;

/// Compresses the writes of one disk.
pub struct Squeezer {
    zstd: zstd::bulk::Compressor<'static>,
    /// Bytes until the next try.
    pause: usize,
}

impl Squeezer {
    /// Tries the first write.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(LEVEL)?, pause: 0 })
    }

    /// `bytes`, and if they were compressed, how long they were.
    pub fn squeeze(&mut self, bytes: &[u8]) -> (Bytes, Option<usize>) {
        if self.pause > 0 {
            self.pause = self.pause.saturating_sub(bytes.len());
            return (Bytes::copy_from_slice(bytes), None);
        }
        // What does not fit into that is not worth it, and zstd says so without finishing.
        let mut squeezed = Vec::with_capacity(bytes.len() - bytes.len().div_ceil(SAVES));
        match self.zstd.compress_to_buffer(bytes, &mut squeezed) {
            Ok(_) => (squeezed.into(), Some(bytes.len())),
            Err(_) => {
                self.pause = PAUSE;
                (Bytes::copy_from_slice(bytes), None)
            }
        }
    }
}

/// Unpacks what a peer sent.
pub struct Unsqueezer {
    zstd: zstd::bulk::Decompressor<'static>,
    buffer: Vec<u8>,
}

impl Unsqueezer {
    /// Ready.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()?, buffer: Vec::new() })
    }

    /// Unpacks `bytes`, which are `unpacked` bytes then. No more memory is taken than for the longest write, whatever they say.
    ///
    /// # Errors
    /// What is longer than the longest write, not what it says, or no zstd frame.
    pub fn unsqueeze(&mut self, bytes: &[u8], unpacked: u32) -> Result<&[u8], &'static str> {
        let unpacked =
            usize::try_from(unpacked).ok().filter(|unpacked| *unpacked <= LONGEST).ok_or("it is too long")?;
        self.buffer.clear();
        self.buffer.reserve_exact(unpacked);
        self.zstd.decompress_to_buffer(bytes, &mut self.buffer).map_err(|_| "it cannot be unpacked")?;
        if self.buffer.len() == unpacked { Ok(&self.buffer) } else { Err("it is not as long as it says") }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "what a test makes is small")]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn text_is_squeezed_and_noise_is_not() {
        let (mut squeezer, mut unsqueezer) = (Squeezer::new().unwrap(), Unsqueezer::new().unwrap());
        let text = b"all work and no play ".repeat(LONGEST / 21);
        let (squeezed, unpacked) = squeezer.squeeze(&text);
        assert!(squeezed.len() < text.len() / 10);
        assert_eq!(unsqueezer.unsqueeze(&squeezed, unpacked.unwrap() as u32).unwrap(), text);
        let mut noise = vec![0; LONGEST];
        rand::rng().fill_bytes(&mut noise);
        assert_eq!(squeezer.squeeze(&noise), (Bytes::from(noise.clone()), None));
        let tries = (0..40).filter(|_| squeezer.squeeze(&text).1.is_some()).count();
        assert_eq!(tries, 40 - PAUSE / text.len() - 1, "after a pause it is tried anew, and goes on");
        assert_eq!(squeezer.squeeze(&[]).0.len(), 0);
    }

    #[test]
    fn bombs_and_nonsense() {
        let mut unsqueezer = Unsqueezer::new().unwrap();
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        assert!(bomb.len() < 10_000);
        for unpacked in [0, 1, LONGEST as u32, LONGEST as u32 + 1, 64 << 20, u32::MAX] {
            assert!(unsqueezer.unsqueeze(&bomb, unpacked).is_err(), "{unpacked}");
        }
        assert!(unsqueezer.buffer.capacity() <= LONGEST);
        let short = zstd::bulk::compress(&[7; 100], 1).unwrap();
        assert!(unsqueezer.unsqueeze(&short, 101).is_err());
        assert!(unsqueezer.unsqueeze(b"nonsense", 8).is_err());
        assert_eq!(unsqueezer.unsqueeze(&short, 100).unwrap(), [7; 100]);
    }
}
