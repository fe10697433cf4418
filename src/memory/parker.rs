//! A worker's sleep, and how others end it.
//!
//! Guarantees: a chunk that was pushed, or a chunk that was leased, before a worker sleeps is seen
//! by it, or its producer rings. A ring at a worker that is awake costs a fence and a load.

use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::base::sync::{
    Acquire, AtomicU32, Relaxed, Release, SeqCst, Thread, fence, park, prefetch,
};

/// The parker of one worker.
#[derive(Debug)]
pub(crate) struct Parker {
    /// One while the worker sleeps or is about to. Stored by the worker alone.
    asleep: CachePadded<AtomicU32>,
    /// One from a wake-up until the worker parks next. The thread's own token is not enough: foreign code on the
    /// worker's thread, such as the `Drop` of a message, may park too, and takes it.
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
        // Before the thread's token. Pairs with `park`.
        self.token.store(1, Release);
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

    /// Worker: waits until it is woken, or the time is over; without one, for as long as it takes. May return early. A
    /// wake-up that came since the last call ends it at once. What was stored before the wake-up is seen.
    pub(crate) fn park(&self, time: Option<Duration>) {
        if !self.take_token() {
            park(time);
            // The worker looks at everything after this, so a wake-up until now is answered.
            self.take_token();
        }
    }

    /// Whether a park would return at once.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_woken(&self) -> bool {
        self.token.load(Acquire) != 0
    }

    /// As a park does when it begins and when it returns. Whether there was one.
    pub(crate) fn take_token(&self) -> bool {
        self.token.swap(0, Acquire) != 0
    }
}
