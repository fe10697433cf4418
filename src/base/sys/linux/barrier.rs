//! membarrier(2): makes all threads of the process pass a fence, so that they need none of their own.

use std::time::Duration;

use rustix::thread::{MembarrierCommand, membarrier};

/// Registers the process. `false` if the kernel refuses, or the build must not call it.
pub(crate) fn register() -> bool {
    // valgrind has no membarrier but runs one thread at a time, so no barrier is needed. This
    // lets it count the instructions of the usual mode.
    if cfg!(bufferedwriter_valgrind) {
        return true;
    }
    if cfg!(bufferedwriter_portable) {
        return false;
    }
    membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
}

/// Every thread of the process passes a fence before this returns. Only after [`register`] succeeded.
pub(crate) fn pass() {
    // After registration this fails only if a later seccomp filter forbids it, or while
    // memory is short. Then a pause stands in: a processor's stores become visible to all
    // others within microseconds, and an interrupt comes in between too.
    if membarrier(MembarrierCommand::PrivateExpedited).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
