//! The machine's file system, behind the trait of `fs/mod.rs`.
//!
//! Guarantees: those of the trait. Calls that a signal interrupts are repeated, except writes.
//! Refuses direct I/O where it has no effect.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use crate::base::sys::fork::{ClosedInChild, undisturbed};
use crate::base::sys::{Errno, dir, file, host};
use crate::fs::real_dir::RealDir;
use crate::fs::{Facts, Fs, FsDir, FsFile};

/// Alignment of direct writes.
const BLOCK: usize = 4096;

/// The machine's file system. std repeats interrupted calls; so do the other calls here.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        let file = file::create(path, mode)?;
        // Until this call the umask has only removed permissions, so no one had more than `mode`.
        let made = file::set_mode(&file, mode);
        match made.and_then(|has_mode| RealFile::new(file, has_mode)) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => {
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }

    fn rename_in_one_step(&self, from: &Path, to: &Path) -> io::Result<()> {
        file::rename_new(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.rename_in_one_step(from, to) {
            // Some file systems and kernels lack it. EPERM is different: it is a refusal that a link
            // would bypass only half-way.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => link_and_unlink(from, to),
            result => result,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = file::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Box::new(RealFile::new(file, true)?))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.facts(path)?.is_some())
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        file::facts_at(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        file::free_bytes(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        file::sync_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        file::create_dir_all(dir)
    }

    fn create_dir(&self, dir: &Path, mode: u32) -> io::Result<()> {
        file::create_dir(dir, mode)
    }

    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        let dir = fs::canonicalize(dir)?;
        if !fs::metadata(&dir)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(dir)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        host::boot_id()
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn FsDir>> {
        Ok(Box::new(RealDir(dir::open(dir)?)))
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        dir::link(target, link)
    }

    fn read_link(&self, link: &Path) -> io::Result<Option<PathBuf>> {
        dir::read_link(link)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        dir::replace(from, to)
    }
}

/// A rename that does not replace, for file systems without one and for sandboxes that forbid the
/// call (`bufferedwriter_portable`). It is not atomic: a process that is killed in between leaves
/// the file under both names.
fn link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    if let Err(error) = fs::hard_link(from, to) {
        // NFS repeats a call when the answer is lost, and then finds its own link.
        if error.kind() != io::ErrorKind::AlreadyExists || !same_file(from, to) {
            return Err(error);
        }
    }
    // From here on the file is visible, and a reader may have it already. An old name that stays is
    // only a left-over; an error would make the caller publish the records twice.
    let _ = fs::remove_file(from);
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    let identity = |path| file::facts_at(path).ok().flatten().map(|found| found.id);
    matches!((identity(a), identity(b)), (Some(a), Some(b)) if a == b)
}

struct RealFile {
    /// Use [`file`](Self::file) instead.
    descriptor: ManuallyDrop<File>,
    /// Device and inode of the file.
    id: (u64, u64),
    /// Whether direct I/O is known to work.
    has_direct: bool,
    /// Whether it got the permissions that it was created with.
    has_mode: bool,
    /// Set once this file has the lock.
    locked: Option<ClosedInChild>,
}

impl RealFile {
    fn new(file: File, has_mode: bool) -> io::Result<Self> {
        let id = file::facts(&file)?.id;
        let descriptor = ManuallyDrop::new(file);
        Ok(RealFile { descriptor, id, has_direct: false, has_mode, locked: None })
    }

    /// The open file, if the descriptor still belongs to it.
    fn file(&self) -> io::Result<&File> {
        self.found().map(|_| &*self.descriptor)
    }

