//! The last bytes of an encoded file.

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
