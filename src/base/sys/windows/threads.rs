//! How a thread ends.

use std::thread::JoinHandle;

/// A thread that has nothing left to do goes by itself. Nobody waits for that: it can't while another thread is in a
/// destructor of its thread-locals, and the caller may be that thread.
pub(crate) fn reap(thread: JoinHandle<()>) {
    drop(thread);
}
