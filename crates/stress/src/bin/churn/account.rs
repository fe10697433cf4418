//! One account for each writer: what it accepted, hence must have written, and when it may refuse as `Closed`.
//!
//! Guarantees: the counters are relaxed, so they hide no race from ThreadSanitizer. Only the two marks of the
//! close order anything.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};

use bufferedwriter_stress::failure::fail;
use bufferedwriter_testkit::random::mix;
use bufferedwriter_testkit::record_set::RecordSet;

/// Records, their bytes, and a checksum over their ids that ignores the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

impl Sum {
    /// Of all that was found.
    pub(crate) fn of(found: &RecordSet) -> Self {
        let checksum = found.ids().fold(0, |sum: u64, id| sum.wrapping_add(mix(id.seq)));
        Sum { records: found.records, bytes: found.bytes, checksum }
    }
}

/// The account of one writer.
#[derive(Debug, Default)]
pub(crate) struct Account {
    closing: AtomicBool,
    closed: AtomicBool,
    records: AtomicU64,
    bytes: AtomicU64,
    checksum: AtomicU64,
}

/// Accounts for `writers` writers, which live as long as the program.
pub(crate) fn open(writers: usize) -> &'static [Account] {
    static ACCOUNTS: OnceLock<Vec<Account>> = OnceLock::new();
    ACCOUNTS.get_or_init(|| (0..writers).map(|_| Account::default()).collect())
}

impl Account {
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// What callers were told so far. No consistent snapshot while others write.
    pub(crate) fn sum(&self) -> Sum {
        Sum {
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            checksum: self.checksum.load(Relaxed),
        }
    }

    /// Before the close: from here on the writer may refuse records.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Relaxed);
        // Pairs with the fence of `refused`.
        fence(SeqCst);
    }

    /// After the close: from here on the writer must refuse records.
    pub(crate) fn end_close(&self) {
        self.closed.store(true, Release);
    }

    /// Before a write: whether it must be refused. Pairs with the store in `end_close`.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// After a write that was accepted.
    pub(crate) fn accepted(&self, id: u64, bytes: usize, was_closed: bool) {
        if was_closed {
            fail("a closed writer accepted a record");
        }
        self.checksum.fetch_add(mix(id), Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.records.fetch_add(1, Relaxed);
    }

    /// After a write that was refused as `Closed`. Fails if no close has begun.
    pub(crate) fn refused(&self) {
        fence(SeqCst);
        if !self.closing.load(Relaxed) {
            fail("an open writer says Closed");
        }
    }
}
