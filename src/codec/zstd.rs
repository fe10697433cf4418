//! A file as one zstd frame with a checksum (RFC 8878).
//!
//! Each call ends with a flush, which ends a block. There a last block and the checksum end the frame.
//! The block is raw: it holds the footer as it is, or nothing (RFC 8878, section 3.1.1). Zstd does not tell its own checksum before the end of a
//! frame, so it makes none: it is computed here, and its flag is set in the frame's header.

use std::hash::Hasher;
use std::io::{self, ErrorKind, IoSlice};

use twox_hash::XxHash64;
use zstd_safe::zstd_sys::ZSTD_EndDirective::{self, ZSTD_e_continue, ZSTD_e_flush};
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::codec::stream::{Contents, Decoder, Edge, Encoder, Trailer};

/// Last and raw. The length stands above these bits.
const LAST_BLOCK: u32 = 1;
const LENGTH_SHIFT: u32 = 3;
/// The frame header's descriptor, and the bit in it that says there is a checksum.
const DESCRIPTOR_AT: usize = 4;
const HAS_CHECKSUM: u8 = 1 << 2;
/// No level has a larger window than 8 MiB. A hostile frame may ask for more.
const WINDOW_LOG_MAX: u32 = 23;
/// Bytes of output of one step: at least what a block takes.
const STEP: usize = 128 << 10;

/// Most memory of zstd for one frame, which grows with the level; a test measures it.
pub(super) fn state_bytes(level: i32) -> usize {
    let mib = match level {
        // Zero is zstd's default, level 3.
        0 | 3..=4 => 5,
        ..=1 => 2,
        2 => 3,
        5..=8 => 8,
        9 => 15,
        10..=11 => 25,
        12 => 45,
        13..=18 => 70,
        _ => 90,
    };
    mib << 20
}

/// Ends a frame that holds this, with its checksum.
pub(super) fn trailer<'a>(contents: &Contents<'a>) -> Trailer<'a> {
    let Contents { checksum, footer, .. } = *contents;
    let block = (LAST_BLOCK | (footer.len() as u32) << LENGTH_SHIFT).to_le_bytes();
    Trailer::new(Edge::of(&[&block[..3]]), footer, Edge::of(&[&checksum.to_le_bytes()]))
}

/// The lower half of the hash.
fn checksum(hash: &XxHash64) -> u32 {
    hash.finish() as u32
}

fn failed(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

/// Makes a zstd frame.
pub(super) struct Compressing {
    context: CCtx<'static>,
    hash: XxHash64,
    has_header: bool,
}

impl Compressing {
    /// With a level from -7 to 19. Fails for want of memory.
    pub(super) fn new(level: i32) -> io::Result<Self> {
        let mut context = CCtx::try_create().ok_or(ErrorKind::OutOfMemory)?;
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(false)] {
            context.set_parameter(parameter).map_err(failed)?;
        }
        Ok(Compressing { context, hash: XxHash64::with_seed(0), has_header: false })
    }

    /// Feeds all of `input` and appends the output.
    fn put(&mut self, input: &[u8], out: &mut Vec<u8>, how: ZSTD_EndDirective) -> io::Result<()> {
        let mut input = InBuffer::around(input);
        loop {
            out.reserve(STEP);
            let at = out.len();
            let mut output = OutBuffer::around_pos(out, at);
            let left = self.context.compress_stream2(&mut output, &mut input, how);
            let left = left.map_err(failed)?;
            let is_done = match how {
                ZSTD_e_continue => input.pos() == input.src.len(),
                _ => left == 0,
            };
            if is_done {
                return Ok(());
            }
        }
    }
}

impl Encoder for Compressing {
    fn encode(&mut self, contents: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<()> {
        let begin = out.len();
        for part in contents {
            self.hash.write(part);
            self.put(part, out, ZSTD_e_continue)?;
        }
        self.put(&[], out, ZSTD_e_flush)?;
        if !self.has_header {
            out[begin + DESCRIPTOR_AT] |= HAS_CHECKSUM;
            self.has_header = true;
        }
        Ok(())
    }

    fn checksum(&self, footer: &[u8]) -> u32 {
        let mut hash = self.hash.clone();
        hash.write(footer);
        checksum(&hash)
    }
}

/// Reads a zstd frame.
pub(super) struct Decompressing {
    context: DCtx<'static>,
    hash: XxHash64,
    has_ended: bool,
    out: Vec<u8>,
}

impl Decompressing {
    /// Fails for want of memory.
    pub(super) fn new() -> io::Result<Self> {
        let mut context = DCtx::try_create().ok_or(ErrorKind::OutOfMemory)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(failed)?;
        let out = Vec::with_capacity(STEP);
        Ok(Decompressing { context, hash: XxHash64::with_seed(0), has_ended: false, out })
    }
}

impl Decoder for Decompressing {
    fn decode(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let mut input = InBuffer::around(bytes);
        while !self.has_ended {
            self.out.clear();
            let mut output = OutBuffer::around(&mut self.out);
            let hint = self.context.decompress_stream(&mut output, &mut input).map_err(failed)?;
            self.hash.write(&self.out);
            each(&self.out);
            self.has_ended = hint == 0;
            if input.pos() == bytes.len() && self.out.len() < self.out.capacity() {
                break;
            }
        }
        if input.pos() < bytes.len() {
            // Something follows the frame.
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(self.has_ended)
    }

    fn checksum(&self) -> u32 {
        checksum(&self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::random::Random;

    #[test]
    fn no_level_takes_more_memory_than_is_said() {
        let mut random = Random::new(1);
        let input: Vec<_> = (0..1 << 20).map(|_| random.below(40_u8)).collect();
        for level in -7..=19 {
            let mut encoder = Compressing::new(level).unwrap();
            encoder.encode(&[IoSlice::new(&input)], &mut Vec::new()).unwrap();
            let bytes = encoder.context.sizeof();
            assert!(bytes <= state_bytes(level), "level {level}: {bytes}");
        }
    }
}
