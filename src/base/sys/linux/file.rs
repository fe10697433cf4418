//! Calls to files that only Linux has: renameat2, O_DIRECT, holes, descriptors opened again.
//!
//! Refuses direct I/O where it has no effect.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, OFlags, RenameFlags, SeekFrom, StatxFlags, fallocate,
    fcntl_getfl, fcntl_setfl, fstatfs, renameat_with, statx,
};
use rustix::io::{Errno, retry_on_intr};

/// STATX_DIOALIGN of statx(2): asks how direct I/O must be aligned.
const DIOALIGN: u32 = 0x2000;
/// File system types, see statfs(2).
pub(super) const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// File systems on which a hole is what nobody wrote: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs,
/// overlayfs. Others, such as ZFS and servers behind NFS, make holes of zeros that were written.
const HOLES_ARE_UNWRITTEN: [u64; 6] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, TMPFS_MAGIC, 0x794c_7630];

/// Type of the file system that has the file. 32 bits wide: some architectures have no more.
pub(super) fn kind(file: &File) -> io::Result<u64> {
    Ok(u64::from(fstatfs(file)?.f_type as u32))
}

/// A rename in one step that never replaces. `Unsupported` where there is none: NFS, 9p and some FUSE file systems do
/// not know the flag, and old kernels not the call.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    if cfg!(bufferedwriter_portable) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    match retry_on_intr(|| renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}

/// Syncs contents and length to the disk.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Another opening of the same file, which shares no lock with this one.
pub(crate) fn reopen(file: &File) -> io::Result<File> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(true).open(own)
}

/// Whether a part before this offset was never written. `false` where nobody can tell.
pub(crate) fn has_hole(file: &File, before: u64) -> io::Result<bool> {
    if !HOLES_ARE_UNWRITTEN.contains(&kind(file)?) {
        return Ok(false);
    }
    // Where the call is unknown, nobody can tell.
    Ok(matches!(rustix::fs::seek(file, SeekFrom::Hole(0)), Ok(at) if at < before))
}

/// Takes room for a part of the file without changing its length.
pub(crate) fn reserve(file: &File, from: u64, to: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, from, to.saturating_sub(from))?)
}

/// Gives back the room of a part, which is zeros from then on.
pub(crate) fn punch_hole(file: &File, from: u64, to: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, flags, from, to.saturating_sub(from))?)
}

/// Whether the file system may have direct I/O with blocks of this size.
pub(crate) fn may_go_direct(file: &File, block: usize) -> io::Result<bool> {
    // These accept the flag without effect: their files live in the page cache.
    if matches!(kind(file)?, TMPFS_MAGIC | RAMFS_MAGIC) {
        return Ok(false);
    }
    // Kernels before 6.1 don't tell. There, blocks of 4 KiB fit all existing devices.
    let told = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::from_bits_retain(DIOALIGN))
        .ok()
        .filter(|told| told.stx_mask & DIOALIGN != 0);
    Ok(told.is_none_or(|told| (1..=block as u32).contains(&told.stx_dio_offset_align)))
}

/// Later writes bypass the page cache.
pub(crate) fn go_direct(file: &File) -> io::Result<()> {
    match fcntl_setfl(file, fcntl_getfl(file)? | OFlags::DIRECT) {
        Err(Errno::INVAL) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}

/// Later writes go through the page cache.
pub(crate) fn go_buffered(file: &File) -> io::Result<()> {
    Ok(fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?)
}
