//! Windows: right, and slower than Linux. Run under Wine only.

pub(crate) mod barrier;
pub(crate) mod dir;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod host;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod signals;
pub(crate) mod threads;

/// Crash-proof memory needs files in memory without a name.
pub(crate) use crate::base::sys::no_crash_file as crash_file;

use std::io;

use windows_sys::Win32::Foundation as codes;

/// An error of the system, by the name that it has elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(u32);

impl Errno {
    /// The descriptor is of no file.
    pub const BADF: Errno = Errno(codes::ERROR_INVALID_HANDLE);
    /// A name or a path is too long.
    pub const NAMETOOLONG: Errno = Errno(codes::ERROR_FILENAME_EXCED_RANGE);

    /// The number that the system gives it.
    pub fn raw_os_error(self) -> i32 {
        self.0 as i32
    }
}

/// Those that only tests name.
#[allow(missing_docs, reason = "their names are those of errno(3)")]
impl Errno {
    pub const ACCESS: Errno = Errno(codes::ERROR_ACCESS_DENIED);
    pub const DQUOT: Errno = Errno(codes::ERROR_DISK_QUOTA_EXCEEDED);
    pub const EXIST: Errno = Errno(codes::ERROR_ALREADY_EXISTS);
    pub const FBIG: Errno = Errno(codes::ERROR_FILE_TOO_LARGE);
    pub const INTR: Errno = Errno(codes::ERROR_OPERATION_ABORTED);
    pub const INVAL: Errno = Errno(codes::ERROR_INVALID_PARAMETER);
    pub const IO: Errno = Errno(codes::ERROR_IO_DEVICE);
    pub const MFILE: Errno = Errno(codes::ERROR_TOO_MANY_OPEN_FILES);
    pub const NOENT: Errno = Errno(codes::ERROR_FILE_NOT_FOUND);
    pub const NOLCK: Errno = Errno(codes::ERROR_NOT_SUPPORTED);
    pub const NOMEM: Errno = Errno(codes::ERROR_NOT_ENOUGH_MEMORY);
    pub const NOSPC: Errno = Errno(codes::ERROR_DISK_FULL);
    pub const NOSYS: Errno = Errno(codes::ERROR_INVALID_FUNCTION);
    pub const PERM: Errno = Errno(codes::ERROR_PRIVILEGE_NOT_HELD);
    pub const OPNOTSUPP: Errno = Errno(codes::ERROR_NOT_SUPPORTED);
    pub const ROFS: Errno = Errno(codes::ERROR_WRITE_PROTECT);
    pub const WOULDBLOCK: Errno = Errno(codes::ERROR_LOCK_VIOLATION);
    pub const XDEV: Errno = Errno(codes::ERROR_NOT_SAME_DEVICE);
}

impl From<Errno> for io::Error {
    /// std has no kind for the numbers of two that callers tell apart.
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::INTR => io::ErrorKind::Interrupted.into(),
            Errno::WOULDBLOCK => io::ErrorKind::WouldBlock.into(),
            _ => io::Error::from_raw_os_error(errno.raw_os_error()),
        }
    }
}
