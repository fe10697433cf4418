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

/// For one file; none if it holds records as they are.
pub(crate) fn encoder(codec: Codec) -> Option<Box<dyn Encoder>> {
    match codec {
        Codec::None => None,
        #[cfg(test)]
        Codec::Doubled => Some(Box::new(crate::tests::codec::Doubling)),
    }
}
