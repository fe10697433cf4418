//! The file system as a small boxed trait. No other module calls the file system; `real.rs`
//! implements the trait.
//!
//! Guarantees: files are created exclusively and never through a symbolic link, and a rename never
//! replaces a file. Refuses nothing else: the worker decides on policy and retries.

pub(crate) mod real;
mod real_dir;

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use crate::base::sys::Facts;

use crate::base::sys::Errno;
use crate::base::thread::Backoff;

/// The file system operations that a writer needs. Each method is one operation that may fail
/// alone.
pub trait Fs: Send + Sync + 'static {
    /// Creates a new file for reading and writing, with exactly these permissions, or as
    /// [`FsFile::has_mode`] says. Fails if the path exists.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>>;
    /// Renames a file. `AlreadyExists` if the target exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Like [`rename`](Self::rename), but atomic even if the process dies in the call.
    /// `Unsupported` where the file system can't do that.
    fn rename_in_one_step(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename(from, to)
    }
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens an existing regular file to read and write, never through a symbolic link. Does not
    /// wait for the other end of a pipe or a device.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Whether this path exists. Symbolic links are not followed.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Metadata of this path, if it exists. Symbolic links are not followed.
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>>;
    /// The names in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Free bytes that this process may use on the directory's file system.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Syncs a directory's entries to the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents, accessible to the owner only.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates one directory with exactly these permissions, or fewer where they can't be set.
    /// `AlreadyExists` if the path exists.
    fn create_dir(&self, _dir: &Path, _mode: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The absolute path of an existing directory, without symbolic links.
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf>;
    /// Identity of the machine's current boot. `None` where the system does not tell it.
    fn boot_id(&self) -> Option<[u8; 16]>;
    /// Opens a directory, whose name may be anything but a symbolic link.
    ///
    /// # Errors
    /// `Unsupported` where nothing is implemented, here and below.
    fn open_dir(&self, _dir: &Path) -> io::Result<Box<dyn FsDir>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes a symbolic link. `AlreadyExists` if the path exists.
    fn symlink(&self, _target: &Path, _link: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Where a symbolic link leads. `None` if the path does not exist; `InvalidInput` if it is
    /// anything else.
    fn read_link(&self, _link: &Path) -> io::Result<Option<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Renames, and replaces what has the new name, at once.
    fn replace(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The name.
    pub name: &'a OsStr,
    /// `false` if it is known not to be a directory.
    pub may_be_dir: bool,
}

/// An open directory. What is reached through it lies in it, wherever its path leads by then: no
/// symbolic link is followed. Each call fails with EBADF if the descriptor no longer belongs to it.
pub trait FsDir: Send {
    /// Shows each name, in no particular order, until `see` returns `false`.
    fn each(&self, see: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()>;
    /// Metadata of this name, if it exists.
    fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>>;
    /// Opens a directory in this one. `None` if the name is anything else, or is gone.
    fn open_dir(&self, name: &OsStr) -> io::Result<Option<Box<dyn FsDir>>>;
    /// Removes a file. A directory is an error.
    fn remove(&self, name: &OsStr) -> io::Result<()>;
    /// Removes a directory. `DirectoryNotEmpty` if anything is in it.
    fn remove_dir(&self, name: &OsStr) -> io::Result<()>;
}

/// Whether a call failed because its descriptor no longer belongs to the file. Programs that become
/// daemons close all descriptors, and the next file that they open gets the number.
pub(crate) fn is_lost_descriptor(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::BADF.raw_os_error())
}

/// One open file. Each call fails with EBADF if the descriptor no longer belongs to the file.
pub trait FsFile: Send {
    /// Writes at an offset. It may write less than asked for, and may be interrupted.
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Reads at an offset. It may read less than asked for; it reads 0 bytes at the end of the
    /// file.
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The file's metadata.
    fn facts(&self) -> io::Result<Facts>;
    /// Cuts or extends the file to this length.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Syncs the file's contents and length to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Whether a part of the file before this offset was never written. `false` where the file
    /// system can't tell for certain.
    fn has_hole(&self, _before: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// Whether the file got the permissions that it was created with. Some file systems can't set
    /// any.
    fn has_mode(&self) -> bool {
        true
    }
    /// Takes room for this part of the file, which may lie behind its end, and does not change its length. Writes
    /// there need none then, as far as the file system can promise that.
    fn reserve(&mut self, _from: u64, _to: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Gives back the room of a part of the file, which is zeros from then on.
    fn punch_hole(&mut self, _from: u64, _to: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Takes the file's exclusive lock, which lasts while the file is open. `WouldBlock` if another
    /// process has it. ENOSYS, EOPNOTSUPP or ENOLCK where there are no locks.
    fn try_lock(&mut self) -> io::Result<()>;
    /// Switches to direct I/O: later writes bypass the page cache. Returns the block size, a power
    /// of two and at most 4096. Offset, length and address of each write must be multiples of it.
    /// A file is switched there and back for each of its large writes.
    ///
    /// # Errors
    /// `Unsupported` where the file system has no direct I/O. Nothing changes then.
    fn go_direct(&mut self) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Ends direct I/O: writes go through the page cache, with any length and offset.
    fn go_buffered(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Another handle of the same open file. It shares the lock, which lasts until the last handle
    /// is closed.
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>>;
}

/// After this many interruptions in a row a call is not repeated, so that the worker can end.
const INTERRUPTIONS_MAX: u32 = 100;

/// Takes the file's lock, and waits that long for another process that has it. `WouldBlock` after that.
pub(crate) fn lock_within(file: &mut dyn FsFile, wait: Duration) -> io::Result<()> {
    let (began, mut backoff) = (Instant::now(), Backoff::default());
    loop {
        match file.try_lock() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < wait => {
                backoff.pause();
            }
            tried => return tried,
        }
    }
}

/// Reads from an offset until `bytes` is full or the file ends. Returns how many bytes it read.
pub(crate) fn read_full(file: &mut dyn FsFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let (mut done, mut interruptions) = (0, 0);
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => (done, interruptions) = (done + read, 0),
            Err(error)
                if error.kind() == io::ErrorKind::Interrupted
                    && interruptions < INTERRUPTIONS_MAX =>
            {
                interruptions += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all slices at an offset. Returns how many bytes were written, even after an error. A
/// short write alone is no error; a write of 0 bytes is `WriteZero`.
pub(crate) fn write_all(
    file: &mut dyn FsFile,
    mut slices: &mut [IoSlice<'_>],
    offset: u64,
) -> (u64, io::Result<()>) {
    let (mut written, mut interruptions) = (0, 0);
    // Skips leading empty slices, so that a write of 0 bytes can only be a failure.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_at(slices, offset + written) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                (written, interruptions) = (written + n as u64, 0);
                IoSlice::advance_slices(&mut slices, n);
            }
            Err(error)
                if error.kind() == io::ErrorKind::Interrupted
                    && interruptions < INTERRUPTIONS_MAX =>
            {
                interruptions += 1;
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten bytes. A call reads or writes three of them, and each third call is interrupted.
    struct Slow {
        bytes: Vec<u8>,
        calls: u32,
        is_stuck: bool,
    }

    impl Slow {
        fn new(is_stuck: bool) -> Self {
            Slow { bytes: (0..10).collect(), calls: 0, is_stuck }
        }

        fn call(&mut self) -> io::Result<()> {
            self.calls += 1;
            let is_interrupted = self.is_stuck || self.calls.is_multiple_of(3);
            if is_interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }

    impl FsFile for Slow {
        fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
            self.call()?;
            let rest = &self.bytes[self.bytes.len().min(offset as usize)..];
            let read = rest.len().min(bytes.len()).min(3);
            bytes[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
        fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            self.call()?;
            assert_eq!(offset, self.bytes.len() as u64);
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.bytes.extend(&all[..all.len().min(3)]);
            Ok(all.len().min(3))
        }
        fn facts(&self) -> io::Result<Facts> {
            unreachable!()
        }
        fn set_len(&mut self, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn sync(&mut self) -> io::Result<()> {
            unreachable!()
        }
        fn try_lock(&mut self) -> io::Result<()> {
            unreachable!()
        }
        fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
            unreachable!()
        }
    }

    #[test]
    fn what_comes_in_pieces_is_read_until_it_ends() {
        for (offset, room, expected) in [(0, 10, 10), (0, 8, 8), (2, 20, 8), (10, 5, 0), (3, 0, 0)]
        {
            let (mut file, mut bytes) = (Slow::new(false), vec![99; room]);
            assert_eq!(read_full(&mut file, &mut bytes, offset).unwrap(), expected);
            let read: Vec<u8> = (offset as u8..).take(expected).collect();
            assert_eq!(bytes[..expected], read);
        }
    }

    #[test]
    fn what_is_written_in_pieces_is_written_whole() {
        let mut file = Slow::new(false);
        let mut slices = [IoSlice::new(b""), IoSlice::new(b"abcde"), IoSlice::new(b"fg")];
        let (written, result) = write_all(&mut file, &mut slices, 10);
        result.unwrap();
        assert_eq!((written, &file.bytes[10..]), (7, &b"abcdefg"[..]));
    }

    #[test]
    fn who_is_interrupted_for_ever_gives_up() {
        let mut file = Slow::new(true);
        let error = read_full(&mut file, &mut [0], 0).unwrap_err();
        assert_eq!((error.kind(), file.calls), (io::ErrorKind::Interrupted, 101));
        let mut file = Slow::new(true);
        let (written, result) = write_all(&mut file, &mut [IoSlice::new(b"x")], 10);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!((written, file.calls), (0, 101));
    }
}
