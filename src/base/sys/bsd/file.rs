//! Calls to files that macOS and FreeBSD do not share with Linux.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// A rename in one step that never replaces (renamex_np). `Unsupported` where the file system has none.
#[cfg(target_os = "macos")]
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match rustix::io::retry_on_intr(|| renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)) {
        Err(Errno::INVAL | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}

/// FreeBSD has none.
#[cfg(target_os = "freebsd")]
pub(crate) fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Syncs contents and length to the disk. On macOS std asks the disk to empty its cache (F_FULLFSYNC); file systems
/// that can't do that only get the data handed over.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL)
            ) =>
        {
            Ok(rustix::fs::fsync(file)?)
        }
        result => result,
    }
}

/// `/dev/fd` has copies of descriptors, which share the lock.
pub(crate) fn reopen(_: &File) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nobody can tell: file systems here make holes of zeros that were written.
pub(crate) fn has_hole(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// Room can't be taken without changing the length.
pub(crate) fn reserve(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not to be had by one call on both systems.
pub(crate) fn punch_hole(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// File systems do not tell in advance.
pub(crate) fn may_go_direct(_: &File, _: usize) -> io::Result<bool> {
    Ok(true)
}

/// Later writes bypass the page cache (F_NOCACHE).
#[cfg(target_os = "macos")]
pub(crate) fn go_direct(file: &File) -> io::Result<()> {
    unsupported(rustix::fs::fcntl_nocache(file, true))
}

/// Later writes go through the page cache.
#[cfg(target_os = "macos")]
pub(crate) fn go_buffered(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_nocache(file, false)?)
}

/// Later writes bypass the page cache (O_DIRECT).
#[cfg(target_os = "freebsd")]
pub(crate) fn go_direct(file: &File) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    unsupported(fcntl_setfl(file, fcntl_getfl(file)? | OFlags::DIRECT))
}

/// Later writes go through the page cache.
#[cfg(target_os = "freebsd")]
pub(crate) fn go_buffered(file: &File) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    Ok(fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?)
}

fn unsupported(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::INVAL | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}
