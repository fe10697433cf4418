//! File systems for tests: the machine's own behind a hook, one in memory, and bytes as a file.

#[cfg(test)]
pub(crate) mod faulty;
pub(crate) mod held;
#[cfg(test)]
pub(crate) mod hooked;
#[cfg(test)]
pub(crate) mod memory;

use crate::base::sys::host::user;
use crate::fs::Facts;

/// What a file that is not on a disk says of itself.
pub(crate) fn facts_of(len: usize, number: usize) -> Facts {
    let (len, uid) = (len as u64, user());
    let id = (0, number as u64);
    Facts {
        is_file: true,
        is_dir: false,
        len,
        allocated: len,
        uid,
        mode: 0o600,
        links: 1,
        id,
        modified: 0,
    }
}

/// Metadata of a directory.
#[cfg(test)]
pub(crate) fn dir_facts(number: usize) -> Facts {
    Facts { is_file: false, is_dir: true, mode: 0o700, ..facts_of(0, number) }
}

/// Copies what there is of a file from an offset on, as far as there is room. Returns how many bytes that are.
pub(crate) fn read_from(file: &[u8], bytes: &mut [u8], offset: u64) -> usize {
    let there = &file[offset.min(file.len() as u64) as usize..];
    let len = there.len().min(bytes.len());
    bytes[..len].copy_from_slice(&there[..len]);
    len
}

/// Whether one write takes several slices. On Windows it takes one.
#[cfg(test)]
pub(crate) const WRITES_SLICES: bool = cfg!(unix);

/// Makes a named pipe. rustix can't on macOS.
#[cfg(all(test, unix))]
pub(crate) fn fifo(at: &std::path::Path) {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(at.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o400) }, 0, "{}", at.display());
}

/// A directory, which is no regular file either.
#[cfg(all(test, windows))]
pub(crate) fn fifo(at: &std::path::Path) {
    std::fs::create_dir(at).unwrap();
}

/// Whether this process may give files to others.
#[cfg(test)]
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    let is_root = rustix::process::geteuid().is_root();
    #[cfg(windows)]
    let is_root = false;
    is_root
}
