//! Direct writes of one file: whole blocks, assembled from records of any length.
//!
//! The last block is usually incomplete. It is written with zeros after the records, so that the
//! file has everything that was appended. Its bytes are kept, and the next write begins with them
//! at the same offset.
//!
//! Guarantees: each write is aligned. An append is in the file as a whole or counts as not written.
//! Refuses to choose when to write: the output does.

use std::io::{self, ErrorKind, IoSlice};

use crate::file::aligned::Staging;
use crate::fs::{FsFile, write_all};

/// The state of a file between two writes.
pub(crate) struct Direct {
    /// A power of two. Divides the capacity of any staging memory.
    pub(crate) block: usize,
    /// The bytes between the last multiple of `block` and the file's good length.
    tail: Vec<u8>,
    /// The same, once everything that was written last is committed.
    next: Vec<u8>,
    /// Bytes that the last write wrote.
    written: u64,
    /// A write that began with the tail failed, so the tail's bytes in the file are unknown.
    is_uncertain: bool,
}

impl Direct {
    /// For an empty file.
    pub(crate) fn new(block: usize) -> Self {
        let part = || Vec::with_capacity(block);
        Direct { block, tail: part(), next: part(), written: 0, is_uncertain: false }
    }

    /// Writes all slices at the good length, which does not move. Returns how many bytes they have.
    pub(crate) fn write(
        &mut self,
        file: &mut dyn FsFile,
        slices: &[IoSlice<'_>],
        staging: &mut Staging,
        good: u64,
    ) -> io::Result<u64> {
        let mut at = good - self.tail.len() as u64;
        self.is_uncertain = true;
        staging.clear();
        staging.put(&self.tail);
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                if staging.is_full() {
                    at += flush(file, staging, at)?;
                }
                rest = &rest[staging.put(rest)..];
            }
        }
        let whole = staging.bytes().len() & !(self.block - 1);
        self.next.clear();
        self.next.extend_from_slice(&staging.bytes()[whole..]);
        staging.pad(self.block);
        flush(file, staging, at)?;
        self.is_uncertain = false;
        self.written = slices.iter().map(|slice| slice.len() as u64).sum();
        Ok(self.written)
    }

    /// The records of the last block, if a failed write may have damaged them.
    pub(crate) fn uncertain(&self) -> Option<&[u8]> {
        self.is_uncertain.then_some(&self.tail)
    }

    /// Moves the good length past everything that was written last. `false` if only a part of it is
    /// committed: the contents of the last block are then unknown.
    pub(crate) fn commit(&mut self, bytes: u64) -> bool {
        if bytes == self.written {
            std::mem::swap(&mut self.tail, &mut self.next);
        }
        bytes == self.written
    }

    /// Moves the good length back by `bytes`, to `good`. `false` if the earlier contents of the
    /// last block are no longer known.
    pub(crate) fn roll_back(&mut self, bytes: u64, good: u64) -> bool {
        let len = (self.tail.len() as u64).checked_sub(bytes);
        if len.is_none() {
            // The bytes that may be damaged begin beyond the good length.
            self.is_uncertain = false;
        }
        self.tail.truncate(len.unwrap_or(0) as usize);
        len.is_some() || good.is_multiple_of(self.block as u64)
    }
}

/// Writes the contents of the staging memory and empties it.
fn flush(file: &mut dyn FsFile, staging: &mut Staging, at: u64) -> io::Result<u64> {
    let (written, result) = write_all(file, &mut [IoSlice::new(staging.bytes())], at);
    staging.clear();
    result.map(|()| written)
}

/// Whether the page cache may succeed where direct I/O failed: the file system takes no direct
/// writes, or has room for a part of this one.
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
    use crate::config::Files;
    use crate::file::aligned::PAGE;
    use crate::file::temp_file::TempFile;
    use crate::naming::Names;
    use crate::report::stats::Count;
    use crate::tests::fs::faulty::{Fault, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use rustix::io::Errno;
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
        let mut file = TempFile::create(fs, dir.path(), &Files::default(), &names, 0, 0).unwrap();
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
                fs.plan(Op::Write, nth, Fault::Error(Errno::IO));
                // At least three writes.
                written.append(&[20_000]).unwrap_err();
            }
            assert!(written.file.is_direct(), "an error of the disk is not hidden by the cache");
        }
        written.check();
    }

    /// The disk fails inside a block that already has records.
    #[test]
    fn records_that_a_failed_write_spoilt_are_written_again() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut written = direct(&fs, &dir);
        written.append(&[5000]).unwrap();
        fs.plan(Op::Write, 1, Fault::Error(Errno::IO));
        written.append(&[6000]).unwrap_err();
        assert!(!written.file.is_synced());
        let spoilt = std::fs::OpenOptions::new().write(true).open(written.file.path()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&spoilt, &[0; 904], 4096).unwrap();
        // The first repair fails too.
        fs.plan(Op::Write, 1, Fault::Error(Errno::IO));
        written.file.seal().unwrap_err();
        written.check();
        written.append(&[7000]).unwrap();
        written.check();
    }

    /// Then the file system refuses. The page cache must not continue behind a damaged block.
    #[test]
    fn records_that_a_failed_write_spoilt_are_written_again_before_the_cache_goes_on() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut written = direct(&fs, &dir);
        written.append(&[5000]).unwrap();
        fs.plan(Op::Write, 1, Fault::Error(Errno::IO));
        written.append(&[6000]).unwrap_err();
        let spoilt = std::fs::OpenOptions::new().write(true).open(written.file.path()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&spoilt, &[0; 904], 4096).unwrap();
        // Twice, so that the first repair fails too.
        (1..=2).for_each(|nth| fs.plan(Op::Write, nth, Fault::Error(Errno::NOSPC)));
        written.append(&[6000]).unwrap_err();
        written.append(&[6000]).unwrap();
        fs.plan(Op::Write, 1, Fault::Error(Errno::NOSPC));
        written.append(&[7000]).unwrap();
        written.check();
    }

    #[test]
    fn a_good_length_that_moves_back_is_gone_on_from() {
        let dir = TestDir::new();
        for (before, after, is_direct) in [
            (5000, 100, true),
            (5000, 904 + 4096, false),
            (8192, 30_000, true),
            (9000, 3288, false),
        ] {
            let mut written = direct(&Faulty::default(), &dir);
            written.append(&[before]).unwrap();
            written.file.sync().unwrap();
            let expected = written.expected.clone();
            written.append(&[after]).unwrap();
            written.file.drop_unsynced();
            written.expected = expected;
            assert_eq!(written.file.is_direct(), is_direct, "{before} and {after}");
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
                fs.plan(Op::Write, nth, Fault::Error(errno));
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
            fs.plan(Op::Write, 1, Fault::Short(short));
            let _ = written.append(&[6000]);
            written.append(&[6000]).unwrap();
        }
        written.check();
    }

    #[test]
    fn a_commit_of_a_part_ends_direct_io() {
        let dir = TestDir::new();
        let mut written = direct(&Faulty::default(), &dir);
        let record = [b'a'; 5000];
        written.file.append(&mut [IoSlice::new(&record)], &mut written.staging).1.unwrap();
        written.file.commit(Count::new(1, 4500));
        assert!(!written.file.is_direct());
        written.expected.extend_from_slice(&record[..4500]);
        written.append(&[6000]).unwrap();
        written.check();
    }
}
