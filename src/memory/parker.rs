//! A worker's sleep, and how others end it.
//!
//! Guarantees: a chunk that was pushed, or a chunk that was leased, before a worker sleeps is seen
//! by it, or its producer rings. A ring at a worker that is awake costs a fence and a load.

use crossbeam_utils::CachePadded;
use std::sync::OnceLock;

use crate::base::sync::{AtomicU32, Relaxed, SeqCst, Thread, fence, prefetch};

/// The parker of one worker.
#[derive(Debug)]
pub(crate) struct Parker {
    /// One while the worker sleeps or is about to. Stored by the worker alone.
    asleep: CachePadded<AtomicU32>,
    thread: OnceLock<Thread>,
    /// Stands in for the thread where a test drives the worker by hand.
    #[cfg(all(test, not(loom)))]
    woken_up: AtomicU32,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Parker {
            asleep: CachePadded::new(AtomicU32::new(0)),
            thread: OnceLock::new(),
            #[cfg(all(test, not(loom)))]
            woken_up: AtomicU32::new(0),
        }
    }

    /// Names the worker, before the first producer can ring.
    pub(crate) fn register(&self, worker: Thread) {
        // A second call would be a second worker for one inbox, which the writer never starts.
        let first = self.thread.set(worker);
        debug_assert!(first.is_ok());
    }

    /// Of what a swap needs.
    pub(crate) fn prefetch(&self) {
        prefetch(&raw const self.asleep);
    }

    /// Wakes the worker if it sleeps. What the caller stored before is seen by the worker then.
    #[inline(always)]
    pub(crate) fn wake_if_parked(&self) {
        // Pairs with the fence of `prepare_to_park`.
        fence(SeqCst);
        if self.asleep.load(Relaxed) != 0 {
            self.wake();
        }
    }

    /// Wakes the worker, also from a nap.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&self) {
        #[cfg(all(test, not(loom)))]
        self.woken_up.store(1, Relaxed);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Worker: from here on, who stores something rings; what was stored before is seen by the
    /// loads after this. It sleeps only if those find nothing.
    pub(crate) fn prepare_to_park(&self) {
        self.asleep.store(1, Relaxed);
        fence(SeqCst);
    }

    /// Worker: awake again, no need to ring.
    pub(crate) fn cancel_park(&self) {
        self.asleep.store(0, Relaxed);
    }

    /// Whether a park would return at once.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_woken_up(&self) -> bool {
        self.woken_up.load(Relaxed) != 0
    }

    /// As a park does when it returns.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn take_wake_up(&self) {
        self.woken_up.store(0, Relaxed);
    }
}
