//! A file as one gzip member (RFC 1952).
//!
//! Each call ends with a sync flush, which leaves the stream at the start of a byte. There a final
//! block, the checksum and the length end the member. The block is empty, or holds the footer as it is
//! (RFC 1951, sections 3.2.3 and 3.2.4).

use std::io::{self, ErrorKind, IoSlice};

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use crate::codec::stream::{Contents, Decoder, Edge, Encoder, Trailer};

/// Deflate, no name, no time, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty final block with fixed codes.
const EMPTY_BLOCK: [u8; 2] = [3, 0];
/// Begins a final block that holds bytes as they are.
const STORED_BLOCK: [u8; 1] = [1];
/// Most memory of zlib-rs for one stream: 371 KiB was measured.
pub(super) const STATE_BYTES: usize = 512 << 10;
/// Bytes of output of one step.
const STEP: usize = 64 << 10;

/// Ends a member that holds this, with its CRC-32.
pub(super) fn trailer<'a>(contents: &Contents<'a>) -> Trailer<'a> {
    let Contents { len, checksum, footer } = *contents;
    let block = if footer.is_empty() {
        Edge::of(&[&EMPTY_BLOCK])
    } else {
        let len = footer.len() as u16;
        Edge::of(&[&STORED_BLOCK, &len.to_le_bytes(), &(!len).to_le_bytes()])
    };
    Trailer::new(block, footer, Edge::of(&[&sums(checksum, len.wrapping_add(footer.len() as u64))]))
}

/// The checksum and the length, which counts modulo 2^32.
fn sums(checksum: u32, len: u64) -> [u8; 8] {
    (u64::from(checksum) | len << 32).to_le_bytes()
}

/// Makes a gzip member.
pub(super) struct Deflating {
    deflate: Compress,
    crc: Crc,
    has_header: bool,
}

impl Deflating {
    /// With a level from 0 to 9.
    pub(super) fn new(level: u32) -> Self {
        let deflate = Compress::new(Compression::new(level), false);
        Deflating { deflate, crc: Crc::new(), has_header: false }
    }

    /// Feeds all of `input` and appends the output.
    fn put(&mut self, mut input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> io::Result<()> {
        loop {
            out.reserve(STEP);
            let before = self.deflate.total_in();
            self.deflate.compress_vec(input, out, flush).map_err(io::Error::other)?;
            input = &input[(self.deflate.total_in() - before) as usize..];
            // With room left in the output, there is nothing more to come.
            if input.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

impl Encoder for Deflating {
    fn encode(&mut self, contents: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<()> {
        if !self.has_header {
            out.extend_from_slice(&HEADER);
            self.has_header = true;
        }
        for part in contents {
            self.crc.update(part);
            self.put(part, out, FlushCompress::None)?;
        }
        self.put(&[], out, FlushCompress::Sync)
    }

    fn checksum(&self, footer: &[u8]) -> u32 {
        let (mut all, mut end) = (Crc::new(), Crc::new());
        end.update(footer);
        all.combine(&self.crc);
        all.combine(&end);
        all.sum()
    }
}

/// Reads a gzip member that [`Deflating`] made.
pub(super) struct Inflating {
    inflate: Decompress,
    crc: Crc,
    /// Bytes of the header that were seen.
    header: usize,
    /// The last bytes after the final block.
    tail: Vec<u8>,
    has_ended: bool,
    out: Vec<u8>,
}

impl Inflating {
    pub(super) fn new() -> Self {
        let inflate = Decompress::new(false);
        let (tail, out) = (Vec::new(), Vec::with_capacity(STEP));
        Inflating { inflate, crc: Crc::new(), header: 0, tail, has_ended: false, out }
    }

    /// Takes the header off.
    fn behind_header<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let (now, rest) = bytes.split_at(bytes.len().min(HEADER.len() - self.header));
        if now != &HEADER[self.header..][..now.len()] {
            return Err(ErrorKind::InvalidData.into());
        }
        self.header += now.len();
        Ok(rest)
    }
}

impl Decoder for Inflating {
    fn decode(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let mut bytes = self.behind_header(bytes)?;
        while !self.has_ended {
            self.out.clear();
            let before = self.inflate.total_in();
            let status = self
                .inflate
                .decompress_vec(bytes, &mut self.out, FlushDecompress::None)
                .map_err(io::Error::other)?;
            bytes = &bytes[(self.inflate.total_in() - before) as usize..];
            self.crc.update(&self.out);
            each(&self.out);
            self.has_ended = status == Status::StreamEnd;
            if bytes.is_empty() && self.out.len() < self.out.capacity() {
                break;
            }
        }
        self.tail.extend_from_slice(bytes);
        let expected = sums(self.crc.sum(), self.crc.amount().into());
        if !expected.starts_with(&self.tail) {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(self.has_ended && self.tail == expected)
    }

    fn checksum(&self) -> u32 {
        self.crc.sum()
    }
}
