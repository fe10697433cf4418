//! Threads of the library: how they start, and how one waits for a step of another.
//!
//! Guarantees: no asynchronous signal is delivered to a thread of the library, and the signal mask
//! of the caller is the same before and after. Only this file starts threads.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::sys::signals::Blocked;

/// Starts a thread that takes no signals but those of its own faults.
pub(crate) fn spawn(
    name: impl Into<String>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // A new thread inherits the mask.
    let _blocked = Blocked::new();
    thread::Builder::new().name(name.into()).spawn(body)
}

/// Waits for a step of another thread that takes no time unless that thread is preempted.
///
/// First gives way to other threads, which is all that it takes then. A thread with a real-time
/// priority gives way to none of lower priority, so it sleeps after some attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const YIELDS: u32 = 50;
    const SLEEP: Duration = Duration::from_millis(1);

    pub(crate) fn pause(&mut self) {
        if self.attempts < Self::YIELDS {
            self.attempts += 1;
            thread::yield_now();
        } else {
            thread::sleep(Self::SLEEP);
        }
    }
}
