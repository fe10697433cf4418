//! A clock that goes when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The clock. Clones show the same time.
#[derive(Clone)]
pub(crate) struct Clock {
    began: Instant,
    passed: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock { began: Instant::now(), passed: Arc::default() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.began + self.passed()
    }

    /// Since the clock was made.
    pub(crate) fn passed(&self) -> Duration {
        Duration::from_nanos(self.passed.load(SeqCst))
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.passed.fetch_add(time.as_nanos() as u64, SeqCst);
    }
}
