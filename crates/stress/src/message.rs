//! Messages for `send`, which takes ownership: how many were made, how many were dropped.
//!
//! Guarantees: relaxed counters order nothing, so they hide no race from ThreadSanitizer. A dropped
//! message overwrites its bytes, so a read after the drop finds no valid record.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::failure::fail;

static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A message that overwrites its bytes when it is dropped.
pub struct Message(Vec<u8>);

impl Message {
    /// With a copy of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        MADE.fetch_add(1, Relaxed);
        Message(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.0.fill(b'!');
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// To be called once all writers are gone. Fails unless each message was dropped once; returns their number.
pub fn expect_all_dropped() -> u64 {
    let (made, dropped) = (MADE.load(Relaxed), DROPPED.load(Relaxed));
    if made != dropped {
        fail(&format!("{made} messages were made, {dropped} dropped"));
    }
    made
}

/// The number of messages that were made and not dropped yet.
pub fn alive() -> u64 {
    // Each dropped message was made earlier, so reading in this order can't count below zero.
    let dropped = DROPPED.load(Relaxed);
    MADE.load(Relaxed).saturating_sub(dropped)
}
