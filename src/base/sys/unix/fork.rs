//! Isolates a forked child from its parent's writers: the child sees their memory as zeros and
//! closes the descriptors that hold their locks.
//!
//! Guarantees: a child cannot write into its parent's writers. This costs the hot path no handler,
//! system call or branch. The lock that proves the parent alive ends with the parent, even while a
//! child lives. A child does not share crash-proof memory; zeros of its own take that place.
//! Refuses: nothing. Where the kernel has no zeros for a child (macOS, Linux before 4.14), the child maps them.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::base::sync::{
    AcqRel, Acquire, AtomicPtr, AtomicU32, AtomicU64, Relaxed, Release, SeqCst, fence,
};
use crate::base::sys::native::memory::LAZY;
use crate::base::sys::unix::file;
use crate::base::thread::Backoff;

/// An entry in the list of what a child gives up: a descriptor, a mapping, or both. Entries are reused and never
/// freed.
struct Place {
    /// A descriptor, [`NO_FILE`], [`FREE`], [`CLAIMED`] or [`CLOSED`].
    fd: AtomicU32,
    /// Device and inode of the file. If the program has closed the descriptor, its number may belong
    /// to another file, which a child keeps.
    device: AtomicU64,
    inode: AtomicU64,
    /// Address and length of the descriptor's mapping, which a child does not inherit. `bytes` is
    /// zero without a mapping.
    map: AtomicU64,
    bytes: AtomicU64,
    next: Option<&'static Place>,
}

impl Place {
    fn leads_there(&self, fd: u32) -> bool {
        // SAFETY: borrowed for this call only. If the number is of no file, the call fails.
        let now = file::identity(unsafe { BorrowedFd::borrow_raw(fd as RawFd) });
        now == Some((self.device.load(Relaxed), self.inode.load(Relaxed)))
    }
}

/// The entry is unused.
const FREE: u32 = u32::MAX;
/// Somebody is filling the entry in.
const CLAIMED: u32 = u32::MAX - 2;
/// The entry is of a mapping alone.
const NO_FILE: u32 = u32::MAX - 3;
/// This process is a child and has closed the descriptor. Another file may have its number by now.
const CLOSED: u32 = u32::MAX - 1;

static PLACES: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());

fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: entries are leaked, and complete before they join the list. Acquire: pairs with
    // `push`.
    let first: Option<&'static Place> = unsafe { PLACES.load(Acquire).as_ref() };
    std::iter::successors(first, |place| place.next)
}

/// A descriptor that forked children close. A flock(2) lock belongs to the open file, which a child
/// would share.
pub(crate) struct ClosedInChild {
    place: &'static Place,
    fd: u32,
}

/// Forks that have begun, and forks that are over in the parent. A child begins with equal counts.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
/// How often to begin again because of forks, for about 50 ms in all. A program that forks without a pause gets what
/// it has, unprotected.
const ATTEMPTS_MAX: usize = 100;

/// Makes something that children must not inherit: a descriptor before it is in the list, or a
/// mapping. Makes it again if a fork was under way meanwhile, since that child may have a copy. Of a large process a
/// fork takes milliseconds, so it is waited for.
pub(crate) fn undisturbed<T, E>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    register();
    let mut backoff = Backoff::default();
    let mut attempt = 1;
    loop {
        let over = OVER.load(SeqCst);
        let made = make()?;
        // A child that does not see what was made has begun before this, and counts here.
        fence(SeqCst);
        if attempt == ATTEMPTS_MAX || BEGUN.load(SeqCst) == over {
            return Ok(made);
        }
        attempt += 1;
        backoff.pause();
    }
}

/// Registers the handlers, once in each process.
fn register() {
    // Holds the id of the process that registered the handler. A fork in the middle of a `Once`
    // would block the child for ever. A fork just after a flag was set would leave the child
    // without a handler. Registering an inherited handler again does no harm.
    static REGISTERED: AtomicU32 = AtomicU32::new(0);
    let me = std::process::id();
    if REGISTERED.swap(me, AcqRel) != me {
        // SAFETY: the handlers make only calls that are allowed in a child of a multi-threaded
        // process. On an error (out of memory) children stay unprotected.
        unsafe { pthread_atfork(Some(begin), Some(end), Some(close_in_child)) };
    }
}

unsafe extern "C" fn begin() {
    BEGUN.fetch_add(1, SeqCst);
}

unsafe extern "C" fn end() {
    OVER.fetch_add(1, SeqCst);
}

impl ClosedInChild {
    pub(crate) fn new(file: &File) -> Self {
        let fd = file.as_raw_fd() as u32;
        let place = claim();
        let (device, inode) = file::identity(file.as_fd()).unwrap_or_default();
        place.device.store(device, Relaxed);
        place.inode.store(inode, Relaxed);
        // Stored last: it makes the entry valid.
        place.fd.store(fd, Release);
        ClosedInChild { place, fd }
    }

    /// Registers the mapping of the descriptor, which children do not inherit. A child maps its own
    /// zeros in that place, so that a formatter that forks can keep writing.
    #[cfg(target_os = "linux")]
    pub(crate) fn map(&self, map: NonNull<u8>, len: usize) {
        self.place.map.store(map.as_ptr() as u64, Relaxed);
        // Stored last: a non-zero length makes the mapping valid.
        self.place.bytes.store(len as u64, Release);
    }

