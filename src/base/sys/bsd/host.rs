//! What the system says of the machine.

use std::ffi::CStr;
use std::io;

/// Identity of the current boot. Older systems have none.
#[cfg(target_os = "macos")]
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    let mut text = [0; 37];
    let len = sysctl(c"kern.bootsessionuuid", &mut text)?;
    let text = std::str::from_utf8(&text[..len]).ok()?;
    let digits = text.trim_end_matches('\0').replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then_some(number.to_be_bytes())
}

/// Identity of the current boot. Older systems have none.
#[cfg(target_os = "freebsd")]
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    let mut id = [0; 16];
    (sysctl(c"kern.boot_id", &mut id)? == id.len()).then_some(id)
}

/// Asks the kernel for a value. Returns its length.
fn sysctl(name: &CStr, value: &mut [u8]) -> Option<usize> {
    let mut len = value.len();
    let (at, null) = (value.as_mut_ptr().cast(), std::ptr::null_mut());
    // SAFETY: the call writes at most `len` bytes, and stores how many these were.
    let result = unsafe { libc::sysctlbyname(name.as_ptr(), at, &mut len, null, 0) };
    (result == 0).then_some(len)
}

/// Random bytes.
pub(crate) fn random() -> io::Result<[u8; 8]> {
    let mut random = [0; 8];
    // SAFETY: the call fills exactly these bytes, see getentropy(2).
    match unsafe { libc::getentropy(random.as_mut_ptr().cast(), random.len()) } {
        0 => Ok(random),
        _ => Err(io::Error::last_os_error()),
    }
}
