//! System calls that some file systems and sandboxes lack. The writer goes without them.
//!
//! Guarantees: an error that means anything else stays an error.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, fchmod};
use rustix::io::{Errno, retry_on_intr};

/// Sets exactly these permissions. `false` if that is not to be had here. Then the file has what
/// its creation gave it: no more than was asked for, unless the file system knows no permissions.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<bool> {
    match retry_on_intr(|| fchmod(&file, Mode::from_raw_mode(mode))) {
        Ok(()) => Ok(true),
        // VFAT and some network file systems say EPERM.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether this error of flock(2) says that there are no locks here, rather than that somebody has
/// this one.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    let none = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| none.contains(&error))
}
