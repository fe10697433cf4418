//! How a new writer gets to a thread: one exchange on each side.
//!
//! Guarantees: a newer writer replaces one that was not fetched; nothing that a thread did before it
//! fetches is ordered before what others do after, so no race is hidden from ThreadSanitizer.

use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr};

use bufferedwriter::BufferedWriter;

use crate::account::Account;

/// Threads end when they see it.
pub(crate) static END: AtomicBool = AtomicBool::new(false);

/// What a thread must know of a writer.
pub(crate) struct Mail {
    pub(crate) writer: BufferedWriter,
    pub(crate) number: u32,
    pub(crate) account: &'static Account,
    pub(crate) memory: Memory,
}

/// A writer's memory, as it was configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) size: usize,
    pub(crate) chunks: usize,
}

impl Memory {
    /// Whether a record can never be accepted.
    pub(crate) fn is_too_small_for(self, len: usize) -> bool {
        len.div_ceil(self.size) > self.chunks
    }
}

/// Mailboxes for so many threads, for as long as the program runs.
pub(crate) fn set_up(threads: usize) -> &'static [Mailbox] {
    static MAILBOXES: OnceLock<Vec<Mailbox>> = OnceLock::new();
    MAILBOXES.get_or_init(|| (0..threads).map(|_| Mailbox::default()).collect())
}

/// Where one thread finds the newest writer.
#[derive(Default)]
pub(crate) struct Mailbox(AtomicPtr<Mail>);

impl Mailbox {
    pub(crate) fn post(&self, mail: Mail) {
        // What comes out was put in by this same thread.
        drop(own(self.0.swap(Box::into_raw(Box::new(mail)), Release)));
    }

    pub(crate) fn fetch(&self) -> Option<Box<Mail>> {
        if self.0.load(Relaxed).is_null() {
            return None;
        }
        own(self.0.swap(null_mut(), Acquire))
    }
}

fn own(mail: *mut Mail) -> Option<Box<Mail>> {
    // SAFETY: what is in a mailbox came from `Box::into_raw` in `post`, and each exchange takes it out.
    (!mail.is_null()).then(|| unsafe { Box::from_raw(mail) })
}
