//! Waiting with a deadline: a one-time event, and a condition variable.
//!
//! Guarantees: a wait ends at its deadline or at a notification. A poisoned lock counts as a
//! healthy one.

use std::time::Instant;

use crate::base::sync::{Condvar, Mutex, MutexGuard, lock};

/// An event that happens once, and the threads that wait for it.
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

    /// Returns `false` at the deadline.
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

/// Waits on a condition variable until it is notified. Returns `None` once the deadline has passed;
/// without a deadline it waits for ever.
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
