//! The only door to the file system: a small boxed trait. The real one behind it is `real_fs.rs`.
//!
//! Guarantees: files are created exclusively and never through a symbolic link; a rename never
//! replaces a file. Refuses nothing else: policy and retries belong to the worker.

pub(crate) mod real;

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// What stands at a path, or behind an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// It is a regular file.
    pub is_file: bool,
    /// Its length in bytes.
    pub len: u64,
    /// Bytes that it takes of the file system.
    pub allocated: u64,
    /// Number of its owner.
    pub uid: u32,
    /// Its permissions.
    pub mode: u32,
    /// Names that it has.
    pub links: u64,
    /// Tells it from all others: file system and inode.
    pub id: (u64, u64),
}

/// What a writer asks of a file system. Each method is one operation that may fail on its own.
pub trait Fs: Send + Sync + 'static {
    /// Creates a file that did not exist, for writing, with exactly these permissions.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>>;
    /// Renames a file; `AlreadyExists` where the target exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The same, where it is one step for whoever dies in it; `Unsupported` where it is not.
    fn rename_in_one_step(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename(from, to)
    }
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens a regular file that exists, to read and write, never through a symbolic link; does not
    /// wait for whoever is at the other end of something else.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Whether something stands at this path; symbolic links are not followed.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// What stands at this path, if anything; symbolic links are not followed.
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Bytes that this process may still take of a directory's file system.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Forces a directory's entries to the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and its parents where they are missing, for the owner alone.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// The absolute path of an existing directory, free of symbolic links.
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf>;
    /// Identity of the machine's current boot; none where the system does not tell it.
    fn boot_id(&self) -> Option<[u8; 16]>;
}

/// One file that is being written.
pub trait FsFile: Send {
    /// Writes at an offset; may write less than asked for, and may be interrupted.
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Reads at an offset; may read less than asked for, zero bytes at the end.
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// What it is.
    fn facts(&self) -> io::Result<Facts>;
    /// Cuts or extends the file to this length.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Forces the file's contents and length to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes the file's exclusive lock for as long as the file is open; `WouldBlock` if another
    /// process has it.
    fn try_lock(&mut self) -> io::Result<()>;
    /// Asks for direct I/O: writes go past the page cache from here on. Returns the size of a block, a
    /// power of two and at most 4096: offset, length and address of each write must be multiples of it.
    ///
    /// # Errors
    /// `Unsupported` where the file system has no such thing; then nothing changes.
    fn go_direct(&mut self) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Ends direct I/O: writes of any length at any offset go through the page cache.
    fn go_buffered(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Another way into the same open file: it has the same lock, until the last one is closed.
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>>;
}

/// A call that is interrupted so often in a row is not made again: the worker must be able to end.
const INTERRUPTIONS_MAX: u32 = 100;

/// Reads from an offset on until there is no room or the file ends. How many bytes that were.
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

/// Writes all slices from an offset on. Tells how many bytes were written, also when an error
/// stopped it: a short write alone is none, one of 0 bytes is `WriteZero`.
pub(crate) fn write_all(
    file: &mut dyn FsFile,
    mut slices: &mut [IoSlice<'_>],
    offset: u64,
) -> (u64, io::Result<()>) {
    let (mut written, mut interruptions) = (0, 0);
    // Takes empty slices off the front, so that a write of 0 bytes can only be a failure.
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

    /// Ten bytes, of which a call reads or writes three, and each third call is interrupted.
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
