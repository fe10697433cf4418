//! What stands between quotes: escapes of RFC 8259, which logfmt's readers understand as well.

use std::fmt::{self, Write};

const ONES: u64 = u64::MAX / 0xff;
const HIGH_BITS: u64 = ONES << 7;

/// Escapes what is written through it.
pub(crate) struct Escaped<'a, W>(pub(crate) &'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text)
    }
}

/// Writes the text without quotes around it.
#[inline]
pub(crate) fn escape(out: &mut impl Write, mut text: &str) -> fmt::Result {
    loop {
        let plain = plain_len(text.as_bytes());
        if plain == text.len() {
            return out.write_str(text);
        }
        out.write_str(&text[..plain])?;
        escape_byte(out, text.as_bytes()[plain])?;
        text = &text[plain + 1..];
    }
}

/// Number of bytes before the first one to escape: a quote, a backslash, a control character.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let mut words = bytes.chunks_exact(8);
    for (at, word) in words.by_ref().enumerate() {
        // All of them have eight bytes.
        let word = word.try_into().unwrap_or_default();
        let found = special_bytes(u64::from_le_bytes(word));
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let rest = words.remainder();
    // The last eight bytes are looked at once more: that is faster than the rest byte by byte.
    let is_plain = |last: &[u8; 8]| special_bytes(u64::from_le_bytes(*last)) == 0;
    if rest.is_empty() || bytes.last_chunk().is_some_and(is_plain) {
        return bytes.len();
    }
    let plain = rest.iter().take_while(|byte| !is_special(**byte)).count();
    bytes.len() - rest.len() + plain
}

/// The high bit of the first byte that is special, and of others behind it. Zero: there is none.
///
/// A byte below `n` borrows from its high bit when `n` is subtracted. A borrow from the byte before
/// may lie, but only behind a byte that is found (S. E. Anderson, Bit Twiddling Hacks: "hasless").
#[inline]
fn special_bytes(word: u64) -> u64 {
    let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let is_byte = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, b' ') | is_byte(b'"') | is_byte(b'\\')) & HIGH_BITS
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[cold]
fn escape_byte(out: &mut impl Write, byte: u8) -> fmt::Result {
    let short = match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        0x08 => "\\b",
        0x0c => "\\f",
        _ => return write!(out, "\\u{byte:04x}"),
    };
    out.write_str(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for byte in 0..=255 {
            for len in 0..20 {
                for at in 0..len {
                    // 0x21 and 0x80 are the neighbours of what is special, where a borrow would lie.
                    for around in [b'a', 0x21, 0x80, 0xff] {
                        let mut bytes = vec![around; len];
                        bytes[at] = byte;
                        let expected = if is_special(byte) { at } else { len };
                        assert_eq!(plain_len(&bytes), expected, "{byte:#x} at {at} of {len}");
                    }
                }
            }
        }
    }
}
