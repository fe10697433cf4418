//! A buffer for each thread, so that an event that is put together elsewhere first allocates nothing.
//!
//! Guarantees: what is taken is empty. An event within an event gets a buffer of its own.

use std::cell::Cell;

/// A buffer that grew larger is not kept for the next event.
const KEPT_MAX: usize = 64 << 10;

thread_local! {
    /// Without room while an event uses it.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub(crate) fn take() -> Vec<u8> {
    // A destructor of the thread may log after the buffer is gone.
    BUFFER.try_with(Cell::take).unwrap_or_default()
}

pub(crate) fn give_back(mut bytes: Vec<u8>) {
    if bytes.capacity() <= KEPT_MAX {
        bytes.clear();
        let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
    }
}
