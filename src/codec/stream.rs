//! What each codec does: encode contents to a stream, decode it, and end it by a trailer.

use std::io::{self, IoSlice};

/// Encodes the header and the records of one file in order. All of its output goes to that file, without gaps.
pub(crate) trait Encoder: Send {
    /// Appends the encoded form of `contents` to `out`. The output so far must be decodable without
    /// later output. After an error, nothing more can be encoded.
    fn encode(&mut self, contents: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<()>;

    /// The checksum of all contents so far, followed by `footer`.
    fn checksum(&self, footer: &[u8]) -> u32;
}

/// Decodes what an encoder has made, in order.
pub(crate) trait Decoder {
    /// Decodes the next bytes of the stream, all of them, and hands over what they stand for.
    /// Returns whether the stream ends with them. Fails if they do not belong to a stream.
    fn decode(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<bool>;

    /// The checksum of all contents so far.
    fn checksum(&self) -> u32;
}

/// What a file stands for once it has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents<'a> {
    /// Bytes of the header and the records.
    pub(crate) len: u64,
    /// The codec's checksum of header, records and footer.
    pub(crate) checksum: u32,
    pub(crate) footer: &'a [u8],
}

/// A gzip member ends with a checksum and a length.
const EDGE_BYTES_MAX: usize = 8;

/// What makes a file whole behind its last record: the footer, as the last block of a stream if a codec
/// encodes the file. Empty for a file that holds nothing but records, as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailer<'a> {
    before: Edge,
    footer: &'a [u8],
    after: Edge,
}

/// The codec's bytes on one side of the footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    bytes: [u8; EDGE_BYTES_MAX],
    len: usize,
}

impl Edge {
    /// The parts, one after the other.
    #[cfg(any(feature = "gzip", feature = "zstd", test))]
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut edge = Edge::default();
        for part in parts {
            edge.bytes[edge.len..][..part.len()].copy_from_slice(part);
            edge.len += part.len();
        }
        edge
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<'a> Trailer<'a> {
    pub(crate) fn new(before: Edge, footer: &'a [u8], after: Edge) -> Self {
        Trailer { before, footer, after }
    }

    /// Its bytes, in parts.
    pub(crate) fn slices(&self) -> [IoSlice<'_>; 3] {
        [self.before.bytes(), self.footer, self.after.bytes()].map(IoSlice::new)
    }

    /// Its bytes.
    pub(crate) fn to_vec(self) -> Vec<u8> {
        [self.before.bytes(), self.footer, self.after.bytes()].concat()
    }

    /// Their number.
    pub(crate) fn len(&self) -> u64 {
        (self.before.len + self.footer.len() + self.after.len) as u64
    }
}
