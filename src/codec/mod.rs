//! From records to the bytes of a file, for files that do not hold records as they are.
//!
//! Guarantees: what an encoder has put out can be decoded up to the end of each call. Touches no file.

use std::io::IoSlice;

use crate::config::Codec;

/// Encodes the records of one file, in their order. All that it puts out goes to that file, without a gap.
pub(crate) trait Encoder: Send {
    /// Appends the encoded form of bytes of records. What has been put out by then can be decoded without what
    /// follows.
    fn encode(&mut self, records: &[IoSlice<'_>], out: &mut Vec<u8>);
}

/// The encoder of one file, and what it has put out for records that do not count yet. It can't take that back, so
/// the next try writes the same bytes.
pub(crate) struct Encoding {
    encoder: Box<dyn Encoder>,
    out: Vec<u8>,
    /// Bytes of the records that `out` stands for.
    record_bytes: u64,
}

impl Encoding {
    /// None if the file holds records as they are.
    pub(crate) fn new(codec: Codec) -> Option<Self> {
        Some(Encoding { encoder: encoder(codec)?, out: Vec::new(), record_bytes: 0 })
    }

    /// What is to be written: of these records, or of those that were encoded before and do not count yet. And how
    /// many bytes of records that are.
    pub(crate) fn encode(&mut self, records: &[IoSlice<'_>]) -> (&[u8], u64) {
        if self.out.is_empty() {
            self.encoder.encode(records, &mut self.out);
            self.record_bytes = records.iter().map(|slice| slice.len() as u64).sum();
        }
        (&self.out, self.record_bytes)
    }

    /// The records that were encoded last count now, all of them. How many bytes of the file that makes.
    pub(crate) fn commit(&mut self, record_bytes: u64) -> u64 {
        debug_assert_eq!(record_bytes, self.record_bytes, "encoded as a whole");
        let len = self.out.len() as u64;
        self.forget();
        len
    }

    /// The records that were encoded last are lost.
    pub(crate) fn forget(&mut self) {
        self.out.clear();
    }
}

/// For one file; none if it holds records as they are.
pub(crate) fn encoder(codec: Codec) -> Option<Box<dyn Encoder>> {
    match codec {
        Codec::None => None,
        #[cfg(test)]
        Codec::Doubled => Some(Box::new(crate::tests::codec::Doubling)),
    }
}
