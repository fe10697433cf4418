//! Advice to Linux about memory.

use std::ptr::NonNull;

use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, madvise};

/// No page is reserved before it is used.
pub(crate) const LAZY: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// A child finds zeros. An error before Linux 4.14.
///
/// # Safety
/// The range is a private mapping that belongs to the caller. The same holds below.
pub(crate) unsafe fn zero_in_children(begin: NonNull<u8>, len: usize) -> Result<()> {
    // The other way is tried there, on which macOS depends.
    if cfg!(bufferedwriter_portable) {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller owns the range, and the advice affects only children.
    unsafe { madvise(begin.as_ptr().cast(), len, Advice::LinuxWipeOnFork) }
}

/// A child has no mapping in this place.
pub(crate) unsafe fn keep_from_children(begin: NonNull<u8>, len: usize) -> Result<()> {
    // SAFETY: the caller owns the range, and the advice affects only children.
    unsafe { madvise(begin.as_ptr().cast(), len, Advice::LinuxDontFork) }
}

/// Whether [`populate`] makes pages resident. Tests ask.
#[cfg(test)]
pub(crate) const POPULATES: bool = true;

/// Makes whole pages resident. An error (no memory, or a kernel before 5.14) leaves the page faults to the first
/// writer.
pub(crate) unsafe fn populate(begin: NonNull<u8>, len: usize) {
    // SAFETY: the caller owns the range, and the call leaves the contents alone.
    let _ = unsafe { madvise(begin.as_ptr().cast(), len, Advice::LinuxPopulateWrite) };
}

/// An error means small pages.
pub(crate) unsafe fn prefer_huge(begin: NonNull<u8>, len: usize) {
    // SAFETY: the caller owns the range, and the advice leaves the contents alone.
    let _ = unsafe { madvise(begin.as_ptr().cast(), len, Advice::LinuxHugepage) };
}
