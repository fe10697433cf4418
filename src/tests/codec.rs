//! A codec that makes two bytes of each: shows that nothing takes bytes of a file for bytes of records.
//!
//! The property test, the fault loops, the simulator and the crash tests write with it too.

use std::io::IoSlice;

use crate::codec::Encoder;

/// Doubles each byte.
pub(crate) struct Doubling;

impl Encoder for Doubling {
    fn encode(&mut self, records: &[IoSlice<'_>], out: &mut Vec<u8>) {
        out.extend(records.iter().flat_map(|slice| slice.iter()).flat_map(|&byte| [byte; 2]));
    }
}

/// What a file holds. Panics if it holds half of a byte.
pub(crate) fn decode(file: &[u8]) -> Vec<u8> {
    let byte = |pair: &[u8]| {
        assert!(pair.len() == 2 && pair[0] == pair[1], "torn: {pair:?}");
        pair[0]
    };
    file.chunks(2).map(byte).collect()
}
