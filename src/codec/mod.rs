//! Encodes records into file bytes, for files that do not hold records as they are.
//!
//! Guarantees: after each call, everything the encoder has emitted can be decoded. Touches no file.

use std::io::IoSlice;

use crate::config::Codec;

/// Encodes the records of one file in order. All of its output goes to that file, without gaps.
pub(crate) trait Encoder: Send {
    /// Appends the encoded form of `records` to `out`. The output so far must be decodable without
    /// later output.
    fn encode(&mut self, records: &[IoSlice<'_>], out: &mut Vec<u8>);
}

/// The encoder of one file, with its output for records that do not count yet. An encoder cannot
/// take output back, so a retry writes the same bytes.
pub(crate) struct Encoding {
    encoder: Box<dyn Encoder>,
    out: Vec<u8>,
    /// Length of the records that `out` encodes.
    record_bytes: u64,
}

impl Encoding {
    /// Returns `None` if the file holds records as they are.
    pub(crate) fn new(codec: Codec) -> Option<Self> {
        Some(Encoding { encoder: encoder(codec)?, out: Vec::new(), record_bytes: 0 })
    }

    /// Returns the bytes to write and the length of the records that they encode. If earlier output
    /// does not count yet, returns that again and ignores `records`.
    pub(crate) fn encode(&mut self, records: &[IoSlice<'_>]) -> (&[u8], u64) {
        if self.out.is_empty() {
            self.encoder.encode(records, &mut self.out);
            self.record_bytes = records.iter().map(|slice| slice.len() as u64).sum();
        }
        (&self.out, self.record_bytes)
    }

    /// Counts all records that were last encoded. Returns how many file bytes they took.
    pub(crate) fn commit(&mut self, record_bytes: u64) -> u64 {
        debug_assert_eq!(record_bytes, self.record_bytes, "encoded as a whole");
        let len = self.out.len() as u64;
        self.forget();
        len
    }

    /// Drops the output for the records that were last encoded; they are lost.
    pub(crate) fn forget(&mut self) {
        self.out.clear();
    }
}

/// The encoder for one file; `None` if it holds records as they are.
pub(crate) fn encoder(codec: Codec) -> Option<Box<dyn Encoder>> {
    match codec {
        Codec::None => None,
        #[cfg(test)]
        Codec::Doubled => Some(Box::new(crate::tests::codec::Doubling)),
    }
}
