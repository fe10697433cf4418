//! How a new writer gets to a thread: a slot for each thread, with one atomic exchange on each side.
//!
//! Guarantees: a newer writer replaces one that the thread has not taken. Taking a writer orders nothing that
//! the thread did before it, so the hand-off hides no race from ThreadSanitizer.

use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr};

use bufferedwriter::BufferedWriter;

use crate::account::Account;

/// Threads end once it is set.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

/// A writer, and what is needed to check its answers.
pub(crate) struct NewWriter {
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

/// Slots for `threads` threads, which live as long as the program.
pub(crate) fn slots(threads: usize) -> &'static [Slot] {
    static SLOTS: OnceLock<Vec<Slot>> = OnceLock::new();
    SLOTS.get_or_init(|| (0..threads).map(|_| Slot::default()).collect())
}

/// Where one thread finds the newest writer.
#[derive(Default)]
pub(crate) struct Slot(AtomicPtr<NewWriter>);

impl Slot {
    /// Offers a writer, and drops the one that was not taken.
    pub(crate) fn put(&self, new: NewWriter) {
        // Release alone: a writer that comes back out was put in by this same thread.
        drop(own(self.0.swap(Box::into_raw(Box::new(new)), Release)));
    }

    /// The newest writer, if it was not taken yet.
    pub(crate) fn take(&self) -> Option<Box<NewWriter>> {
        if self.0.load(Relaxed).is_null() {
            return None;
        }
        own(self.0.swap(null_mut(), Acquire))
    }
}

fn own(new: *mut NewWriter) -> Option<Box<NewWriter>> {
    // SAFETY: a pointer in a slot came from `Box::into_raw` in `put`, and each exchange takes it out.
    (!new.is_null()).then(|| unsafe { Box::from_raw(new) })
}
