//! Keeps a thread on one processor for a while: what it wrote stays in that one's caches.

use std::mem;

/// The thread that made it is free again when it is dropped.
pub struct Pinned {
    before: Option<libc::cpu_set_t>,
}

impl Pinned {
    /// The calling thread, to one of the processors that it may use. Threads that it starts meanwhile stay
    /// there too. Where this is not allowed nothing changes: it steadies a measurement, no more.
    pub fn to(number: usize) -> Self {
        let size = mem::size_of::<libc::cpu_set_t>();
        // SAFETY: sets of processors are plain numbers, and the kernel is told their size. `0` is the
        // calling thread.
        unsafe {
            let mut before: libc::cpu_set_t = mem::zeroed();
            if libc::sched_getaffinity(0, size, &mut before) != 0 {
                return Pinned { before: None };
            }
            let allowed: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
                .filter(|processor| libc::CPU_ISSET(*processor, &before))
                .collect();
            let mut one: libc::cpu_set_t = mem::zeroed();
            libc::CPU_SET(allowed[number % allowed.len()], &mut one);
            let is_pinned = libc::sched_setaffinity(0, size, &one) == 0;
            Pinned { before: is_pinned.then_some(before) }
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: as above.
            unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), before) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_free_again() {
        let parallelism = || std::thread::available_parallelism().unwrap().get();
        let before = parallelism();
        let pinned = Pinned::to(0);
        if pinned.before.is_some() {
            assert_eq!(parallelism(), 1);
        }
        drop(pinned);
        assert_eq!(parallelism(), before);
    }
}
