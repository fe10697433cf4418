//! What callers were told of each writer: what it must have written, and when it may say `Closed`.
//!
//! Guarantees: relaxed counters order nothing, so that they hide no race from ThreadSanitizer; the
//! marks of the close order what they must.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};

use crate::failure::fail;
use crate::random::mix;

/// A number of records, their bytes, and a sum that depends on which records they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, id: u64, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.checksum = self.checksum.wrapping_add(mix(id));
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

/// Accounts of so many writers, for as long as the program runs.
pub(crate) fn open(writers: usize) -> &'static [Account] {
    static ACCOUNTS: OnceLock<Vec<Account>> = OnceLock::new();
    ACCOUNTS.get_or_init(|| (0..writers).map(|_| Account::default()).collect())
}

impl Account {
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// What callers were told so far. Not one moment's, while others write.
    pub(crate) fn sum(&self) -> Sum {
        Sum {
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            checksum: self.checksum.load(Relaxed),
        }
    }

    /// Closer: from here on the writer may refuse.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Relaxed);
        // Pairs with the fence of `refused`.
        fence(SeqCst);
    }

    /// Closer: from here on the writer must refuse.
    pub(crate) fn end_close(&self) {
        self.closed.store(true, Release);
    }

    /// Before a write: whether it must be refused. Acquire: what the close did comes before it.
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

    /// After a write that was refused as `Closed`.
    pub(crate) fn refused(&self) {
        fence(SeqCst);
        if !self.closing.load(Relaxed) {
            fail("a writer that nobody closed says Closed");
        }
    }
}
