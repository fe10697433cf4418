//! Messages that are counted when they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the drops of its messages.
#[derive(Clone, Default)]
pub struct Drops(Arc<AtomicU64>);

/// Owned bytes, aligned to nothing, and not in the message itself.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    drops: Arc<AtomicU64>,
}

impl Drops {
    pub fn message(&self, bytes: &[u8]) -> Message {
        Message { bytes: bytes.to_vec(), drops: self.0.clone() }
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // Whoever reads it after this, reads nonsense.
        self.bytes.fill(b'!');
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}
