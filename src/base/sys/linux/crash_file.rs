//! A preallocated, locked file in memory that is mapped shared and outlives the process.
//!
//! Guarantees: the file is fully allocated before it is mapped, so no store meets a full file
//! system (SIGBUS). The process holds its lock (flock) while it lives. A forked child has zeros in its place.
//! Refuses: directories that are not in memory (tmpfs), where a write would reach a disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;

use rustix::fs::{AtFlags, CWD, FallocateFlags, OFlags, fallocate, linkat};
use rustix::io::retry_on_intr;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::base::sys::linux::file::{TMPFS_MAGIC, kind};
use crate::base::sys::linux::memory::keep_from_children;
use crate::base::sys::unix::file::{set_mode, try_lock};
use crate::base::sys::unix::fork::{ClosedInChild, undisturbed};

/// The file and its mapping.
pub(crate) struct CrashFile {
    map: NonNull<u8>,
    len: usize,
    file: ManuallyDrop<File>,
    locked: ClosedInChild,
}

// SAFETY: this holds only the address of plain memory, which any thread may use and unmap.
unsafe impl Send for CrashFile {}
// SAFETY: `&self` gives out only the address; each user of the memory states why its access is
// sound.
unsafe impl Sync for CrashFile {}

/// What was tried, and the system's answer.
type Failed = (&'static str, io::Error);

impl CrashFile {
    /// Creates `len` zeroed bytes without a name, for this user alone.
    pub(crate) fn create(dir: &Path, len: usize) -> Result<Self, Failed> {
        // A child that was forked in the middle of this would keep the lock.
        undisturbed(|| Self::create_once(dir, len))
    }

    fn create_once(dir: &Path, len: usize) -> Result<Self, Failed> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .open(dir)
            .map_err(|e| ("create memory in", e))?;
        if kind(&file).map_err(|e| ("look up", e))? != TMPFS_MAGIC {
            let why = "not a file system in memory (tmpfs)";
            return Err(("create memory in", io::Error::new(io::ErrorKind::Unsupported, why)));
        }
        set_mode(&file, 0o600).map_err(|e| ("chmod in", e))?;
        try_lock(&file).map_err(|e| ("lock memory in", e))?;
        retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, len as u64))
            .map_err(|e| ("allocate memory in", e.into()))?;
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, at an address that the kernel chooses, of a file that is `len`
        // bytes long.
        let map = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, &file, 0) };
        let map = map.map_err(|e| ("map memory in", e.into()))?;
        let map = NonNull::new(map.cast::<u8>())
            .ok_or_else(|| ("map memory in", io::ErrorKind::OutOfMemory.into()))?;
        // A child must not write to its parent's memory. On an error only the gates prevent that.
        // SAFETY: the range is our own mapping.
        let kept = unsafe { keep_from_children(map, len) };
        let locked = ClosedInChild::new(&file);
        if kept.is_ok() {
            locked.map(map, len);
        }
        Ok(CrashFile { map, len, file: ManuallyDrop::new(file), locked })
    }

    /// Gives the file a name that nothing else has.
    pub(crate) fn link(&self, path: &Path) -> io::Result<()> {
        // open(2) documents this way to name an unnamed file; it needs no privilege.
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    pub(crate) fn begin(&self) -> NonNull<u8> {
        self.map
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for CrashFile {
    fn drop(&mut self) {
        let is_ours = self.locked.leads_there();
        // A forked child has neither the mapping nor the descriptor.
        if self.locked.end() {
            // SAFETY: `create` made the mapping, and every user of an address in it is gone.
            let _ = unsafe { munmap(self.map.as_ptr().cast(), self.len) };
            if is_ours {
                // SAFETY: the file is dropped only here.
                unsafe { ManuallyDrop::drop(&mut self.file) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;
    use std::os::fd::{FromRawFd, OwnedFd};

    #[test]
    fn a_descriptor_that_now_is_another_file_stays_open() {
        let Some(shm) = bufferedwriter_testkit::shm::dir() else { return };
        let (memory, dir) = (CrashFile::create(shm, 10_000).unwrap(), TestDir::new());
        let path = dir.path().join("other");
        let other = File::create(&path).unwrap();
        // SAFETY: the number is in use, and what it stands for changes here, as is the purpose.
        let mut stolen = unsafe { OwnedFd::from_raw_fd(memory.file.as_raw_fd()) };
        rustix::io::dup2(&other, &mut stolen).unwrap();
        drop(memory);
        let now = fs::read_link(format!("/proc/self/fd/{}", stolen.as_raw_fd()));
        assert_eq!(now.unwrap(), path);
    }

    #[test]
    fn a_forked_child_has_zeros_in_place_of_its_parents_memory() {
        let Some(shm) = bufferedwriter_testkit::shm::dir() else { return };
        let memory = CrashFile::create(shm, 10_000).unwrap();
        let at = memory.begin().as_ptr();
        let _no_recoveries = crate::tests::forks::forking();
        // SAFETY: within the mapping. The child makes no call but the one that ends it.
        unsafe {
            at.write_volatile(7);
            let child = libc::fork();
            if child == 0 {
                let is_zero = at.read_volatile() == 0;
                at.write_volatile(8);
                libc::_exit(i32::from(!is_zero || memory.locked.end()));
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            assert_eq!((status, at.read_volatile()), (0, 7));
        }
    }
}
