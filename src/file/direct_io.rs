//! Direct writes of one file: whole blocks past the page cache, assembled from records of any length.
//!
//! The first bytes of a write that complete the file's last block, and the last ones that begin a
//! block, go through the page cache. So no write ever begins before the file's good length.
//!
//! Guarantees: each write past the page cache is aligned. An append is in the file as a whole or
//! counts as not written. Bytes that count already are never written over: a disk that fails within
//! a block, or a process that dies there, can't spoil them.
//! Refuses to choose when to write: the output does.

use std::io::{self, ErrorKind, IoSlice};

use crate::file::aligned::Staging;
use crate::fs::{FsFile, write_all};

/// How a file is written past the page cache.
pub(crate) struct Direct {
    /// A power of two. Divides the capacity of any staging memory.
    block: usize,
    /// Whether the descriptor is in direct mode at the moment.
    is_on: bool,
}

impl Direct {
    /// Of a file that has just gone direct.
    pub(crate) fn new(block: usize) -> Self {
        Direct { block, is_on: true }
    }

    /// Writes all slices at the good length, which does not move. Returns how many bytes they have.
    pub(crate) fn write(
        &mut self,
        file: &mut dyn FsFile,
        slices: &[IoSlice<'_>],
        staging: &mut Staging,
        good: u64,
    ) -> io::Result<u64> {
        let mut at = good;
        staging.clear();
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                // After this many bytes the file ends with a block, or the memory is full.
                let left = match self.partial(at) {
                    0 => staging.capacity(),
                    partial => self.block - partial,
                } - staging.bytes().len();
                let (now, later) = rest.split_at(rest.len().min(left));
                staging.put(now);
                rest = later;
                if now.len() == left {
                    at += self.flush(file, staging, at)?;
                }
            }
        }
        at += self.flush(file, staging, at)?;
        Ok(at - good)
    }

    /// Bytes of the last block in a file of this length; 0 if it is whole.
    fn partial(&self, len: u64) -> usize {
        (len & (self.block as u64 - 1)) as usize
    }

    /// Writes the contents of the staging memory and empties it. Whole blocks go past the page
    /// cache.
    fn flush(&mut self, file: &mut dyn FsFile, staging: &mut Staging, at: u64) -> io::Result<u64> {
        let bytes = staging.bytes();
        let len = bytes.len() as u64;
        let whole = if self.partial(at) == 0 { bytes.len() - self.partial(len) } else { 0 };
        let (blocks, part) = bytes.split_at(whole);
        if !blocks.is_empty() {
            self.go(file, true)?;
            write_all(file, &mut [IoSlice::new(blocks)], at).1?;
        }
        if !part.is_empty() {
            self.go(file, false)?;
            write_all(file, &mut [IoSlice::new(part)], at + whole as u64).1?;
        }
        staging.clear();
        Ok(len)
    }

    /// Switches the descriptor.
    pub(crate) fn go(&mut self, file: &mut dyn FsFile, on: bool) -> io::Result<()> {
        if on != self.is_on {
            if on { file.go_direct().map(drop) } else { file.go_buffered() }?;
            self.is_on = on;
        }
        Ok(())
    }
}

