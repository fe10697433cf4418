//! What each codec does: encode records to a stream, decode it, and end it by a trailer.

use std::io::{self, IoSlice};

/// Encodes the records of one file in order. All of its output goes to that file, without gaps.
pub(crate) trait Encoder: Send {
    /// Appends the encoded form of `records` to `out`. The output so far must be decodable without
    /// later output. After an error, nothing more can be encoded.
    fn encode(&mut self, records: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<()>;

    /// The checksum of all records so far.
    fn checksum(&self) -> u32;
}

/// Decodes what an encoder has made, in order.
pub(crate) trait Decoder {
    /// Decodes the next bytes of the stream, all of them, and hands over what they stand for.
    /// Returns whether the stream ends with them. Fails if they do not belong to a stream.
    fn decode(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<bool>;

    /// The checksum of all records so far.
    fn checksum(&self) -> u32;
}

/// A gzip member ends with an empty block, a checksum and a length.
const BYTES_MAX: usize = 10;

/// What makes the stream in a file whole. Empty for a file that holds records as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailer {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Trailer {
    /// The parts, one after the other.
    #[cfg(any(feature = "gzip", feature = "zstd", test))]
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut trailer = Trailer::default();
        for part in parts {
            trailer.bytes[trailer.len..][..part.len()].copy_from_slice(part);
            trailer.len += part.len();
        }
        trailer
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Their number.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }
}
