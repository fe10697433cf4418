//! How a thread ends.

use std::thread::JoinHandle;

/// Waits until a thread that has nothing left to do is gone.
pub(crate) fn reap(thread: JoinHandle<()>) {
    let _ = thread.join();
}
