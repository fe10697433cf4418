//! Private memory of the process in whole pages.
//!
//! Guarantees: a new mapping is zeros, and none of its pages is touched. All of it counts against the system's limit
//! for committed memory.
//! Refuses: to lock more than the process's working set permits. The error says so.

use std::io;
use std::ptr::NonNull;

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree, VirtualLock,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

use crate::base::sys::InChild;

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    let mut told = SYSTEM_INFO::default();
    // SAFETY: the call fills the structure.
    unsafe { GetSystemInfo(&mut told) };
    told.dwPageSize as usize
}

/// Memory that this value owns.
pub(crate) struct Mapping {
    begin: NonNull<u8>,
    len: usize,
}

// SAFETY: this holds only the address of plain memory, which any thread may use and unmap.
unsafe impl Send for Mapping {}
// SAFETY: `&self` gives out only the address; each user of the memory states why its access is
// sound.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` zeroed bytes. There are no forked children.
    pub(crate) fn new(len: usize, _: InChild) -> io::Result<Self> {
        // SAFETY: new memory, at an address that the system chooses.
        let map = unsafe {
            VirtualAlloc(std::ptr::null(), len, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE)
        };
        let begin = NonNull::new(map.cast::<u8>()).ok_or_else(io::Error::last_os_error)?;
        Ok(Mapping { begin, len })
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
        // SAFETY: `new` made this mapping, and every user of an address in it is gone by now.
        let unmapped = unsafe { VirtualFree(self.begin.as_ptr().cast(), 0, MEM_RELEASE) };
        debug_assert!(unmapped != 0);
    }
}

/// Makes a range resident, so that no access to it faults, and locks it until it is unmapped.
///
/// # Safety
/// The range is mapped, writable, and belongs to the caller.
pub(crate) unsafe fn lock(begin: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller promises the range, and the call leaves the contents alone.
    if unsafe { VirtualLock(begin.as_ptr().cast(), len) } != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let why = format!("{error} ({len} bytes; the minimum of the working set is the limit)");
    Err(io::Error::new(error.kind(), why))
}

/// Whether [`populate`] makes pages resident. Tests ask.
#[cfg(test)]
pub(crate) const POPULATES: bool = false;

/// Nothing makes pages resident ahead without changing them.
///
/// # Safety
/// The range is mapped, writable, and belongs to the caller.
pub(crate) unsafe fn populate(_: NonNull<u8>, _: usize) {}

/// Huge pages need a privilege, so they are not asked for.
///
/// # Safety
/// The range is mapped and belongs to the caller.
pub(crate) unsafe fn prefer_huge(_: NonNull<u8>, _: usize) {}
