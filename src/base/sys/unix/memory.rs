//! Private memory of the process in whole pages, and advice to the kernel about it.
//!
//! Guarantees: a new mapping is zeros, and none of its pages is touched. A forked child finds what was asked for.
//! Advice never changes contents.
//! Refuses: to lock more than the limit RLIMIT_MEMLOCK permits. The error names the limit.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{ProtFlags, mlock, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};

use crate::base::sys::InChild;
use crate::base::sys::native::memory as native;
use crate::base::sys::unix::fork::ZeroedInChild;

#[cfg(test)]
pub(crate) use native::POPULATES;

/// Bytes of a page: the unit of mappings and advice.
pub(crate) fn page_size() -> usize {
    // SAFETY: the call has no conditions. Every system has a page size.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Memory that this value owns.
pub(crate) struct Mapping {
    begin: NonNull<u8>,
    len: usize,
    /// Where the kernel can't hand zeros to a child, the child maps them itself.
    zeroed: Option<ZeroedInChild>,
}

// SAFETY: this holds only the address of plain memory, which any thread may use and unmap.
unsafe impl Send for Mapping {}
// SAFETY: `&self` gives out only the address; each user of the memory states why its access is
// sound.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` zeroed bytes.
    pub(crate) fn new(len: usize, in_child: InChild) -> io::Result<Self> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, native::LAZY);
        // SAFETY: a new private mapping at an address that the kernel chooses touches no existing
        // memory.
        let map = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags)? };
        let begin = NonNull::new(map.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut mapping = Mapping { begin, len, zeroed: None };
        let wants_zeros = in_child == InChild::Zeros;
        // SAFETY: the range is our own mapping, and the advice affects only children.
        if wants_zeros && unsafe { native::zero_in_children(begin, len) }.is_ok() {
            return Ok(mapping);
        }
        // SAFETY: as above. On an error a child keeps its copy of the pages.
        if unsafe { native::keep_from_children(begin, len) }.is_ok() && wants_zeros {
            mapping.zeroed = Some(ZeroedInChild::new(begin, len));
        }
        Ok(mapping)
    }

    pub(crate) fn begin(&self) -> NonNull<u8> {
        self.begin
    }

    /// Keeps the pages in memory.
    pub(crate) fn lock(&self) -> io::Result<()> {
        // SAFETY: exactly the mapping.
        unsafe { lock(self.begin, self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // First, so that no child maps anything in this place later.
        self.zeroed = None;
        // SAFETY: `new` made this mapping, and every user of an address in it is gone by now.
        let unmapped = unsafe { munmap(self.begin.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Makes a range resident, so that no access to it faults, and locks it until it is unmapped.
///
/// # Safety
/// The range is mapped, writable, and belongs to the caller.
pub(crate) unsafe fn lock(begin: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller promises the range, and the call leaves the contents alone.
    unsafe { mlock(begin.as_ptr().cast(), len) }.map_err(|errno| refused(errno.into(), len))?;
    // The lock made the pages of a shared mapping readable; the first write to each might still
    // fault.
    // SAFETY: as above.
    unsafe { populate(begin, len) };
    Ok(())
}

/// Makes a range resident if the system can do that ahead. It grows to whole pages.
///
/// # Safety
/// The range is mapped, writable, and belongs to the caller.
pub(crate) unsafe fn populate(begin: NonNull<u8>, len: usize) {
    let before = begin.as_ptr().addr() % page_size();
    // SAFETY: the mapping of the range begins at a page.
    unsafe { native::populate(begin.sub(before), len + before) };
}

/// Asks for huge pages.
///
/// # Safety
/// The range is mapped and belongs to the caller.
pub(crate) unsafe fn prefer_huge(begin: NonNull<u8>, len: usize) {
    // SAFETY: the caller promises the range.
    unsafe { native::prefer_huge(begin, len) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::emulated;

    /// Runs in a forked child, which only reads and writes memory, or forks again. Returns whether it did as it should.
    fn in_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child ends at once, and calls nothing that a fork forbids.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(!body()));
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            status == 0
        }
    }

    /// With `--cfg bufferedwriter_portable` the child maps the zeros itself, as on macOS.
    #[test]
    fn a_child_and_its_child_find_zeros_and_the_parent_keeps_its_bytes() {
        if emulated::skips("qemu-user does not pass on MADV_WIPEONFORK") {
            return;
        }
        let mapping = Mapping::new(3 * page_size(), InChild::Zeros).unwrap();
        let ends = [0, 3 * page_size() - 1];
        // SAFETY: within the mapping, which nothing else uses.
        let at = |offset| unsafe { mapping.begin().add(offset).as_ptr() };
        // SAFETY: as above.
        let read = || ends.map(|offset| unsafe { at(offset).read_volatile() });
        // SAFETY: as above.
        let write = |byte| ends.map(|offset| unsafe { at(offset).write_volatile(byte) });
        write(7);
        let child = || {
            let found = read();
            write(8);
            found == [0, 0]
        };
        let _no_recoveries = crate::tests::forks::forking();
        assert!(in_child(child));
        assert!(in_child(|| child() && in_child(child) && read() == [8, 8]));
        assert_eq!(read(), [7, 7]);
    }
}
