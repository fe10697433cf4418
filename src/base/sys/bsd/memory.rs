//! Advice about memory: what a forked child finds. Pages become resident at their first use.

use std::ffi::c_int;
use std::ffi::c_void;
use std::ptr::NonNull;

use rustix::io::{Errno, Result};
use rustix::mm::MapFlags;

/// Pages are reserved when they are used, as always here.
pub(crate) const LAZY: MapFlags = MapFlags::PRIVATE;

/// From `sys/mman.h` of FreeBSD, and `mach/vm_inherit.h` of macOS (VM_INHERIT_NONE).
const INHERIT_NONE: c_int = 2;
#[cfg(target_os = "freebsd")]
const INHERIT_ZERO: c_int = 3;

unsafe extern "C" {
    /// minherit(2): what a child finds in place of these pages.
    fn minherit(at: *mut c_void, len: usize, inherit: c_int) -> c_int;
}

unsafe fn inherit(begin: NonNull<u8>, len: usize, what: c_int) -> Result<()> {
    // SAFETY: the caller owns the range, and the call affects only children.
    match unsafe { minherit(begin.as_ptr().cast(), len, what) } {
        0 => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// A child finds zeros.
///
/// # Safety
/// The range is a private mapping that belongs to the caller. The same holds below.
#[cfg(target_os = "freebsd")]
pub(crate) unsafe fn zero_in_children(begin: NonNull<u8>, len: usize) -> Result<()> {
    // SAFETY: the caller owns the range.
    unsafe { inherit(begin, len, INHERIT_ZERO) }
}

/// macOS has no such call.
#[cfg(target_os = "macos")]
pub(crate) unsafe fn zero_in_children(_: NonNull<u8>, _: usize) -> Result<()> {
    Err(Errno::NOTSUP)
}

/// A child has no mapping in this place.
pub(crate) unsafe fn keep_from_children(begin: NonNull<u8>, len: usize) -> Result<()> {
    // SAFETY: the caller owns the range.
    unsafe { inherit(begin, len, INHERIT_NONE) }
}

/// Whether [`populate`] makes pages resident. Tests ask.
#[cfg(test)]
pub(crate) const POPULATES: bool = false;

/// Nothing makes pages resident ahead without changing them.
pub(crate) unsafe fn populate(_: NonNull<u8>, _: usize) {}

/// The kernel chooses the size of pages by itself.
pub(crate) unsafe fn prefer_huge(_: NonNull<u8>, _: usize) {}
