//! FlushProcessWriteBuffers: makes all threads of the process pass a fence, so that they need none of their own.

use windows_sys::Win32::System::Threading::FlushProcessWriteBuffers;

/// Always to be had.
pub(crate) fn register() -> bool {
    true
}

/// Every thread of the process passes a fence before this returns.
pub(crate) fn pass() {
    // SAFETY: the call has no arguments and no conditions.
    unsafe { FlushProcessWriteBuffers() };
}
