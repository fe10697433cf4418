//! How a worker parks, and how other threads wake it.
//!
//! Guarantees: a chunk that was pushed or leased before the worker parks is either seen by the
//! worker or wakes it. A wake call to an awake worker costs a fence and a load.

use crossbeam_utils::CachePadded;
use std::sync::OnceLock;

use crate::base::sync::{AtomicU32, Relaxed, SeqCst, Thread, fence, prefetch};

/// The parker of one worker.
#[derive(Debug)]
pub(crate) struct Parker {
    /// One while the worker is parked or about to park. Stored only by the worker.
    asleep: CachePadded<AtomicU32>,
    thread: OnceLock<Thread>,
    /// Stands in for the thread when a test drives the worker by hand.
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

    /// Sets the worker's thread, before any producer can wake it.
    pub(crate) fn register(&self, worker: Thread) {
        // A second call would mean two workers for one inbox, which a writer never starts.
        let first = self.thread.set(worker);
        debug_assert!(first.is_ok());
    }

    /// Prefetches the line that a swap needs.
    pub(crate) fn prefetch(&self) {
        prefetch(&raw const self.asleep);
    }

    /// Wakes the worker if it is parked. The worker then sees what the caller stored before.
    #[inline(always)]
    pub(crate) fn wake_if_parked(&self) {
        // Pairs with the fence of `prepare_to_park`.
        fence(SeqCst);
        if self.asleep.load(Relaxed) != 0 {
            self.wake();
        }
    }

    /// Wakes the worker, even from a nap.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&self) {
        #[cfg(all(test, not(loom)))]
        self.woken_up.store(1, Relaxed);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Worker: announces that it will park. Producers that store something after this wake it. The
    /// loads that follow see everything stored before, and the worker parks only if they find
    /// nothing to do.
    pub(crate) fn prepare_to_park(&self) {
        self.asleep.store(1, Relaxed);
        fence(SeqCst);
    }

    /// Worker: is awake again, so producers need not wake it.
    pub(crate) fn cancel_park(&self) {
        self.asleep.store(0, Relaxed);
    }

    /// Whether a park would return at once.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_woken_up(&self) -> bool {
        self.woken_up.load(Relaxed) != 0
    }

    /// Consumes the wake-up, as a returning park does.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn take_wake_up(&self) {
        self.woken_up.store(0, Relaxed);
    }
}
