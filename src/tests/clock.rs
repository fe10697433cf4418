//! Clocks that go when they are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What the wall clock shows at first: 2027-01-01T00:00:00Z.
const WALL: u64 = 1_798_761_600_000_000_000;

/// A monotonic clock, and a wall clock that goes with it and can be set. Clones show the same time.
#[derive(Clone)]
pub(crate) struct Clock {
    began: Instant,
    passed: Arc<AtomicU64>,
    /// What the wall clock showed at first, had it always been as it is set now.
    wall: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock {
            began: Instant::now(),
            passed: Arc::default(),
            wall: Arc::new(AtomicU64::new(WALL)),
        }
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

    /// What the wall clock shows, in nanoseconds since the epoch.
    pub(crate) fn wall(&self) -> u64 {
        self.wall.load(SeqCst) + self.passed.load(SeqCst)
    }

    pub(crate) fn set_wall(&self, nanos: u64) {
        self.wall.store(nanos - self.passed.load(SeqCst), SeqCst);
    }

    /// Sets the wall clock forth or back.
    pub(crate) fn shift_wall(&self, nanos: i64) {
        self.set_wall(self.wall().saturating_add_signed(nanos));
    }

    /// The wall clock as a writer reads it.
    pub(crate) fn wall_clock(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || Duration::from_nanos(clock.wall()))
    }
}