/// Whether the page cache may succeed where direct I/O failed. The file system may take no direct
/// writes, or have room for only a part of this one.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput
            | ErrorKind::Unsupported
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::config::Files;
    use crate::file::aligned::PAGE;
    use crate::file::temp_file::TempFile;
    use crate::naming::{Names, TempId};
    use crate::report::stats::Count;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::FileExt;
    use std::ffi::OsString;

    struct Written {
        file: TempFile,
        staging: Staging,
        expected: Vec<u8>,
    }

    /// A file in the directory of the tests.
    fn direct(fs: &Faulty, dir: &TestDir) -> Written {
        let (prefix, extension) = (OsString::new(), OsString::from("log"));
        let names = Names { prefix, extension, instance: 7, pid: 1 };
        let files = Files::default();
        let mut file = TempFile::create(fs, dir.path(), &files, &names, 0, TempId::any()).unwrap();
        file.go_direct();
        let staging = Staging::for_workers(1, 2 * PAGE).unwrap().remove(0);
        assert!(file.is_direct());
        Written { file, staging, expected: Vec::new() }
    }

    impl Written {
        /// Appends a record in parts of these lengths and commits the bytes that were written.
        fn append(&mut self, parts: &[usize]) -> Result<(), ErrorKind> {
            let byte = self.expected.len() as u8;
            let parts: Vec<_> = parts.iter().map(|&len| vec![byte ^ len as u8; len]).collect();
            let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let (appended, result) = self.file.append(&mut slices, &mut self.staging);
            let written = appended.len;
            let whole = parts.concat();
            if written == whole.len() as u64 {
                self.expected.extend_from_slice(&whole);
                self.file.commit(Count::new(1, written));
            }
            result.map_err(|error| error.kind())
        }

        /// Seals the file and checks its contents.
        fn check(&mut self) {
            self.file.seal().unwrap();
            let read = std::fs::read(self.file.path()).unwrap();
            assert!(read == self.expected, "{} of {} bytes", read.len(), self.expected.len());
        }
    }

    const LENGTHS: [usize; 12] =
        [1, 4094, 1, 1, 4095, 4096, 4097, 3, 8192, 8191, 30_000, 2 * PAGE - 1];

    #[test]
    fn records_of_any_length_make_a_file() {
        let dir = TestDir::new();
        let mut written = direct(&Faulty::default(), &dir);
        for len in LENGTHS {
            written.append(&[len]).unwrap();
            written.append(&[len / 3, 0, len - len / 3, 5]).unwrap();
            assert!(written.file.is_direct());
        }
        written.check();
        // A file that was cut continues where its records end.
        written.append(&[5000]).unwrap();
        written.check();
        assert!(written.file.is_direct());
    }

    #[test]
    fn a_failed_write_counts_as_nothing_and_is_written_over() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut written = direct(&fs, &dir);
        for len in LENGTHS {
            written.append(&[len]).unwrap();
            for nth in 1..=3 {
                fs.plan(Op::Write, nth, Answer::Error(Errno::IO));
                // At least three writes.
                written.append(&[20_000]).unwrap_err();
            }
            assert!(written.file.is_direct(), "an error of the disk is not hidden by the cache");
        }
        written.check();
    }

    /// A disk that fails within a block, or a process that dies there, leaves neither the old bytes of
    /// the block nor the new ones.
    #[test]
    fn what_counts_is_never_written_over() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut written = direct(&fs, &dir);
        for len in LENGTHS {
            written.append(&[len]).unwrap();
            // Another program's byte shows whether anybody writes there again.
            let other = std::fs::OpenOptions::new().write(true).open(written.file.path()).unwrap();
            let last = written.expected.last_mut().unwrap();
            *last ^= 0xff;
            other.write_all_at(&[*last], written.file.good().len - 1).unwrap();
            for nth in 1..=3 {
                fs.plan(Op::Write, nth, Answer::Error(Errno::IO));
                written.append(&[20_000]).unwrap_err();
            }
            written.append(&[len, 3]).unwrap();
        }
        assert!(written.file.is_direct());
        written.check();
    }

    #[test]
    fn a_good_length_that_moves_back_is_gone_on_from() {
        let dir = TestDir::new();
        for (before, after) in [(5000, 100), (5000, 904 + 4096), (8192, 30_000), (9000, 3288)] {
            let mut written = direct(&Faulty::default(), &dir);
            written.append(&[before]).unwrap();
            written.file.sync().unwrap();
            let expected = written.expected.clone();
            written.append(&[after]).unwrap();
            written.file.drop_unsynced();
            written.expected = expected;
            assert!(written.file.is_direct(), "{before} and {after}");
            written.append(&[6000]).unwrap();
            written.append(&[1]).unwrap();
            written.check();
        }
    }

    #[test]
    fn what_is_refused_goes_through_the_page_cache() {
        for errno in [Errno::INVAL, Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            for nth in 1..=3 {
                let (fs, dir) = (Faulty::default(), TestDir::new());
                let mut written = direct(&fs, &dir);
                written.append(&[5000]).unwrap();
                fs.plan(Op::Write, nth, Answer::Error(errno));
                written.append(&[7, 20_000]).unwrap();
                assert!(!written.file.is_direct());
                written.append(&[9000]).unwrap();
                written.check();
            }
        }
    }

    #[test]
    fn a_short_write_that_is_not_aligned_is_made_up_for() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut written = direct(&fs, &dir);
        for short in [0, 512, 4096] {
            fs.plan(Op::Write, 1, Answer::Short(short));
            let _ = written.append(&[6000]);
            written.append(&[6000]).unwrap();
        }
        written.check();
    }

    #[test]
    fn a_part_of_what_was_written_may_be_committed() {
        let dir = TestDir::new();
        let mut written = direct(&Faulty::default(), &dir);
        let record = [b'a'; 5000];
        written.file.append(&mut [IoSlice::new(&record)], &mut written.staging).1.unwrap();
        written.file.commit(Count::new(1, 4500));
        assert!(written.file.is_direct());
        written.expected.extend_from_slice(&record[..4500]);
        written.append(&[6000]).unwrap();
        written.check();
    }
}
