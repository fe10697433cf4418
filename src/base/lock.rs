//! The lock of a file, which `std::fs::File` has from Rust 1.89 on.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, flock};

/// Takes the file's lock (flock). `WouldBlock` if another description of the file has it.
pub(crate) fn try_lock(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}
