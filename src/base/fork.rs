//! What a forked child finds of its parent's writers: memory that reads as zeros, and no locks.
//!
//! Guarantees: without a handler, a system call or a branch on the hot path the child can't write into
//! what it has of the parent's writers; the lock that proves the parent alive does not outlive the parent in
//! a child; memory that outlives the process is not the child's, which has zeros of its own in its place.
//! Refuses nothing: where the kernel has no MADV_WIPEONFORK (before 4.14) a child notices nothing.

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::base::sync::{AcqRel, Acquire, AtomicPtr, AtomicU32, AtomicU64, Relaxed, Release};

/// Zeroed pages, which a forked child finds zeroed again.
pub(crate) struct WipedPages {
    map: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory, of which this only knows the address.
unsafe impl Send for WipedPages {}

impl WipedPages {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let map = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags)? };
        let map = NonNull::new(map.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: our own mapping; children alone are affected. An error leaves it at that.
        let _ = unsafe { madvise(map.as_ptr().cast(), len, Advice::LinuxWipeOnFork) };
        Ok(WipedPages { map, len })
    }

    pub(crate) fn begin(&self) -> *mut u8 {
        self.map.as_ptr()
    }
}

impl Drop for WipedPages {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and whoever had addresses in it is done with them.
        let _ = unsafe { munmap(self.map.as_ptr().cast(), self.len) };
    }
}

/// A place in the list of what is closed in a child. Never freed, but used again.
struct Place {
    /// A descriptor, or [`FREE`], or [`CLOSED`].
    fd: AtomicU32,
    /// What it is mapped to, which a child does not inherit; no bytes if it is not.
    map: AtomicU64,
    bytes: AtomicU64,
    next: Option<&'static Place>,
}

/// Nobody's.
const FREE: u32 = u32::MAX;
/// This process is a child that closed it: the number may be another file's by now.
const CLOSED: u32 = u32::MAX - 1;

static PLACES: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());

fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: places are leaked, and complete before they are in the list. Acquire: pairs with `push`.
    let first: Option<&'static Place> = unsafe { PLACES.load(Acquire).as_ref() };
    std::iter::successors(first, |place| place.next)
}

/// A descriptor that is closed in forked children: a lock by flock(2) belongs to the open file, which they
/// would share.
pub(crate) struct ClosedInChild {
    place: &'static Place,
    fd: u32,
}

impl ClosedInChild {
    pub(crate) fn new(fd: RawFd) -> Self {
        // By which process: not a `Once`, on which a child would wait for ever, or a flag, on which it would
        // rely, that was forked just now. What it inherited and registers again does no harm.
        static REGISTERED: AtomicU32 = AtomicU32::new(0);
        let me = std::process::id();
        if REGISTERED.swap(me, AcqRel) != me {
            // SAFETY: the handler does nothing that is not allowed in a child of many threads. An error
            // (there is no memory) leaves it at that.
            unsafe { pthread_atfork(None, None, Some(close_in_child)) };
        }
        let fd = fd as u32;
        let free =
            places().find(|place| place.fd.compare_exchange(FREE, fd, AcqRel, Relaxed).is_ok());
        ClosedInChild { place: free.unwrap_or_else(|| push(fd)), fd }
    }

    /// The descriptor is mapped there, by a mapping that children do not inherit. In a child zeros of its own take
    /// its place, for a formatter that forks and writes on.
    pub(crate) fn map(&self, map: NonNull<u8>, len: usize) {
        self.place.map.store(map.as_ptr() as u64, Relaxed);
        // The last: from here on it counts.
        self.place.bytes.store(len as u64, Release);
    }

    /// To be called before the descriptor is closed and its mapping goes; `false` if that was done, since this is a child.
    pub(crate) fn end(&self) -> bool {
        if self.place.fd.load(Relaxed) == self.fd {
            self.place.bytes.store(0, Release);
        }
        self.place.fd.compare_exchange(self.fd, FREE, AcqRel, Relaxed).is_ok()
    }
}

fn push(fd: u32) -> &'static Place {
    let (map, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let place = Box::leak(Box::new(Place { fd: AtomicU32::new(fd), map, bytes, next: None }));
    let mut head = PLACES.load(Acquire);
    loop {
        // SAFETY: as in `places`.
        place.next = unsafe { head.as_ref() };
        // Release: pairs with the load of `places`.
        match PLACES.compare_exchange(head, place, Release, Acquire) {
            Ok(_) => return place,
            Err(now) => head = now,
        }
    }
}

unsafe extern "C" {
    /// Of POSIX. What it registers runs in the thread that forks; there is no way to take it back.
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> i32;
}

/// Only loads, stores, close(2) and mmap(2): other threads may have been forked away in the middle of anything.
unsafe extern "C" fn close_in_child() {
    for place in places() {
        let fd = place.fd.load(Relaxed);
        if fd < CLOSED {
            place.fd.store(CLOSED, Relaxed);
            // SAFETY: the descriptor is a copy of the parent's, and its owner here asks `end` first.
            unsafe { rustix::io::close(fd as RawFd) };
            let (map, len) = (place.map.load(Relaxed), place.bytes.load(Relaxed) as usize);
            if len > 0 {
                let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
                let (prot, at) = (ProtFlags::READ | ProtFlags::WRITE, map as *mut _);
                // SAFETY: the place of a mapping that this child did not inherit, so nothing else is there: no
                // thread of it has run yet. An error leaves a hole.
                let _ = unsafe { mmap_anonymous(at, len, prot, flags) };
            }
        }
    }
}