    /// Whether the descriptor still leads to its file, and not to one that the program opened after
    /// it had closed this descriptor.
    #[cfg(target_os = "linux")]
    pub(crate) fn leads_there(&self) -> bool {
        self.place.leads_there(self.fd)
    }

    /// Call this before closing the descriptor and removing its mapping. `false` in a child, which
    /// owns neither any more.
    pub(crate) fn end(&self) -> bool {
        if self.place.fd.load(Relaxed) == self.fd {
            self.place.bytes.store(0, Release);
        }
        self.place.fd.compare_exchange(self.fd, FREE, AcqRel, Relaxed).is_ok()
    }
}

/// A mapping that a child does not inherit. The child maps as many zeros in that place.
pub(super) struct ZeroedInChild(&'static Place);

impl ZeroedInChild {
    pub(super) fn new(map: NonNull<u8>, len: usize) -> Self {
        let place = claim();
        place.map.store(map.as_ptr() as u64, Relaxed);
        place.bytes.store(len as u64, Relaxed);
        // Stored last: it makes the entry valid.
        place.fd.store(NO_FILE, Release);
        ZeroedInChild(place)
    }
}

impl Drop for ZeroedInChild {
    fn drop(&mut self) {
        self.0.bytes.store(0, Relaxed);
        self.0.fd.store(FREE, Release);
    }
}

/// An unused entry, for the caller to fill in.
fn claim() -> &'static Place {
    register();
    let claim = |place: &&Place| place.fd.compare_exchange(FREE, CLAIMED, AcqRel, Relaxed).is_ok();
    places().find(claim).unwrap_or_else(push)
}

fn push() -> &'static Place {
    let zero = || AtomicU64::new(0);
    let place = Box::leak(Box::new(Place {
        fd: AtomicU32::new(CLAIMED),
        device: zero(),
        inode: zero(),
        map: zero(),
        bytes: zero(),
        next: None,
    }));
    let mut head = PLACES.load(Acquire);
    loop {
        // SAFETY: as in `places`, entries are leaked and complete.
        place.next = unsafe { head.as_ref() };
        // Release: pairs with the load in `places`.
        match PLACES.compare_exchange(head, place, Release, Acquire) {
            Ok(_) => return place,
            Err(now) => head = now,
        }
    }
}

unsafe extern "C" {
    /// From POSIX. Handlers run in the forking thread and cannot be unregistered.
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> i32;
}

/// Uses only loads, stores, fstat(2), close(2) and mmap(2): the fork may have cut off other threads
/// in the middle of anything.
unsafe extern "C" fn close_in_child() {
    OVER.store(BEGUN.load(SeqCst), SeqCst);
    for place in places() {
        let fd = place.fd.load(Acquire);
        if fd >= CLAIMED {
            continue;
        }
        if fd != NO_FILE {
            place.fd.store(CLOSED, Relaxed);
            if place.leads_there(fd) {
                // SAFETY: the descriptor is a copy of the parent's. Its owner in this process calls
                // `end` before it would close it.
                unsafe { rustix::io::close(fd as RawFd) };
            }
        }
        let (map, len) = (place.map.load(Relaxed), place.bytes.load(Relaxed));
        if len > 0 {
            let (prot, at) = (ProtFlags::READ | ProtFlags::WRITE, map as *mut _);
            // SAFETY: the child did not inherit the mapping at this address, or has its own zeros there since an
            // earlier fork. No thread of it has run yet, so nothing else is mapped there. An error leaves a hole.
            let _ = unsafe { mmap_anonymous(at, len as usize, prot, LAZY | MapFlags::FIXED) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_a_fork_disturbed_is_made_again() {
        let mut calls = 0;
        let forks = 3;
        let made = undisturbed(|| {
            calls += 1;
            if calls <= forks {
                let _no_recoveries = crate::tests::forks::forking();
                // SAFETY: the child ends at once.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        libc::_exit(0);
                    }
                    libc::waitpid(child, std::ptr::null_mut(), 0);
                }
            }
            Ok::<_, ()>(calls)
        });
        // Other tests may fork at any time.
        assert!(made.is_ok_and(|made| made > forks));
        // What nothing disturbs is made once; others may disturb it now and then.
        let mut calls = 0;
        let made = undisturbed(|| {
            calls += 1;
            Ok::<_, ()>(calls)
        });
        assert!(made.is_ok_and(|made| made < ATTEMPTS_MAX));
        let mut calls = 0;
        let failed = undisturbed(|| {
            calls += 1;
            Err::<(), _>(calls)
        });
        assert_eq!(failed, Err(1));
    }

    #[test]
    fn a_slow_fork_is_waited_for() {
        let (mut calls, mut over_at) = (0, None);
        let began = Instant::now();
        let made = undisturbed(|| {
            calls += 1;
            if calls == 1 {
                // SAFETY: it only counts.
                unsafe { begin() };
            } else if over_at.is_none() && began.elapsed() >= Duration::from_millis(10) {
                // SAFETY: it only counts.
                unsafe { end() };
                over_at = Some(calls);
            }
            Ok::<_, ()>(calls)
        });
        assert!(made.unwrap() > over_at.unwrap_or(ATTEMPTS_MAX), "made at {made:?}");
    }
}
