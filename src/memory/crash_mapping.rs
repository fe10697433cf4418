//! Crash-proof memory: a file that outlives the process.
//!
//! Guarantees: those of the system's [`CrashFile`]. It has no name before its maker has completed it, so no reader
//! finds half of one.
//! Refuses: systems that have no such files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::base::sys::crash_file::CrashFile;
use crate::report::error::Error;

/// The file and its mapping.
pub(crate) struct CrashMapping {
    file: CrashFile,
    /// The file's name, once it has one.
    path: OnceLock<PathBuf>,
}

impl CrashMapping {
    /// Creates `len` zeroed bytes without a name, for this user alone.
    pub(crate) fn create(dir: &Path, len: usize) -> Result<Self, Error> {
        let file = CrashFile::create(dir, len);
        let file = file.map_err(|(operation, error)| Error::io(operation, dir, error))?;
        Ok(CrashMapping { file, path: OnceLock::new() })
    }

    /// Gives the file a name that nothing else has. From here on others can find it.
    /// Does nothing if it has one.
    pub(crate) fn link(&self, path: PathBuf) -> Result<(), Error> {
        if self.path.get().is_some() {
            return Ok(());
        }
        self.file.link(&path).map_err(|e| Error::io("name memory", &path, e))?;
        let _ = self.path.set(path);
        Ok(())
    }

    pub(crate) fn begin(&self) -> NonNull<u8> {
        self.file.begin()
    }

    pub(crate) fn len(&self) -> usize {
        self.file.len()
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

// Elsewhere there are no such files, so no value to try.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs::File;
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
    fn what_is_not_memory_and_what_is_too_much_is_refused() {
        let dir = TestDir::new();
        let is_memory = rustix::fs::statfs(dir.path()).unwrap().f_type as u64 == 0x0102_1994;
        // If the directory for temporary files is itself in memory, there is nothing to refuse.
        if !is_memory {
            let error = CrashMapping::create(dir.path(), 10).err().unwrap();
            assert_eq!(error.operation(), "create memory in");
            assert_eq!(error.path(), Some(dir.path()));
        }
        // With 32 bits a process can't even ask for more than a machine may have.
        let Ok(too_much) = usize::try_from(1_u64 << 50) else { return };
        let error = CrashMapping::create(Path::new("/dev/shm"), too_much).err().unwrap();
        assert_eq!(error.operation(), "allocate memory in");
    }
}
