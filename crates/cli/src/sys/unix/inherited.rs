//! What the parent process left of signals, and threads that take none.
//!
//! Guarantees: a signal that the parent ignored stays ignored. Only the main thread takes signals. A command that the
//! program starts has none of them blocked.

use std::io;
use std::mem::MaybeUninit;
use std::thread::{self, JoinHandle};

use libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

/// The signals by which an operator, a shell or a supervisor speaks to the program.
const SPOKEN: [libc::c_int; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1];

/// Lets signals through that the parent had blocked. A mask survives exec(2), often by mistake: the
/// program of a daemon that waits for its signals in a thread would hear none.
pub(crate) fn unblock() {
    let spoken = set(&SPOKEN);
    // SAFETY: the set is initialised, and a null pointer asks for no old set.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const spoken, std::ptr::null_mut()) };
}

/// Whether the signal is ignored, as `nohup` and a shell's background jobs want it.
pub(super) fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer changes nothing, and `action` is only read if the call has filled it.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Ignores the signal from now on.
pub(super) fn ignore(signal: libc::c_int) {
    // SAFETY: no handler is installed, so no code of ours runs in one.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Lets all signals through to the command that this child is about to become. Between fork and exec.
pub(super) fn release() -> io::Result<()> {
    let none = set(&[]);
    // SAFETY: as in `unblock`, and both calls may be made after fork(2).
    unsafe {
        // One that comes before the command is there ends the child. The parent's handler would write to its pipes.
        for signal in
            SPOKEN.into_iter().chain([libc::SIGXFSZ]).filter(|&signal| !is_ignored(signal))
        {
            libc::signal(signal, libc::SIG_DFL);
        }
        match libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The default action, as if no parent had ignored the signal.
#[cfg(test)]
pub(super) fn reset(signal: libc::c_int) {
    // SAFETY: as in `ignore`.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Starts a thread that takes none of the signals, so that they interrupt the main thread only.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut all = SPOKEN.to_vec();
    all.push(libc::SIGXFSZ);
    let (all, mut before) = (set(&all), MaybeUninit::<libc::sigset_t>::uninit());
    // SAFETY: the set is initialised, and `before` has room for one.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, before.as_mut_ptr()) };
    // A new thread inherits the mask.
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    if result == 0 {
        // SAFETY: the call has filled `before`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    thread
}

fn set(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set; the signals exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}
