//! Open directories and symbolic links.
//!
//! Guarantees: no symbolic link is followed, so what is reached through an open directory lies in it,
//! wherever its name leads by then. A descriptor that no longer belongs to the directory is not used.

use std::ffi::OsStr;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    self as calls, AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, renameat,
    statat, symlinkat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::base::sys::Facts;

/// An open directory.
pub(crate) struct Dir {
    /// Use [`handle`](Self::handle) instead.
    descriptor: ManuallyDrop<OwnedFd>,
    /// Device and inode of the directory.
    id: (u64, u64),
}

/// Opens the directory of this path.
pub(crate) fn open(path: &Path) -> io::Result<Dir> {
    open_at(CWD, path.as_os_str())
}

fn open_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = retry_on_intr(|| openat(dir, name, flags, Mode::empty()))?;
    let id = facts(&fstat(&descriptor)?).id;
    Ok(Dir { descriptor: ManuallyDrop::new(descriptor), id })
}

/// Makes a symbolic link.
pub(crate) fn link(target: &Path, link: &Path) -> io::Result<()> {
    Ok(symlinkat(target, CWD, link)?)
}

/// Where a symbolic link leads. `None` if there is nothing of that name.
pub(crate) fn read_link(link: &Path) -> io::Result<Option<PathBuf>> {
    match readlinkat(CWD, link, Vec::new()) {
        Ok(target) => Ok(Some(std::ffi::OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A rename that replaces.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    Ok(retry_on_intr(|| renameat(CWD, from, CWD, to))?)
}

#[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
fn facts(found: &Stat) -> Facts {
    Facts {
        is_file: FileType::from_raw_mode(found.st_mode) == FileType::RegularFile,
        is_dir: FileType::from_raw_mode(found.st_mode) == FileType::Directory,
        len: found.st_size as u64,
        allocated: (found.st_blocks as u64).saturating_mul(512),
        uid: found.st_uid,
        mode: found.st_mode as u32 & 0o7777,
        links: found.st_nlink as u64,
        id: (found.st_dev as u64, found.st_ino as u64),
        modified: u64::try_from(found.st_mtime)
            .map_or(0, |seconds| seconds.saturating_mul(1_000_000_000))
            .saturating_add(found.st_mtime_nsec as u64),
    }
}

impl Dir {
    /// The descriptor, if it still belongs to the directory.
    fn handle(&self) -> io::Result<BorrowedFd<'_>> {
        let found = fstat(&*self.descriptor)?;
        if facts(&found).id == self.id {
            Ok(self.descriptor.as_fd())
        } else {
            Err(Errno::BADF.into())
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A program that has closed it may have another file of this number.
        if self.handle().is_ok() {
            // SAFETY: dropped only here, and nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

impl Dir {
    /// Shows each name, and whether it may be a directory, until `see` returns `false`.
    pub(crate) fn each(&self, see: &mut dyn FnMut(&OsStr, bool) -> bool) -> io::Result<()> {
        for entry in calls::Dir::read_from(self.handle()?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let may_be_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if name != "." && name != ".." && !see(name, may_be_dir) {
                break;
            }
        }
        Ok(())
    }

    /// Metadata of this name, if it exists.
    pub(crate) fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        match statat(self.handle()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(facts(&found))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a directory in this one. `None` if the name is anything else, or is gone.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Option<Dir>> {
        match open_at(self.handle()?, name) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(self.handle()?, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(self.handle()?, name, AtFlags::REMOVEDIR)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::fs::MetadataExt;

    /// As after a program that becomes a daemon has closed all descriptors.
    #[test]
    fn a_descriptor_of_another_file_is_not_used_and_not_closed() {
        let (dir, other) = (TestDir::new(), TestDir::new());
        fs::write(other.join("file"), "").unwrap();
        let open = open(dir.path()).unwrap();
        let elsewhere = fs::File::open(other.path()).unwrap();
        // SAFETY: from here on the number belongs to `taken`, and `open` must notice it.
        let mut taken = unsafe { OwnedFd::from_raw_fd(open.descriptor.as_raw_fd()) };
        rustix::io::dup2(&elsewhere, &mut taken).unwrap();
        assert_eq!(open.remove("file".as_ref()).unwrap_err().raw_os_error(), Some(9));
        drop(open);
        assert_eq!(fstat(&taken).unwrap().st_ino, elsewhere.metadata().unwrap().ino());
        assert_eq!(other.list(), ["file"]);
    }
}
