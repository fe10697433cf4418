//! Little-endian integers in bytes that may come from anywhere.

/// Reads two bytes.
pub(crate) fn u16(bytes: &[u8]) -> u16 {
    number(bytes) as u16
}

/// Reads four bytes.
pub(crate) fn u32(bytes: &[u8]) -> u32 {
    number(bytes) as u32
}

/// Reads eight bytes.
pub(crate) fn u64(bytes: &[u8]) -> u64 {
    number(bytes)
}

/// Reads at most eight bytes. Missing high bytes count as zero.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_the_least() {
        assert_eq!((u16(&[1, 2]), u32(&[1, 2, 3, 4])), (0x0201, 0x0403_0201));
        assert_eq!(u64(&[1, 0, 0, 0, 0, 0, 0, 0x80]), 0x8000_0000_0000_0001);
        assert_eq!((u64(&[]), u64(&[0xff])), (0, 255));
    }
}
