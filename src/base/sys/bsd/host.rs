//! What the system says of the machine.

use std::io;

/// Not asked for: only crash-proof memory needs it.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    None
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
