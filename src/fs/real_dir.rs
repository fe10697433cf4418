//! Open directories and symbolic links of the machine's file system, behind the traits of `fs/mod.rs`.
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
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, renameat, statat,
    symlinkat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::fs::{Entry, Facts, FsDir};

/// An open directory.
pub(super) struct RealDir {
    /// Use [`handle`](Self::handle) instead.
    descriptor: ManuallyDrop<OwnedFd>,
    /// Device and inode of the directory.
    id: (u64, u64),
}

/// Opens the directory of this path.
pub(super) fn open(path: &Path) -> io::Result<RealDir> {
    open_at(CWD, path.as_os_str())
}

fn open_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<RealDir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = retry_on_intr(|| openat(dir, name, flags, Mode::empty()))?;
    let id = facts(&fstat(&descriptor)?).id;
    Ok(RealDir { descriptor: ManuallyDrop::new(descriptor), id })
}

/// Makes a symbolic link.
pub(super) fn link(target: &Path, link: &Path) -> io::Result<()> {
    Ok(symlinkat(target, CWD, link)?)
}

/// Where a symbolic link leads. `None` if there is nothing of that name.
pub(super) fn read_link(link: &Path) -> io::Result<Option<PathBuf>> {
    match readlinkat(CWD, link, Vec::new()) {
        Ok(target) => Ok(Some(std::ffi::OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A rename that replaces.
pub(super) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    Ok(retry_on_intr(|| renameat(CWD, from, CWD, to))?)
}

#[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
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

impl RealDir {
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

impl Drop for RealDir {
    fn drop(&mut self) {
        // A program that has closed it may have another file of this number.
        if self.handle().is_ok() {
            // SAFETY: dropped only here, and nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

impl FsDir for RealDir {
    fn each(&self, see: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        for entry in Dir::read_from(self.handle()?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let may_be_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if name != "." && name != ".." && !see(Entry { name, may_be_dir }) {
                break;
            }
        }
        Ok(())
    }

    fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        match statat(self.handle()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(facts(&found))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Option<Box<dyn FsDir>>> {
        match open_at(self.handle()?, name) {
            Ok(dir) => Ok(Some(Box::new(dir))),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(self.handle()?, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(self.handle()?, name, AtFlags::REMOVEDIR)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Fs;
    use crate::fs::real::RealFs;
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::fs::{MetadataExt, symlink};

    fn seen(dir: &dyn FsDir) -> Vec<(String, bool)> {
        let mut seen = Vec::new();
        dir.each(&mut |entry| {
            seen.push((entry.name.to_str().unwrap().to_owned(), entry.may_be_dir));
            true
        })
        .unwrap();
        seen.sort();
        seen
    }

    #[test]
    fn what_is_in_a_directory_is_reached_through_it_and_nothing_else() {
        let dir = TestDir::new();
        let below = dir.dir("below");
        fs::write(dir.join("file"), "text").unwrap();
        symlink(dir.join("file"), dir.join("link")).unwrap();
        symlink(&below, dir.join("way")).unwrap();
        let open = RealFs.open_dir(dir.path()).unwrap();
        let named = |name: &str, is_dir| (name.to_owned(), is_dir);
        let expected =
            [named("below", true), named("file", false), named("link", false), named("way", false)];
        assert_eq!(seen(&*open), expected);
        assert_eq!(open.facts("file".as_ref()).unwrap(), RealFs.facts(&dir.join("file")).unwrap());
        assert!(!open.facts("link".as_ref()).unwrap().unwrap().is_file);
        assert_eq!(open.facts("nothing".as_ref()).unwrap(), None);
        for name in ["file", "link", "way", "nothing"] {
            assert!(open.open_dir(name.as_ref()).unwrap().is_none(), "{name}");
        }
        // A link to a directory is no directory.
        assert!(RealFs.open_dir(&dir.join("way")).is_err());

        let inner = open.open_dir("below".as_ref()).unwrap().unwrap();
        fs::rename(&below, dir.join("moved")).unwrap();
        symlink(dir.path(), &below).unwrap();
        fs::write(dir.join("moved/file"), "").unwrap();
        inner.remove("file".as_ref()).unwrap();
        assert!(dir.join("file").exists() && !dir.join("moved/file").exists());
        assert_eq!(inner.remove("file".as_ref()).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(open.remove_dir("below".as_ref()).is_err());
        open.remove_dir("moved".as_ref()).unwrap();
        open.remove("link".as_ref()).unwrap();
        assert_eq!(dir.list(), ["below", "file", "way"]);
    }

    #[test]
    fn a_look_ends_when_nobody_wants_to_see_more() {
        let dir = TestDir::new();
        (0..9).for_each(|i| fs::write(dir.join(format!("{i}")), "").unwrap());
        let mut count = 0;
        let open = RealFs.open_dir(dir.path()).unwrap();
        open.each(&mut |_| {
            count += 1;
            count < 3
        })
        .unwrap();
        assert_eq!((count, seen(&*open).len()), (3, 9));
    }

    /// As after a program that becomes a daemon has closed all descriptors.
    #[test]
    fn a_descriptor_of_another_file_is_not_used_and_not_closed() {
        let (dir, other) = (TestDir::new(), TestDir::new());
        fs::write(other.join("file"), "").unwrap();
        let open = super::open(dir.path()).unwrap();
        let elsewhere = fs::File::open(other.path()).unwrap();
        // SAFETY: from here on the number belongs to `taken`, and `open` must notice it.
        let mut taken = unsafe { OwnedFd::from_raw_fd(open.descriptor.as_raw_fd()) };
        rustix::io::dup2(&elsewhere, &mut taken).unwrap();
        assert_eq!(open.remove("file".as_ref()).unwrap_err().raw_os_error(), Some(9));
        drop(open);
        assert_eq!(fstat(&taken).unwrap().st_ino, elsewhere.metadata().unwrap().ino());
        assert_eq!(other.list(), ["file"]);
    }

    #[test]
    fn links_are_made_read_and_replaced() {
        let dir = TestDir::new();
        let (one, two) = (dir.join("one"), dir.join("two"));
        assert_eq!(RealFs.read_link(&one).unwrap(), None);
        RealFs.symlink(Path::new("there"), &one).unwrap();
        RealFs.symlink(Path::new("elsewhere"), &two).unwrap();
        let again = RealFs.symlink(Path::new("there"), &two).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        RealFs.replace(&one, &two).unwrap();
        assert_eq!(RealFs.read_link(&two).unwrap(), Some("there".into()));
        assert_eq!(dir.list(), ["two"]);
        fs::write(&one, "").unwrap();
        assert_eq!(RealFs.read_link(&one).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn directories() {
        let dir = TestDir::new();
        let deep = dir.join("a/b");
        assert_eq!(RealFs.canonicalize(&deep).unwrap_err().kind(), ErrorKind::NotFound);
        RealFs.create_dir_all(&deep).unwrap();
        RealFs.create_dir_all(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().mode() & 0o077, 0);
        symlink(&deep, dir.join("link")).unwrap();
        assert_eq!(RealFs.canonicalize(&dir.join("link")).unwrap(), deep);
        RealFs.sync_dir(&deep).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let file = dir.join("file");
        assert_eq!(RealFs.canonicalize(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(RealFs.sync_dir(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
        RealFs.remove(&file).unwrap();
    }

    #[test]
    fn a_directory_is_created_once_with_its_permissions_and_through_no_link() {
        let dir = TestDir::new();
        for mode in [0o700, 0o750, 0o755] {
            let made = dir.join(format!("{mode:o}"));
            let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            let created = RealFs.create_dir(&made, mode);
            rustix::process::umask(umask);
            created.unwrap();
            let facts = RealFs.facts(&made).unwrap().unwrap();
            assert_eq!((facts.mode, facts.is_dir, facts.is_file), (mode, true, false));
            let again = RealFs.create_dir(&made, 0o700).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        }
        symlink(dir.join("700"), dir.join("link")).unwrap();
        symlink(dir.join("nothing"), dir.join("loose")).unwrap();
        for link in ["link", "loose"] {
            let error = RealFs.create_dir(&dir.join(link), 0o700).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert!(!RealFs.facts(&dir.join(link)).unwrap().unwrap().is_dir);
        }
        let error = RealFs.create_dir(&dir.join("a/b"), 0o700).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn only_regular_files_are_opened_and_no_link_is_followed() {
        let dir = TestDir::new();
        fs::write(dir.join("file"), "text").unwrap();
        symlink(dir.join("file"), dir.join("link")).unwrap();
        // An open of a pipe would wait for its other end.
        let fifo = dir.join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        assert!(RealFs.open(&dir.join("link")).is_err());
        assert!(RealFs.open(&fifo).is_err());
        assert!(RealFs.open(dir.path()).is_err());
        let mut file = RealFs.open(&dir.join("file")).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 3);
        assert_eq!(&bytes[..3], b"ext");
        let facts = file.facts().unwrap();
        assert_eq!((facts.is_file, facts.len, facts.links), (true, 4, 1));
        assert_eq!(RealFs.facts(&dir.join("file")).unwrap(), Some(facts));
        let link = RealFs.facts(&dir.join("link")).unwrap().unwrap();
        assert!(!link.is_file && link.id != facts.id);
        assert_eq!(RealFs.facts(&dir.join("nothing")).unwrap(), None);
        let mut names = RealFs.list(dir.path()).unwrap();
        names.sort();
        assert_eq!(names, ["fifo", "file", "link"]);
        assert!(RealFs.free_bytes(dir.path()).unwrap() > 0);
    }
}
