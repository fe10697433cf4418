//! Counts the system calls of one thread, exactly, without a tracer and without privileges.
//!
//! The thread installs a seccomp filter that notifies a listener of each of its calls. The listener, another
//! thread of the same process, counts the call and lets it continue. The counted thread waits for that, so each
//! call takes microseconds more: durations mean nothing meanwhile. The filter stays until the thread ends, and
//! threads that it starts inherit it.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

/// Counters by number of the call; higher numbers share the last one.
const PLACES: usize = 512;

/// How often each system call was made.
pub struct SyscallCounter {
    counts: [AtomicU64; PLACES],
    /// The listener's file descriptor, or -1. An atomic, since any call that wakes the listener would be a system
    /// call, which would wait for that same listener.
    listener: AtomicI32,
    is_over: AtomicBool,
}

impl Default for SyscallCounter {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        SyscallCounter { counts, listener: AtomicI32::new(-1), is_over: AtomicBool::new(false) }
    }
}

impl SyscallCounter {
    /// The counts so far, by number of the call.
    pub fn counts(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        self.read(&mut counts);
        counts
    }

    /// The same, into a vector; does not allocate if `counts` held counts before.
    pub fn read(&self, counts: &mut Vec<u64>) {
        counts.clear();
        counts.extend(self.counts.iter().map(|count| count.load(Ordering::Acquire)));
    }

    /// From here on each system call of this thread is counted. It waits for another thread, which must be in
    /// [`listen`](Self::listen).
    pub fn count_this_thread(&self) -> io::Result<()> {
        self.listener.store(install()?, Ordering::Release);
        Ok(())
    }

    /// Ends [`listen`](Self::listen). To be called once the counted thread has ended.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Counts until [`end`](Self::end) is called.
    pub fn listen(&self) {
        while !self.is_over.load(Ordering::Acquire) {
            let fd = self.listener.load(Ordering::Acquire);
            if fd < 0 {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd is given.
            let ready = unsafe { libc::poll(&mut poll, 1, 50) };
            if ready == 1 && poll.revents & libc::POLLIN != 0 {
                self.answer(fd);
            }
        }
    }

    fn answer(&self, fd: i32) {
        // SAFETY: both are plain numbers, which the kernel requires to be zero before it fills them in.
        let (mut asked, mut answer): (libc::seccomp_notif, libc::seccomp_notif_resp) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        // SAFETY: the kernel fills in a structure of the type that the request is defined with. It fails if a
        // signal interrupted the call; then there is nothing to answer.
        if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut asked) } != 0 {
            return;
        }
        let place = usize::try_from(asked.data.nr).unwrap_or(PLACES).min(PLACES - 1);
        self.counts[place].fetch_add(1, Ordering::AcqRel);
        answer.id = asked.id;
        answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        // SAFETY: the kernel reads a structure of the type that the request is defined with. It fails if the
        // thread has ended; then no answer is needed.
        unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer) };
    }
}

impl Drop for SyscallCounter {
    fn drop(&mut self) {
        let fd = *self.listener.get_mut();
        if fd >= 0 {
            // SAFETY: `install` got the descriptor from the kernel, and only this counter has it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// Installs the filter; returns the listener's file descriptor.
fn install() -> io::Result<i32> {
    const fn step(code: u32, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }
    // The filter notifies of every call, so it needs to know no architecture's numbers.
    let mut steps = [step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF)];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program outlives the calls, which copy it and touch no other memory.
    let fd = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd as i32)
}

/// The calls between two looks, by name.
pub fn between(before: &[u64], after: &[u64]) -> BTreeMap<String, u64> {
    let pairs = before.iter().zip(after).enumerate();
    let called = pairs.filter(|(_, (before, after))| after > before);
    called.map(|(number, (before, after))| (name(number as i64), after - before)).collect()
}

/// Knows the names of calls that a writer might make.
fn name(number: i64) -> String {
    let names = [
        (libc::SYS_brk, "brk"),
        (libc::SYS_clock_gettime, "clock_gettime"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_exit, "exit"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_gettid, "gettid"),
        (libc::SYS_lseek, "lseek"),
        (libc::SYS_madvise, "madvise"),
        (libc::SYS_membarrier, "membarrier"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_mprotect, "mprotect"),
        (libc::SYS_mremap, "mremap"),
        (libc::SYS_munmap, "munmap"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_read, "read"),
        (libc::SYS_sched_yield, "sched_yield"),
        (libc::SYS_write, "write"),
        (libc::SYS_writev, "writev"),
    ];
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or(format!("call {number}"), |(_, name)| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_of_the_thread_is_counted_and_done() {
        let calls = SyscallCounter::default();
        std::thread::scope(|scope| {
            scope.spawn(|| calls.listen());
            let counted = scope.spawn(|| {
                if let Err(error) = calls.count_this_thread() {
                    return eprintln!("skipped: {error}");
                }
                let before = calls.counts();
                // SAFETY: it reads a number.
                let ids = [0; 3].map(|_| unsafe { libc::syscall(libc::SYS_gettid) });
                let after = calls.counts();
                assert!(ids[0] > 0 && ids == [ids[0]; 3]);
                assert_eq!(between(&before, &after), BTreeMap::from([("gettid".to_string(), 3)]));
            });
            let counted = counted.join();
            calls.end();
            counted.unwrap();
        });
    }
}
