//! Keeps signals away from the library's threads.

use std::mem::MaybeUninit;

/// Signals that a fault of the thread itself raises. If one were blocked, the kernel would end the
/// process without asking its handler.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Blocks signals on this thread, and on those that it starts, while it lives.
///
/// A program that uses signalfd(2) or sigwait(3) blocks its signals in all threads. Otherwise the
/// kernel picks any thread that does not block a signal, and its default action ends the process.
pub(crate) struct Blocked {
    before: Option<libc::sigset_t>,
}

impl Blocked {
    pub(crate) fn new() -> Self {
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
