//! Waiting with a deadline: something that happens once, and a condition variable's wait.
//!
//! Guarantees: a wait ends at its deadline, or at a notification. A thread that panicked while it held a lock changes nothing.

use std::time::Instant;

use crate::base::sync::{Condvar, Mutex, MutexGuard, lock};

/// Something that happens once, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    is_set: Mutex<bool>,
    told: Condvar,
}

impl Latch {
    pub(crate) fn set(&self) {
        *lock(&self.is_set) = true;
        self.told.notify_all();
    }

    /// `false` at the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut is_set = lock(&self.is_set);
        while !*is_set {
            match wait_on(&self.told, is_set, deadline) {
                Some(woken) => is_set = woken,
                None => return false,
            }
        }
        true
    }
}

/// Waits on a condition variable until it is notified; `None` once the deadline has passed.
/// Without a deadline: for ever.
pub(crate) fn wait_on<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'a, T>> {
    let Some(deadline) = deadline else {
        return Some(condition.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner));
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    let waited = condition.wait_timeout(guard, left);
    Some(waited.unwrap_or_else(std::sync::PoisonError::into_inner).0)
}
