//! What Linux says of the machine.

use std::fs;
use std::io;

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

/// Identity of the current boot.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits = text.trim().replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then_some(number.to_be_bytes())
}

/// Random bytes.
pub(crate) fn random() -> io::Result<[u8; 8]> {
    let mut random = [0; 8];
    // Up to 256 bytes come whole or not at all, see getrandom(2).
    retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))?;
    Ok(random)
}
