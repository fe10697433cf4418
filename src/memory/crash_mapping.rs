//! Crash-proof memory: a file that is preallocated, locked and mapped shared, and outlives the
//! process.
//!
//! Guarantees: the file is fully allocated before it is mapped, so no store meets a full file
//! system (SIGBUS). It has no name before its maker has completed it, so no reader finds half of
//! one. The process holds its lock (flock) while it lives.
//! Refuses: directories that are not in memory (tmpfs), where a write would reach a disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, FallocateFlags, OFlags, fallocate, fstatfs, linkat};
use rustix::io::retry_on_intr;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::base::fork::{ClosedInChild, undisturbed};
use crate::base::lacking::set_mode;
use crate::base::lock;
use crate::report::error::Error;

/// File system type of tmpfs, from statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The file and its mapping.
pub(crate) struct CrashMapping {
    map: NonNull<u8>,
    len: usize,
    file: ManuallyDrop<File>,
    locked: ClosedInChild,
    /// The file's name, once it has one.
    path: OnceLock<PathBuf>,
}

// SAFETY: this holds only the address of plain memory, which any thread may use and unmap.
unsafe impl Send for CrashMapping {}
// SAFETY: `&self` gives out only the address; each user of the memory states why its access is
// sound.
unsafe impl Sync for CrashMapping {}

impl CrashMapping {
    /// Creates `len` zeroed bytes without a name, for this user alone.
    pub(crate) fn create(dir: &Path, len: usize) -> Result<Self, Error> {
        // A child that was forked in the middle of this would keep the lock.
        undisturbed(|| Self::create_once(dir, len))
    }

    fn create_once(dir: &Path, len: usize) -> Result<Self, Error> {
        let failed = |operation, error: io::Error| Error::io(operation, dir, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .open(dir)
            .map_err(|e| failed("create memory in", e))?;
        let kind = fstatfs(&file).map_err(|e| failed("look up", e.into()))?.f_type as u64;
        if kind != TMPFS_MAGIC {
            let why = "not a file system in memory (tmpfs)";
            return Err(failed(
                "create memory in",
                io::Error::new(io::ErrorKind::Unsupported, why),
            ));
        }
        set_mode(&file, 0o600).map_err(|e| failed("chmod in", e))?;
        lock::try_lock(&file).map_err(|e| failed("lock memory in", e))?;
        retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, len as u64))
            .map_err(|e| failed("allocate memory in", e.into()))?;
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, at an address that the kernel chooses, of a file that is `len`
        // bytes long.
        let map = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, &file, 0) };
        let map = map.map_err(|e| failed("map memory in", e.into()))?;
        let map = NonNull::new(map.cast::<u8>())
            .ok_or_else(|| failed("map memory in", io::ErrorKind::OutOfMemory.into()))?;
        // A child must not write to its parent's memory. On an error only the gates prevent that.
        // SAFETY: the range is our own mapping, and the advice affects only children.
        let kept = unsafe { madvise(map.as_ptr().cast(), len, Advice::LinuxDontFork) };
        let locked = ClosedInChild::new(file.as_fd());
        if kept.is_ok() {
            locked.map(map, len);
        }
        Ok(CrashMapping { map, len, file: ManuallyDrop::new(file), locked, path: OnceLock::new() })
    }

    /// Gives the file a name that nothing else has. From here on others can find it.
    /// Does nothing if it has one.
    pub(crate) fn link(&self, path: PathBuf) -> Result<(), Error> {
        if self.path.get().is_some() {
            return Ok(());
        }
        // open(2) documents this way to name an unnamed file; it needs no privilege.
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, own, CWD, &path, AtFlags::SYMLINK_FOLLOW)
            .map_err(|e| Error::io("name memory", &path, e.into()))?;
        let _ = self.path.set(path);
        Ok(())
    }

    pub(crate) fn begin(&self) -> NonNull<u8> {
        self.map
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Removes the name, since the contents are obsolete. It may be gone already.
    pub(crate) fn unlink(&self) -> Result<(), Error> {
        match self.path.get().map(|path| (path, fs::remove_file(path))) {
            Some((path, Err(error))) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("unlink", path, error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for CrashMapping {
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
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn memory_is_a_file_of_its_own_that_is_locked() {
        let Some(shm) = bufferedwriter_testkit::shm::dir() else { return };
        let memory = CrashMapping::create(shm, 10_000).unwrap();
        let name = shm.join(format!(".bufferedwriter-test-{}", std::process::id()));
        assert!(memory.unlink().is_ok(), "it has no name yet");
        memory.link(name.clone()).unwrap();
        // SAFETY: within the mapping.
        unsafe { memory.begin().as_ptr().add(9_999).write(7) };
        let bytes = fs::read(&name).unwrap();
        assert_eq!((bytes.len(), bytes[9_999]), (10_000, 7));
        assert!(File::open(&name).unwrap().try_lock().is_err());
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o7777, 0o600);
        let other = CrashMapping::create(shm, 1).unwrap().link(name.clone()).unwrap_err();
        assert_eq!(
            (other.operation(), other.kind()),
            ("name memory", io::ErrorKind::AlreadyExists)
        );
        memory.unlink().unwrap();
        memory.unlink().unwrap();
        assert!(!name.exists());
        fs::create_dir(&name).unwrap();
        assert_eq!(memory.unlink().unwrap_err().operation(), "unlink");
        fs::remove_dir(&name).unwrap();
    }

    #[test]
    fn a_descriptor_that_now_is_another_file_stays_open() {
        let Some(shm) = bufferedwriter_testkit::shm::dir() else { return };
        let (memory, dir) = (CrashMapping::create(shm, 10_000).unwrap(), TestDir::new());
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
        let memory = CrashMapping::create(shm, 10_000).unwrap();
        let at = memory.begin().as_ptr();
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

    #[test]
    fn what_is_not_memory_and_what_is_too_much_is_refused() {
        let dir = TestDir::new();
        let is_memory = rustix::fs::statfs(dir.path()).unwrap().f_type as u64 == TMPFS_MAGIC;
        // If the directory for temporary files is itself in memory, there is nothing to refuse.
        if !is_memory {
            let error = CrashMapping::create(dir.path(), 10).err().unwrap();
            assert_eq!(error.operation(), "create memory in");
            assert_eq!(error.path(), Some(dir.path()));
        }
        let error = CrashMapping::create(Path::new("/dev/shm"), 1 << 50).err().unwrap();
        assert_eq!(error.operation(), "allocate memory in");
    }
}
