//! Keeps a thread on one processor, so that what it wrote stays in that processor's caches.

use std::io;
use std::mem;

/// Keeps the calling thread on one processor until it is dropped.
pub struct Pinned {
    before: Option<libc::cpu_set_t>,
}

impl Pinned {
    /// The calling thread stays on one of the processors that it may use; so do threads that it starts meanwhile.
    /// Where this is not allowed nothing changes: it makes measurements steadier, not possible.
    pub fn to(number: usize) -> Self {
        let Ok(before) = allowed() else { return Pinned { before: None } };
        let processors = members(&before);
        let is_pinned = pin(processors[number % processors.len()]).is_ok();
        Pinned { before: is_pinned.then_some(before) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Fails only if the processors are gone; then the kernel has chosen others.
            let _ = allow(before);
        }
    }
}

/// The processors that the calling thread may run on, in ascending order.
pub fn processors() -> io::Result<Vec<usize>> {
    Ok(members(&allowed()?))
}

/// From now on the calling thread, and those that it starts, run on this processor only.
pub fn pin(processor: usize) -> io::Result<()> {
    if processor >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a set of processors is an array of bits; all zeros is the empty set.
    let mut one: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the check above keeps the bit within the set.
    unsafe { libc::CPU_SET(processor, &mut one) };
    allow(&one)
}

fn allowed() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a set of processors is an array of bits; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the call writes into a set of the size that it is told. `0` is the calling thread.
    match unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } {
        0 => Ok(set),
        _ => Err(io::Error::last_os_error()),
    }
}

fn allow(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the call reads a set of the size that it is told. `0` is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(set), set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn members(set: &libc::cpu_set_t) -> Vec<usize> {
    // SAFETY: reads a bit within the set.
    let is_member = |processor: &usize| unsafe { libc::CPU_ISSET(*processor, set) };
    (0..libc::CPU_SETSIZE as usize).filter(is_member).collect()
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

    #[test]
    fn a_thread_can_be_pinned() {
        let last = *processors().unwrap().last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin(last).unwrap();
            processors().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [last]);
        assert!(pin(usize::MAX).is_err());
    }
}
