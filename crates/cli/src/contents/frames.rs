//! Where a compressed frame begins.

use std::io::BufRead;

use crate::contents::raw::Raw;

/// Bytes that tell whether a frame begins.
pub(super) const BEGIN_BYTES: usize = 10;

/// A gzip member (RFC 1952, section 2.3): deflate, no reserved flag, an extra flag and a system that
/// exist. Of 200 GB of random bytes one place looks like it.
pub(super) fn begins_gzip(bytes: &[u8]) -> bool {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, extra, system, ..] = *bytes else { return false };
    flags & 0xe0 == 0 && matches!(extra, 0 | 2 | 4) && matches!(system, 0..=13 | 255)
}

/// A zstd frame or a skippable one (RFC 8878, section 3.1), without the reserved bit.
pub(super) fn begins_zstd(bytes: &[u8]) -> bool {
    match *bytes {
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, ..] => descriptor & 8 == 0,
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => true,
        _ => false,
    }
}

/// Goes to the next place where a frame begins. Returns whether there is one.
pub(super) fn find(raw: &mut Raw, begins: fn(&[u8]) -> bool) -> bool {
    loop {
        let bytes = raw.peek(BEGIN_BYTES);
        if bytes.is_empty() {
            return false;
        }
        let last = bytes.len().saturating_sub(BEGIN_BYTES - 1).max(1);
        match (0..last).find(|&at| begins(&bytes[at..])) {
            Some(at) => {
                raw.consume(at);
                return true;
            }
            None => raw.consume(last),
        }
    }
}
