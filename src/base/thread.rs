//! Threads of the library: how they start, and how one waits for a step of another.
//!
//! Guarantees: no asynchronous signal is delivered to a thread of the library, and the signal mask
//! of the caller is the same before and after. Only this file starts threads.

use std::io;
use std::mem::MaybeUninit;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Signals that a fault of the thread itself raises. If one were blocked, the kernel would end the
/// process without asking its handler.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Starts a thread that takes no signals but those of its own faults.
///
/// A program that uses signalfd(2) or sigwait(3) blocks its signals in all threads. Otherwise the
/// kernel picks any thread that does not block a signal, and its default action ends the process.
pub(crate) fn spawn(
    name: impl Into<String>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // A new thread inherits the mask.
    let _blocked = Blocked::new();
    thread::Builder::new().name(name.into()).spawn(body)
}

/// Blocks signals on this thread while it lives.
struct Blocked {
    before: Option<libc::sigset_t>,
}

impl Blocked {
    fn new() -> Self {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: `sigfillset` initialises the set, and `pthread_sigmask` initialises `before` if
        // it returns 0. All pointers are to live values of the right type.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in FAULTS {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            let result =
                libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            (result == 0).then(|| before.assume_init())
        };
        Blocked { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: the set is the one that `pthread_sigmask` returned.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
        }
    }
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
