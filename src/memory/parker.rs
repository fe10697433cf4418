//! How a worker parks, and how other threads wake it.
//!
//! Guarantees: a chunk that was pushed or leased before the worker parks is either seen by the
//! worker or wakes it. A wake call to an awake worker costs a fence and a load.

use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::base::sync::{
    Acquire, AtomicU32, Relaxed, Release, SeqCst, Thread, fence, park, prefetch,
};

/// The parker of one worker.
#[derive(Debug)]
pub(crate) struct Parker {
    /// One while the worker is parked or about to park. Stored only by the worker.
    asleep: CachePadded<AtomicU32>,
    /// One from a wake-up until the worker parks next. The thread's own token is not enough: foreign code on this
    /// thread, such as the `Drop` of a message, may park too and consume it.
    token: AtomicU32,
    thread: OnceLock<Thread>,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Parker {
            asleep: CachePadded::new(AtomicU32::new(0)),
            token: AtomicU32::new(0),
            thread: OnceLock::new(),
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
        // Before the thread's token. Pairs with `park`.
        self.token.store(1, Release);
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

    /// Worker: waits until a wake-up, or until the time is over; without a time, for as long as it takes. May return
    /// early. Returns at once if a wake-up came since the last call. The worker sees what was stored before it.
    pub(crate) fn park(&self, time: Option<Duration>) {
        if !self.take_token() {
            park(time);
            // After this the worker looks at everything, which answers each wake-up so far.
            self.take_token();
        }
    }

    /// Whether a park would return at once.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_woken(&self) -> bool {
        self.token.load(Acquire) != 0
    }

    /// Consumes the wake-up, if there is one, and says whether there was.
    pub(crate) fn take_token(&self) -> bool {
        self.token.swap(0, Acquire) != 0
    }
}
