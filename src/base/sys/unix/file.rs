//! Calls to files and their directories.
//!
//! Guarantees: no symbolic link is opened. Calls that a signal interrupts are repeated, except writes. An error that
//! means anything but "not to be had here" stays an error.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, RawMode, fchmod, flock, fstat, statvfs};
use rustix::io::{Errno, retry_on_intr};

use crate::base::sys::Facts;
pub(crate) use crate::base::sys::native::file::{
    go_buffered, go_direct, has_hole, may_go_direct, punch_hole, rename_new, reopen, reserve, sync,
};

/// Whether an open file keeps its id. Another file may get its descriptor, in a forked child for one.
pub(crate) const IDS_STAY: bool = true;

/// Creates a new file for reading and writing. The umask may remove permissions.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// Opens a file to read and write. Does not wait for the other end of a pipe or a device.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)
}

/// Sets exactly these permissions. `false` if that is not to be had here. Then the file has what
/// its creation gave it: no more than was asked for, unless the file system knows no permissions.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<bool> {
    match retry_on_intr(|| fchmod(file, Mode::from_raw_mode(mode as RawMode))) {
        Ok(()) => Ok(true),
        // VFAT and some network file systems say EPERM.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the file's lock (flock), which `std::fs::File` has from Rust 1.89 on. `WouldBlock` if another description of
/// the file has it.
pub(crate) fn try_lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Whether this error of [`try_lock`] says that there are no locks here, rather than that somebody has
/// this one.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    let none = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| none.contains(&error))
}

/// Writes at an offset. It may write less.
pub(crate) fn write_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    // rustix passes at most as many slices as the system takes (1024); the rest is a short write.
    Ok(rustix::io::pwritev(file, slices, offset)?)
}

/// Reads at an offset.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    FileExt::read_at(file, bytes, offset)
}

/// Device and inode of an open file. A child may call this just after a fork.
#[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
pub(super) fn identity(file: BorrowedFd<'_>) -> Option<(u64, u64)> {
    fstat(file).ok().map(|found| (found.st_dev as u64, found.st_ino as u64))
}

/// Metadata of an open file.
pub(crate) fn facts(file: &File) -> io::Result<Facts> {
    Ok(of(&file.metadata()?))
}

/// Metadata of a path, if it exists. Symbolic links are not followed.
pub(crate) fn facts_at(path: &Path) -> io::Result<Option<Facts>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(of(&found))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

fn of(found: &fs::Metadata) -> Facts {
    Facts {
        is_file: found.is_file(),
        is_dir: found.is_dir(),
        len: found.len(),
        allocated: found.blocks().saturating_mul(512),
        uid: found.uid(),
        mode: found.mode() & 0o7777,
        links: found.nlink(),
        id: (found.dev(), found.ino()),
        modified: u64::try_from(found.mtime())
            .map_or(0, |seconds| seconds.saturating_mul(1_000_000_000))
            .saturating_add(found.mtime_nsec() as u64),
    }
}

/// Free bytes that this process may use on the directory's file system.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let told = retry_on_intr(|| statvfs(dir))?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Syncs a directory's entries.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let flags = OFlags::DIRECTORY.bits() as i32;
    let dir = OpenOptions::new().read(true).custom_flags(flags).open(dir)?;
    sync(&dir)?;
    // XFS says that a directory is synced although it has shut itself down meanwhile. This call
    // does not.
    dir.metadata().map(drop)
}

/// Creates a directory and its missing parents, accessible to the owner only.
pub(crate) fn create_dir_all(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Creates one directory with exactly these permissions, or fewer where they can't be set.
pub(crate) fn create_dir(dir: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(dir)?;
    // The umask may have removed permissions. Another process may be quicker with a link.
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits() as i32;
    let made = OpenOptions::new().read(true).custom_flags(flags).open(dir);
    let is_set = made.and_then(|made| {
        let found = made.metadata()?.mode() & 0o777;
        if found == mode { Ok(true) } else { set_mode(&made, mode) }
    });
    is_set.map(drop).inspect_err(|_| drop(fs::remove_dir(dir)))
}
