//! What the main thread, the thread that reads standard input, and the system's threads tell each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What has come and was not told of. There is one for the process.
pub(super) static EVENTS: Events = Events { stop: Mutex::new(None), changed: Condvar::new() };

pub(super) struct Events {
    stop: Mutex<Option<&'static str>>,
    /// Something came, or standard input changed.
    changed: Condvar,
}

impl Events {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(
        &self,
        stop: MutexGuard<'a, Option<&'static str>>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Option<&'static str>> {
        let timeout = timeout.unwrap_or(Duration::from_secs(3600));
        self.changed.wait_timeout(stop, timeout).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Asks the program to stop, in the name of this. The first one is told.
pub(super) fn stop(name: &'static str) {
    EVENTS.lock().get_or_insert(name);
    changed();
}

/// Wakes whoever waits for input, or for its being taken.
pub(super) fn changed() {
    // With the lock, so that nobody is between a look and a wait.
    let _stop = EVENTS.lock();
    EVENTS.changed.notify_all();
}
