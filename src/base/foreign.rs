//! Runs foreign code, such as a user's callback.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs foreign code and catches its panic.
pub(crate) fn quietly(foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
        // Dropping the payload is foreign code too. If that panics as well, leak the second
        // payload.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
    }
}
