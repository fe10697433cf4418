//! Messages for `send`, which takes ownership: how many were made, and how many were dropped.
//!
//! The counters are relaxed and reached without a shared pointer, so that they hide no race from ThreadSanitizer.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts messages and their drops.
#[derive(Debug)]
pub struct Drops {
    made: AtomicU64,
    dropped: AtomicU64,
}

/// Owned bytes, aligned to nothing, and not in the message itself. A drop overwrites them: whoever reads them
/// afterwards finds no record.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    drops: &'static Drops,
}

impl Drops {
    /// For a `static`.
    pub const fn zero() -> Drops {
        Drops { made: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }

    /// For a test of its own. Stays for as long as the program, as its messages may.
    pub fn leaked() -> &'static Drops {
        Box::leak(Box::new(Drops::zero()))
    }

    /// A message with a copy of these bytes.
    pub fn message(&'static self, bytes: &[u8]) -> Message {
        self.made.fetch_add(1, Relaxed);
        Message { bytes: bytes.to_vec(), drops: self }
    }

    /// How many messages were made.
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// How many were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.bytes.fill(b'!');
        self.drops.dropped.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_drop_counts_once() {
        let drops = Drops::leaked();
        let messages = [drops.message(b"one"), drops.message(b"two")];
        assert_eq!((messages[1].as_ref(), drops.made(), drops.dropped()), (&b"two"[..], 2, 0));
        drop(messages);
        assert_eq!((drops.made(), drops.dropped()), (2, 2));
    }
}