    fn found(&self) -> io::Result<Facts> {
        let found = file::facts(&self.descriptor)?;
        let is_ours = found.id == self.id || !file::IDS_STAY;
        if is_ours { Ok(found) } else { Err(Errno::BADF.into()) }
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        // The number may belong to another file: in a forked child, where the descriptor is closed
        // already, and in a program that has closed it.
        if self.locked.as_ref().is_none_or(ClosedInChild::end) && self.file().is_ok() {
            // SAFETY: dropped only here, and nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
    }
}

impl FsFile for RealFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        // `write_all` repeats short and interrupted calls.
        file::write_at(self.file()?, slices, offset)
    }

    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        file::read_at(self.file()?, bytes, offset)
    }

    fn facts(&self) -> io::Result<Facts> {
        self.found()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        file::sync(self.file()?)
    }

    fn has_hole(&self, before: u64) -> io::Result<bool> {
        file::has_hole(self.file()?, before)
    }

    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        file::reserve(self.file()?, from, to)
    }

    fn punch_hole(&mut self, from: u64, to: u64) -> io::Result<()> {
        file::punch_hole(self.file()?, from, to)
    }

    fn try_lock(&mut self) -> io::Result<()> {
        // A child that was forked since the file was opened shares that descriptor, and would share
        // its lock. So the lock goes to another opening of the file, which no child has.
        let own = self.file()?;
        let reopened = undisturbed(|| {
            let file = file::reopen(own)?;
            let locked = ClosedInChild::new(&file);
            let (descriptor, locked) = (ManuallyDrop::new(file), Some(locked));
            Ok::<_, io::Error>(RealFile {
                descriptor,
                locked,
                id: self.id,
                has_direct: false,
                has_mode: self.has_mode,
            })
        });
        match reopened {
            Ok(other) if other.file().is_ok() => {
                file::try_lock(&other.descriptor)?;
                *self = other;
            }
            // There is no /proc, or no such system.
            _ => {
                file::try_lock(&self.descriptor)?;
                self.locked = Some(ClosedInChild::new(&self.descriptor));
            }
        }
        Ok(())
    }

    fn has_mode(&self) -> bool {
        self.has_mode
    }

    fn go_direct(&mut self) -> io::Result<usize> {
        let file = self.file()?;
        if !self.has_direct && !file::may_go_direct(file, BLOCK)? {
            return Err(io::ErrorKind::Unsupported.into());
        }
        file::go_direct(file)?;
        self.has_direct = true;
        Ok(BLOCK)
    }

    fn go_buffered(&mut self) -> io::Result<()> {
        file::go_buffered(self.file()?)
    }

    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        let file = self.file()?;
        let clone = undisturbed(|| {
            let file = file.try_clone()?;
            let locked = self.locked.is_some().then(|| ClosedInChild::new(&file));
            let (id, has_mode, descriptor) = (self.id, self.has_mode, ManuallyDrop::new(file));
            Ok::<_, io::Error>(RealFile { descriptor, id, has_direct: false, has_mode, locked })
        });
        Ok(Box::new(clone?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::write_all;
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::{makes_links, symlink};
    use std::io::ErrorKind;

    #[test]
    // The permissions are those of the directory there.
    #[cfg(unix)]
    fn create_sets_the_mode() {
        use std::os::unix::fs::MetadataExt;
        let dir = TestDir::new();
        // This changes the whole process for a moment. No test depends on the permissions that it
        // takes away.
        let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let created = RealFs.create(&dir.join("file"), 0o664);
        rustix::process::umask(umask);
        assert!(created.is_ok());
        let mode = fs::metadata(dir.join("file")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o664);
    }

    #[test]
    fn create_is_exclusive_and_follows_no_link() {
        if !makes_links() {
            return;
        }
        let dir = TestDir::new();
        assert!(RealFs.create(&dir.join("file"), 0o600).is_ok());
        symlink(dir.join("elsewhere"), dir.join("link")).unwrap();
        for name in ["file", "link"] {
            let error = RealFs.create(&dir.join(name), 0o600).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        }
        assert!(!RealFs.exists(&dir.join("elsewhere")).unwrap());
        assert!(RealFs.exists(&dir.join("link")).unwrap());
        assert!(!RealFs.exists(&dir.join("file/below")).unwrap());
    }

    #[test]
    fn neither_way_to_rename_replaces() {
        for rename in [link_and_unlink, |a: &Path, b: &Path| RealFs.rename(a, b)] {
            let dir = TestDir::new();
            fs::write(dir.join("a"), "a").unwrap();
            fs::write(dir.join("b"), "b").unwrap();
            let error = rename(&dir.join("a"), &dir.join("b")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert_eq!(dir.list(), ["a", "b"]);
            rename(&dir.join("a"), &dir.join("c")).unwrap();
            assert_eq!(dir.list(), ["b", "c"]);
            assert_eq!(fs::read(dir.join("c")).unwrap(), b"a");
            assert_eq!(fs::read(dir.join("b")).unwrap(), b"b");
            let error = rename(&dir.join("a"), &dir.join("d")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    }

    /// A directory tells the two ways apart, since directories have no hard links.
    #[test]
    fn a_portable_rename_is_a_link() {
        let dir = TestDir::new();
        fs::create_dir(dir.join("a")).unwrap();
        let renamed = RealFs.rename(&dir.join("a"), &dir.join("b")).is_ok();
        assert_eq!(renamed, !cfg!(bufferedwriter_portable));
        assert_eq!(dir.list(), [if renamed { "b" } else { "a" }]);
    }

    #[test]
    fn a_link_whose_answer_was_lost_is_met_again() {
        let dir = TestDir::new();
        fs::write(dir.join("a"), "a").unwrap();
        fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
        link_and_unlink(&dir.join("a"), &dir.join("b")).unwrap();
        assert_eq!(dir.list(), ["b"]);
    }

    #[test]
    fn more_slices_than_one_call_takes_and_empty_ones() {
        let dir = TestDir::new();
        let mut file = RealFs.create(&dir.join("file"), 0o600).unwrap();
        let bytes: Vec<u8> = (0..5000_u32).map(|i| i as u8).collect();
        let mut slices = vec![IoSlice::new(b""); 3 * 1024];
        slices.extend(bytes.chunks(2).map(IoSlice::new));
        slices.extend([IoSlice::new(b""); 2 * 1024]);
        let (written, result) = write_all(&mut *file, &mut slices, 3);
        assert!(result.is_ok());
        assert_eq!(written, 5000);
        let read = fs::read(dir.join("file")).unwrap();
        assert_eq!(read, [&[0; 3], &bytes[..]].concat());
        assert!(write_all(&mut *file, &mut [], 0).1.is_ok());
    }

    #[test]
    fn clones_share_the_lock() {
        let dir = TestDir::new();
        let mut file = RealFs.create(&dir.join("file"), 0o600).unwrap();
        file.try_lock().unwrap();
        let clone = file.try_clone().unwrap();
        drop(file);
        let other = File::open(dir.join("file")).unwrap();
        assert_eq!(io::Error::from(other.try_lock().unwrap_err()).kind(), ErrorKind::WouldBlock);
        drop(clone);
        other.try_lock().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_boot_has_an_identity() {
        assert!(RealFs.boot_id().is_some_and(|id| id != [0; 16] && Some(id) == RealFs.boot_id()));
    }
}
