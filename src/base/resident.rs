//! Makes memory resident and locks it, so that no access to it faults and none of it is swapped out.
//!
//! Guarantees: after a success all pages are there, and the contents are as before.
//! Refuses: more than the limit RLIMIT_MEMLOCK permits. The error names the limit.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, madvise, mlock};
use rustix::process::{Resource, getrlimit};

/// Makes a mapping, or a part of one, resident, and locks it until it is unmapped.
///
/// # Safety
/// The range is mapped, writable, and belongs to the caller.
pub(crate) unsafe fn lock(begin: NonNull<u8>, len: usize) -> io::Result<()> {
    let at = begin.as_ptr().cast();
    // SAFETY: the caller promises the range, and the call leaves the contents alone.
    unsafe { mlock(at, len) }.map_err(|errno| refused(errno.into(), len))?;
    // The lock made the pages of a shared mapping readable; the first write to each might still
    // fault. A kernel that does not know this advice (before 5.14) leaves it at that.
    // SAFETY: as above.
    let _ = unsafe { madvise(at, len, Advice::LinuxPopulateWrite) };
    Ok(())
}

/// The kernel's answer is ENOMEM or EPERM, which says nothing of the limit.
fn refused(error: io::Error, len: usize) -> io::Error {
    let limit = match getrlimit(Resource::Memlock).current {
        Some(bytes) => format!("{bytes} bytes in all"),
        None => "any number".to_owned(),
    };
    let kind = error.kind();
    io::Error::new(kind, format!("{error} ({len} bytes; RLIMIT_MEMLOCK permits {limit})"))
}
